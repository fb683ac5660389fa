//! The slow world: one outside thing per file. Adapters hold no policy and never retry; each
//! reports what was seen, and "could not look" is an answer of its own.

pub mod alert;
pub mod clock;
pub mod control_socket;
pub mod fence;
pub mod history_file;
pub mod hook;
pub mod ledger_file;
pub mod live;
pub mod maintenance_file;
pub mod owner;
pub mod postgres;
pub mod probes;
pub mod process;
pub mod recordings;
pub mod salvage;
pub mod service_manager;
pub mod services;
pub mod state_directory;
pub mod state_file;
pub mod systemd;
pub mod takeovers_file;
pub mod tls;
pub mod watchdog;
