//! Calls and registrations: how they are configured, listed by a command, told to the standby, and
//! listed by a real Kamailio.

mod command;
mod configured;
mod kamailio;
mod stream;
