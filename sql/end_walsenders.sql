-- The peer is excluded: a walsender that lingers after its power loss must not be taken for its
-- replica later. A receiver that lives connects again.
SELECT count(pg_terminate_backend(pid, 200)) AS ended
  FROM pg_stat_replication
 WHERE application_name = :'peer_name'
   AND state IN ('catchup', 'streaming')
