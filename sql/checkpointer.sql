SELECT pid, coalesce(wait_event, '') AS wait_event
  FROM pg_stat_activity
 WHERE backend_type = 'checkpointer'
