ALTER SYSTEM SET primary_conninfo = :'primary_conninfo'
