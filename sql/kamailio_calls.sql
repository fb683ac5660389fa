-- The calls of Kamailio's dialog module (db_mode 1), one JSON object each. States 3 and 4 are
-- answered calls (confirmed, without and with the ACK); `timeout` is when the module forgets it.
SELECT json_build_object(
           'id', callid, 'from', from_uri, 'to', to_uri,
           'since', to_char(to_timestamp(start_time) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
FROM dialog
WHERE state IN (3, 4) AND timeout > extract(epoch FROM now())
ORDER BY start_time, callid
