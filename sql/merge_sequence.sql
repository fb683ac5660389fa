SELECT setval(':"sequence"', highest)
  FROM (SELECT max(:"column") AS highest FROM :"table") AS rows, :"sequence" AS sequence
 WHERE highest > sequence.last_value
