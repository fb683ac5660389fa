SELECT EXISTS (SELECT FROM :"table" AS present_row,
                           jsonb_populate_record(NULL:::"table", $1::text::jsonb) AS salvaged_row
                WHERE :same_key
                  AND to_jsonb(present_row.*) = to_jsonb(salvaged_row.*)) AS present
