//! `live`: the lists of a PBX that duotone knows how to ask, for `[calls]` of the configuration.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::{Error, Exit, say};
use crate::adapters::live::kamailio::{self, Kind};

/// `live`.
#[derive(Subcommand, Debug)]
pub(super) enum Live {
    /// Kamailio with dialog (`db_mode` 1) and usrloc in PostgreSQL
    Kamailio {
        /// Of what
        what: What,
        /// How to reach Kamailio's database, in libpq's words
        #[arg(
            long,
            value_name = "WORDS",
            default_value = "host=/var/run/postgresql user=postgres dbname=kamailio"
        )]
        database: String,
    },
}

/// What is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum What {
    /// Calls that are up
    Calls,
    /// Phones that are registered
    Endpoints,
}

/// The configuration gives the command this long as well, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(4);

pub(super) fn list(asked: &Live) -> Result<Exit, Error> {
    let Live::Kamailio { what, database } = asked;
    let kind = match what {
        What::Calls => Kind::Calls,
        What::Endpoints => Kind::Endpoints,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::other)?;
    let lines = runtime.block_on(kamailio::ask(database, kind, LIMIT)).map_err(Error::other)?;
    // `say` ends the last line, and nothing is no empty line.
    if lines.is_empty() { Ok(Exit::Ok) } else { say(&lines.join("\n")) }
}
