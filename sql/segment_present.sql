SELECT (pg_stat_file('pg_wal/' || :'segment', true)).size IS NOT NULL AS present
