//! The real-time thread.

pub mod clock;
pub mod links;
pub mod queue;
pub mod realtime;
