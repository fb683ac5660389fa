-- What the pair needs of the server's configuration, in one row; see `adapters::postgres::check`.
WITH rule AS (
  -- Those that fit the peer; the first one decides, as in the server itself.
  SELECT rule.line_number, rule.database, rule.auth_method
    FROM pg_hba_file_rules AS rule
   WHERE rule.error IS NULL
     AND rule.type IN ('host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc')
     AND rule.user_name && ARRAY['all', :'replication_user']
     AND CASE
           WHEN rule.address IN ('all', 'samehost', 'samenet') THEN true
           WHEN rule.address !~ '^[0-9a-fA-F:.]+$' THEN true  -- a host name: not judged
           WHEN family(rule.address::inet) <> family(:'peer_address'::inet) THEN false
           ELSE (:'peer_address'::inet & rule.netmask::inet)
                = (rule.address::inet & rule.netmask::inet)
         END
)
SELECT current_setting('wal_level') AS wal_level,
       current_setting('max_wal_senders') AS max_wal_senders,
       current_setting('hot_standby') AS hot_standby,
       current_setting('wal_log_hints') AS wal_log_hints,
       current_setting('data_checksums') AS data_checksums,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('fsync') AS fsync,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('wal_keep_size') AS wal_keep_size,
       current_setting('max_slot_wal_keep_size') AS max_slot_wal_keep_size,
       current_setting('listen_addresses') AS listen_addresses,
       current_setting('restart_after_crash') AS restart_after_crash,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT rolreplication OR rolsuper FROM pg_roles
         WHERE rolname = :'replication_user') AS replicates,
       -- PostgreSQL documentation, "pg_rewind", Notes; and CHECKPOINT.
       (SELECT pg_has_role(oid, 'pg_checkpoint', 'USAGE')
               AND has_function_privilege(oid, 'pg_ls_dir(text, boolean, boolean)', 'EXECUTE')
               AND has_function_privilege(oid, 'pg_stat_file(text, boolean)', 'EXECUTE')
               AND has_function_privilege(oid, 'pg_read_binary_file(text)', 'EXECUTE')
               AND has_function_privilege(
                     oid, 'pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE')
          FROM pg_roles WHERE rolname = :'replication_user') AS rewinds,
       (SELECT auth_method FROM rule
         WHERE database && ARRAY['all', :'database']
         ORDER BY line_number LIMIT 1) AS rewind_rule,
       (SELECT auth_method FROM rule
         WHERE database && ARRAY['replication']
         ORDER BY line_number LIMIT 1) AS peer_rule
