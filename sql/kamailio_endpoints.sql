-- The registrations of Kamailio's usrloc module, one JSON object each. Kamailio writes `expires` in
-- the server's own time zone.
SELECT json_build_object(
           'id', CASE WHEN domain <> '' THEN username || '@' || domain ELSE username END,
           'contact', contact,
           'expires', to_char(expires::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'agent', user_agent)
FROM location
WHERE expires > localtimestamp
ORDER BY username, domain, expires
