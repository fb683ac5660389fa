-- The columns that an insert may name, and the sequences that fill them.
SELECT format('%I.%I', schema.nspname, class.relname) AS quoted,
       format('%I', attribute.attname) AS column,
       pg_get_serial_sequence(format('%I.%I', schema.nspname, class.relname),
                              attribute.attname::text) AS sequence
  FROM pg_class AS class
  JOIN pg_namespace AS schema ON schema.oid = class.relnamespace
  JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
 WHERE schema.nspname::text = $1
   AND class.relname::text = $2
   AND class.relkind IN ('r', 'p')
   AND attribute.attnum > 0
   AND NOT attribute.attisdropped
   AND attribute.attgenerated = ''
 ORDER BY attribute.attnum
