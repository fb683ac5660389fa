-- Every table that holds rows of users: leaves of partitioned ones too, unlogged and temporary not.
SELECT schema.nspname::text AS schema,
       class.relname::text AS name,
       format('%I.%I', schema.nspname, class.relname) AS quoted,
       pg_relation_filenode(class.oid) AS file,
       coalesce((SELECT array_agg(attribute.attname::text ORDER BY part.position)
                   FROM pg_index AS index
                  CROSS JOIN LATERAL unnest(index.indkey) WITH ORDINALITY AS part (number, position)
                   JOIN pg_attribute AS attribute
                     ON attribute.attrelid = class.oid AND attribute.attnum = part.number
                  WHERE index.indrelid = class.oid AND index.indisprimary), '{}') AS key
  FROM pg_class AS class
  JOIN pg_namespace AS schema ON schema.oid = class.relnamespace
 WHERE class.relkind = 'r'
   AND class.relpersistence = 'p'
   AND schema.nspname <> 'information_schema'
   AND schema.nspname !~ '^pg_'
 ORDER BY schema.nspname, class.relname
