SELECT current_setting('primary_conninfo') AS primary_conninfo
