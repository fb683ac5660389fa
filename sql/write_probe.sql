-- Writes a record of no meaning and waits for this server's own disk, never for the standby's.
BEGIN; SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'duotone', 'probe'); COMMIT
