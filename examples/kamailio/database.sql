-- Once, on the host that serves, in Kamailio's database, after the package's own files
-- (/usr/share/kamailio/postgres: standard-create.sql, usrloc-create.sql, dialog-create.sql).
-- Choose other passwords, the same in kamailio.cfg.
CREATE ROLE kamailio LOGIN PASSWORD 'secret';
CREATE ROLE kamailio_dialog LOGIN PASSWORD 'secret';
GRANT ALL ON ALL TABLES IN SCHEMA public TO kamailio;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO kamailio;
GRANT kamailio TO kamailio_dialog;
-- A call's row waits for no disk: lost with a host is what the last milliseconds brought, and such a
-- call still goes on, because its route is in its messages.
ALTER ROLE kamailio_dialog SET synchronous_commit = off;
