-- The walsender of a peer that lost power lingers beside its successor, under the same name and
-- before it in the server's order: commits would wait for the dead one.
SELECT count(pg_terminate_backend(lingering.pid, 200)) AS ended
  FROM pg_stat_replication AS lingering
 WHERE lingering.application_name = :'peer_name'
   AND lingering.state IN ('catchup', 'streaming')
   AND lingering.backend_start < (SELECT max(newest.backend_start)
                                    FROM pg_stat_replication AS newest
                                   WHERE newest.application_name = :'peer_name'
                                     AND newest.state IN ('catchup', 'streaming'))
