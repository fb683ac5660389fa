//! Whether this host has what the parameters name.

use std::path::Path;

use super::Instance;
use crate::ocf::code::{Answer, Code};

const PROGRAMS: [&str; 5] = ["postgres", "psql", "pg_rewind", "pg_basebackup", "pg_receivewal"];

impl Instance {
    /// The files and the user; and, where the server runs, its settings.
    pub(super) async fn validate(&mut self) -> Result<(), Answer> {
        self.host()?;
        for finding in self.database.check_host().await {
            tracing::warn!("{finding}");
        }
        Ok(())
    }

    /// What no start can do without.
    pub(super) fn host(&self) -> Result<(), Answer> {
        let postgres = &self.setup.postgres;
        let missing = |reason: String| Err(Answer::new(Code::Installed, reason));
        for program in PROGRAMS {
            let path = postgres.bin_dir.join(program);
            if !path.is_file() {
                let path = path.display();
                return missing(format!(
                    "{path} is not there: install PostgreSQL, or correct bin_dir"
                ));
            }
        }
        if !matches!(nix::unistd::User::from_name(&postgres.os_user), Ok(Some(_))) {
            return missing(format!("there is no user {}: correct os_user", postgres.os_user));
        }
        // A copy that was begun may have left nothing else of it.
        if !is_cluster(&postgres.data_dir) && !is_being_replaced(&postgres.data_dir) {
            return missing(format!(
                "{} is not the data directory of a PostgreSQL cluster: make it with initdb, or with \
                 pg_basebackup from the other node, or correct data_dir",
                postgres.data_dir.display()
            ));
        }
        Ok(())
    }
}

fn is_cluster(data_dir: &Path) -> bool {
    data_dir.join("PG_VERSION").is_file()
}

fn is_being_replaced(data_dir: &Path) -> bool {
    let mut rejoin = data_dir.as_os_str().to_owned();
    rejoin.push(".rejoin");
    Path::new(&rejoin).join("mark").is_file()
}
