//! What can be said of a server that does not run: its settings, as its own program reads its files.

use super::Database;
use std::path::Path;

use super::check::{Finding, RULES};
use super::process::{self, Owner};
use super::tool;
use super::trouble::Trouble;

impl Database {
    /// The same as [`Database::check`], for somebody who sets a host up: there the server is stopped
    /// in order, and what does not need it is looked at in its files.
    pub async fn check_host(&mut self) -> Vec<Finding> {
        let findings = self.check().await;
        let refused = matches!(*findings, [Finding::NotReachable(Trouble::Connect { .. })]);
        let home = &self.postgres.data_dir;
        // Where it cannot be told who runs there, it is not said to be stopped.
        let stopped = process::scan(home).is_ok_and(|processes| processes.is_empty());
        if !(refused && stopped) {
            return findings;
        }
        let mut findings = vec![Finding::NotRunning];
        // A directory without a cluster is found by the look at the host.
        if home.join("PG_VERSION").exists()
            && let Err(trouble) = self.check_settings(&mut findings).await
        {
            findings.push(Finding::Settings(trouble));
        }
        findings
    }

    async fn check_settings(&self, findings: &mut Vec<Finding>) -> Result<(), Trouble> {
        self.check_place(findings).await?;
        for &(name, wanted, why, is_good) in RULES {
            let found = self.setting(name).await?;
            if !is_good(&found) {
                findings.push(Finding::Setting { name, found, wanted, why });
            }
        }
        if self.setting("wal_log_hints").await? == "off"
            && self.setting("data_checksums").await? == "off"
        {
            findings.push(Finding::NotRewindable);
        }
        Ok(())
    }

    /// Where the server will be reached.
    async fn check_place(&self, findings: &mut Vec<Finding>) -> Result<(), Trouble> {
        let mut differs = |name, found, key, configured| {
            findings.push(Finding::Elsewhere { name, found, key, configured });
        };
        let port = self.setting("port").await?;
        if port != self.postgres.port.to_string() {
            differs("port", port, "port", self.postgres.port.to_string());
        }
        let sockets = self.setting("unix_socket_directories").await?;
        let configured = self.postgres.socket_dir.as_path();
        let is_it = |name: &str| {
            Path::new(name) == configured || process::is_same(name.as_ref(), configured)
        };
        if !sockets.split(',').map(str::trim).any(is_it) {
            let configured = configured.display().to_string();
            differs("unix_socket_directories", sockets, "socket_dir", configured);
        }
        Ok(())
    }

    /// As the server would have it if it were started now (`postgres -C`).
    async fn setting(&self, name: &'static str) -> Result<String, Trouble> {
        let owner = Owner::of(&self.postgres)?;
        let mut command = process::tool(&self.postgres, &owner, "postgres", Path::new("/"));
        command.arg("-D").arg(&self.postgres.data_dir).args(&self.postgres.options);
        command.args(["-C", name]);
        let mut value = String::new();
        let ended =
            tool::run(command, "postgres", |line| line.clone_into(&mut value), |_| {}).await?;
        ended.succeeded("postgres")?;
        Ok(value)
    }
}
