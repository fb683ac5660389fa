SELECT pg_is_in_recovery() AS in_recovery, system_identifier::text AS system_id
  FROM pg_control_system()
