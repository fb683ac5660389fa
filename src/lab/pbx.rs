//! The SIP server of the lab: Kamailio as `examples/kamailio` has it. Registrations and calls are in
//! the pair's database, so that both survive whichever host took them.

use std::fs;

use super::host::{Host, INSIDE};

/// Kamailio's program.
pub const PROGRAM: &str = "/usr/sbin/kamailio";

/// What the administrator is shown is what the lab runs.
const CONF: &str = include_str!("../../examples/kamailio/kamailio.cfg");
/// Its roles in the database.
pub const DATABASE: &str = include_str!("../../examples/kamailio/database.sql");

/// Writes a host's configuration.
pub fn install(host: &Host) -> anyhow::Result<()> {
    fs::write(host.files.join("kamailio.cfg"), CONF)?;
    Ok(())
}

/// The command line that runs it in the foreground; the lab's own database has no passwords.
pub fn command() -> Vec<String> {
    let conf = format!("{INSIDE}/kamailio.cfg");
    let url = |name: &str, role: &str| format!("{name}=\"postgres://{role}@/postgres\"");
    let (url, dialogs) = (url("DBURL", "kamailio"), url("DBURL_DIALOG", "kamailio_dialog"));
    [PROGRAM, "-DD", "-E", "-m", "32", "-M", "4", "-A", &url, "-A", &dialogs, "-f", &conf]
        .map(str::to_owned)
        .to_vec()
}
