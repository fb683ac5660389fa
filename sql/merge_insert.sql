INSERT INTO :"table" (:columns) OVERRIDING SYSTEM VALUE
SELECT :columns
  FROM jsonb_populate_record(NULL:::"table", $1::text::jsonb)
    ON CONFLICT DO NOTHING
