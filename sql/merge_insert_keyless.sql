INSERT INTO :"table" (:columns) OVERRIDING SYSTEM VALUE
SELECT :columns
  FROM jsonb_populate_record(NULL:::"table", $1::text::jsonb) AS salvaged_row
 WHERE NOT EXISTS (SELECT FROM :"table" AS present_row
                    WHERE to_jsonb(present_row.*) = to_jsonb(salvaged_row.*))
    ON CONFLICT DO NOTHING
