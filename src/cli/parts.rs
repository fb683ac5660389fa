//! The rooms of the program that the command line only opens the door to. The binary joins them;
//! the command line knows neither the daemon nor the lab.

use crate::config::Config;

use super::demo::Demo;
use super::{Error, Exit};

/// What the binary supplies.
#[derive(Clone, Copy)]
pub struct Parts {
    /// Be the daemon until told to stop.
    pub run: fn(Config) -> Result<Exit, Error>,
    /// Release the floating addresses of this host; the sentence
    /// says what was seen afterwards.
    pub release: fn(&Config) -> Result<String, Error>,
    /// Show the lab.
    pub demo: fn(&Demo) -> Result<Exit, Error>,
    /// The decision table.
    pub table: fn() -> Result<String, Error>,
}

impl Default for Parts {
    /// Nothing joined: each says so.
    fn default() -> Parts {
        Parts {
            run: |_| Err(Error::NotBuiltIn("run")),
            release: |_| Err(Error::NotBuiltIn("release")),
            demo: |_| Err(Error::NotBuiltIn("demo")),
            table: || Err(Error::NotBuiltIn("explain --table")),
        }
    }
}
