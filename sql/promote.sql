SELECT pg_promote(wait => false)
