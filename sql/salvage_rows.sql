SELECT salvaged_row.xmin::text AS xid, to_jsonb(salvaged_row.*)::text AS row
  FROM ONLY :"table" AS salvaged_row
 WHERE salvaged_row.xmin::text = ANY ($1::text[])
