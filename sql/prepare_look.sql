-- Everything that a regular look needs, in one row. No row of a view may multiply it.
-- `:'peer_name'` and `:'peer_address'` are bound when the connection is made.
PREPARE duotone_look AS
SELECT pg_is_in_recovery() AS in_recovery,
       current_setting('synchronous_standby_names') AS standby_names,
       current_setting('synchronous_commit') AS synchronous_commit,
       pg_conf_load_time() AS loaded,
       coalesce(receiver.status, '') AS receiver_status,
       coalesce(receiver.sender_host, '') AS sender_host,
       coalesce(receiver.pid, 0) AS receiver_pid,
       replica.application_name AS replica_name,
       pg_wal_lsn_diff(replica.flush_lsn, '0/0') AS replica_flush,
       replica.sync_state AS replica_sync
  FROM (VALUES (1)) AS one
  LEFT JOIN (SELECT pid, status, sender_host FROM pg_stat_wal_receiver LIMIT 1) AS receiver ON true
  LEFT JOIN (SELECT application_name, flush_lsn, sync_state
               FROM pg_stat_replication
              WHERE state IN ('catchup', 'streaming')
                -- A base backup streams as well, and is nobody's replica yet.
                AND application_name NOT IN ('pg_basebackup', 'pg_receivewal')
                AND (application_name = :'peer_name' OR client_addr = :'peer_address'::inet)
              ORDER BY client_addr = :'peer_address'::inet DESC NULLS LAST,
                       application_name = :'peer_name' DESC,
                       -- The walsender of a peer that lost power lingers beside its successor.
                       backend_start DESC
              LIMIT 1) AS replica ON true
