//! The local PostgreSQL server.
