SELECT oid, datname::text AS name
  FROM pg_database
 WHERE datallowconn
 ORDER BY datname
