SELECT current_setting('data_directory') AS data_directory, pg_backend_pid() AS backend
