SELECT setval(':"sequence"', highest)
  FROM (SELECT max(:"column") AS highest FROM :"table") AS rows, :"sequence" AS sequence
 -- Of a sequence that was never used the last value is the first one that it gives.
 WHERE highest >= sequence.last_value + sequence.is_called::int
