//! What a cluster's agent asks beside a look: it has no heartbeat to hear of the peer by, and no
//! memory of what its server was.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant as Deadline, timeout};

use super::Database;
use super::files;
use super::mark::Mark;
use super::process::{self, Owner};
use super::trouble::Trouble;

const WRITE_PROBE: &str = include_str!("../../../sql/write_probe.sql");
/// Physical replication answers it too, so that no database need be open to the peer.
const IN_HOT_STANDBY: &str = "SHOW in_hot_standby";
/// A peer that is there answers sooner.
const ASK_WITHIN: Duration = Duration::from_secs(5);
const KNOCK_WITHIN: Duration = Duration::from_secs(2);

/// What the peer's server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerRole {
    /// It takes writes.
    Primary,
    /// It is in recovery.
    Standby,
    /// Its host answers that nobody listens there.
    Stopped,
}

/// Nobody was seen to work in this data directory.
pub fn is_stopped(data_dir: &Path) -> bool {
    process::scan(data_dir).is_ok_and(|processes| processes.is_empty())
}

impl Database {
    /// Asks the peer's server what it is, as a replica would reach it.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer within 5 s.
    pub async fn peer_role(&self) -> Result<PeerRole, Trouble> {
        let place = (self.postgres.peer_host, self.postgres.port);
        let knock = timeout(KNOCK_WITHIN, TcpStream::connect(place)).await;
        if let Ok(Err(error)) = &knock
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            return Ok(PeerRole::Stopped);
        }
        let owner = Owner::of(&self.postgres)?;
        let asked = timeout(ASK_WITHIN, self.ask_source(&owner, None, IN_HOT_STANDBY)).await;
        let answer = asked.map_err(|_| Trouble::Overdue {
            doing: "asking the peer for its role",
            after: ASK_WITHIN,
        })??;
        match answer.trim() {
            "off" => Ok(PeerRole::Primary),
            "on" => Ok(PeerRole::Standby),
            _ => Err(Trouble::Answer("in_hot_standby")),
        }
    }

    /// Its log was a primary's, and nobody has compared it with the peer's since: it may hold what
    /// the peer lacks.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn was_primary(&self) -> Result<bool, Trouble> {
        let places = self.places().await?;
        match self.mark(&places).await? {
            Some(Mark::Own | Mark::Salvaging) => Ok(true),
            Some(Mark::Changing { .. } | Mark::Fetched | Mark::Copied { .. }) => Ok(false),
            None => {
                self.on_disk(|data| files::standby_signal(data).symlink_metadata().is_err()).await
            }
        }
    }

    /// Writes a little to the disk of the data directory, and, on a primary, a record to the log:
    /// finds the disk that hangs and the server that answers and can do nothing.
    ///
    /// # Errors
    /// It was not written within `within`.
    pub async fn write_probe(&mut self, within: Duration) -> Result<(), Trouble> {
        let by = Deadline::now() + within;
        let owner = Owner::of(&self.postgres)?;
        let places = self.places().await?;
        self.change_files(by, move |_| places.write_probe(&owner)).await?;
        if self.in_recovery(by).await? {
            return Ok(());
        }
        self.warm.execute("writing a probe", WRITE_PROBE, by).await
    }
}
