//! The hosts' databases as an administrator leaves them: one cluster made once, its cold copy on
//! both hosts; and what a test asks them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use nix::unistd::{User, chown};

use crate::command::run_with;
use crate::network::{NODES, cable_address};
use crate::power::Machines;

/// Where Debian keeps the tested version's programs.
pub const BIN: &str = "/usr/lib/postgresql/15/bin";
/// Where the hosts keep their databases.
pub const DATA: &str = "/var/lib/postgresql/data";

const CONF: &str = "\
unix_socket_directories = '/run/postgresql'
listen_addresses = '*'
wal_level = replica
wal_log_hints = on
hot_standby = on
max_connections = 200
max_wal_senders = 10
max_replication_slots = 10
max_slot_wal_keep_size = '256MB'
wal_keep_size = '64MB'
wal_retrieve_retry_interval = '500ms'
recovery_target_timeline = 'latest'
shared_buffers = '32MB'
max_wal_size = '256MB'
timezone = 'UTC'
";

/// A role for replication with what a rewind needs, and the rows of the test's client; one statement
/// per line, as the single-user server reads them.
const SCHEMA: &str = "\
CREATE ROLE replicator REPLICATION LOGIN;
GRANT pg_checkpoint TO replicator;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
CREATE TABLE cdr (id bigint PRIMARY KEY, stored timestamptz DEFAULT now());
";

/// Makes the cluster that both hosts get a copy of.
pub fn make_template(files: &Path) -> anyhow::Result<PathBuf> {
    let template = files.join("template");
    fs::create_dir_all(&template)?;
    let user = postgres_user()?;
    chown(&template, Some(user.uid), Some(user.gid))?;
    let path = template.to_string_lossy().into_owned();
    let mut initdb = as_user(&user, &format!("{BIN}/initdb"));
    initdb.args(["-D", &path, "-U", "postgres", "--wal-segsize=1", "--no-sync", "-A", "trust"]);
    run_with(initdb.args(["-E", "UTF8", "--locale=C"]), "")?;
    let conf = template.join("postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf)? + CONF)?;
    let mut single = as_user(&user, &format!("{BIN}/postgres"));
    run_with(single.args(["--single", "-D", &path, "postgres"]), SCHEMA)?;
    Ok(template)
}

/// A host's copy, following `primary` where it is a standby; `hba` is who may connect. The first
/// node's copy is the one that is promoted first, so it has no `standby.signal` where the agent
/// wants to find a primary (`signals`).
pub fn install(
    machines: &Machines,
    template: &Path,
    node: usize,
    primary: &str,
    hba: &str,
    standby: bool,
) -> anyhow::Result<()> {
    let home = machines.disk(node).join("var/lib/postgresql");
    fs::create_dir_all(&home)?;
    let data = home.join("data");
    run_with(Command::new("cp").arg("-a").args([template, &data]), "")?;
    let user = postgres_user()?;
    chown(&home, Some(user.uid), Some(user.gid))?;
    let conf = data.join("postgresql.conf");
    let text = fs::read_to_string(&conf)?
        + &format!(
            "primary_conninfo = 'host={primary} port=5432 user=replicator application_name={}'\n",
            NODES[node]
        );
    fs::write(&conf, text)?;
    fs::write(data.join("pg_hba.conf"), hba)?;
    if standby {
        let file = data.join("standby.signal");
        fs::write(&file, "")?;
        chown(&file, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Takes a base backup of the peer in place of a host's database: what an administrator does where
/// an agent cannot rejoin.
pub fn copy_by_hand(machines: &Machines, node: usize) -> anyhow::Result<()> {
    let peer = cable_address(1 - node);
    let script = format!(
        "cp {DATA}/postgresql.conf {DATA}/pg_hba.conf /var/lib/postgresql/ && rm -rf {DATA} && \
         {BIN}/pg_basebackup -h {peer} -U replicator -D {DATA} -X stream -c fast --no-sync && \
         mv /var/lib/postgresql/*.conf {DATA}/ && touch {DATA}/standby.signal"
    );
    let user = postgres_user()?;
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    let as_postgres =
        ["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups", "sh", "-c", &script];
    machines.run(node, &as_postgres).map(drop)
}

/// The first column of a statement's rows, asked over the host's own socket.
pub fn query(machines: &Machines, node: usize, sql: &str) -> anyhow::Result<Vec<String>> {
    duotone::lab::query(&machines.disk(node).join("socket"), sql)
}

/// The standbys that stream from a host, with whether it counts them as synchronous
/// (`async`, `sync`, `quorum`).
pub fn streams(machines: &Machines, node: usize) -> anyhow::Result<Vec<String>> {
    query(machines, node, "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
}

/// The operating-system user that runs the databases.
pub fn postgres_user() -> anyhow::Result<User> {
    User::from_name("postgres")?.context("there is no user postgres: install postgresql")
}

fn as_user(user: &User, program: &str) -> Command {
    let mut command = Command::new(program);
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    command
}
