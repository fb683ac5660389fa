//! The pair's databases, as an administrator leaves them: one cluster made once, its cold copy on
//! both hosts, each listening on the dedicated link for the other.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::unistd::{User, chown};

use super::clock;
use super::host::{Host, INSIDE, postgres_user};
use super::namespaces::run_with_input;
use super::pbx;
use super::world::{NODES, World, link_address};

/// Where Debian keeps the tested version's programs.
pub const BIN: &str = "/usr/lib/postgresql/15/bin";

const CONF: &str = "\
unix_socket_directories = '/run/postgresql'
wal_level = replica
wal_log_hints = on
hot_standby = on
max_wal_senders = 10
max_replication_slots = 10
max_slot_wal_keep_size = '256MB'
wal_keep_size = '64MB'
wal_retrieve_retry_interval = '500ms'
shared_buffers = '32MB'
max_wal_size = '256MB'
timezone = 'UTC'
";

const HBA: &str = "\
local all all trust
local replication all trust
host replication replicator 10.9.0.0/24 trust
host all all 10.9.0.0/24 trust
";

/// The replication role, with what a rewind needs (the README's set-up, step 4).
const ROLES: &str = "\
CREATE ROLE replicator REPLICATION LOGIN;
GRANT pg_checkpoint TO replicator;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
";

/// How a host's server is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// It starts as a standby (`standby.signal`), whoever starts it.
    Standby,
    /// It starts as a primary: for the bare floor alone.
    Primary,
}

/// Makes the cluster that both hosts are copies of; 1 MB log segments promote fastest.
pub fn make_template(files: &Path) -> anyhow::Result<PathBuf> {
    let template = files.join("template");
    fs::create_dir_all(&template)?;
    let user = postgres_user()?;
    chown(&template, Some(user.uid), Some(user.gid))?;
    let path = template.to_string_lossy().into_owned();
    let initdb = ["-D", &path, "-U", "postgres", "--wal-segsize=1", "--no-sync", "-A", "trust"];
    run_with_input(
        as_user(&user, &format!("{BIN}/initdb")).args(initdb).args(["-E", "UTF8", "--locale=C"]),
        "",
    )?;
    let conf = template.join("postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf)? + CONF)?;
    fs::write(template.join("pg_hba.conf"), HBA)?;
    run_with_input(
        as_user(&user, &format!("{BIN}/postgres")).args(["--single", "-D", &path, "postgres"]),
        &schema()?,
    )?;
    Ok(template)
}

/// A host's copy of the cluster, with its listening address and its way to the peer.
pub fn install(template: &Path, host: &Host, node: usize, signal: Signal) -> anyhow::Result<()> {
    let data = host.files.join("pgdata");
    let (from, to) = (template.to_string_lossy(), data.to_string_lossy());
    run_with_input(Command::new("cp").args(["-a", &from, &to]), "")?;
    let user = postgres_user()?;
    chown(&host.files.join("socket"), Some(user.uid), Some(user.gid))?;
    let own = link_address(node);
    let peer = link_address(1 - node);
    let conf = data.join("postgresql.conf");
    let text = fs::read_to_string(&conf)?
        + &format!(
            "listen_addresses = '{own}'\nprimary_conninfo = 'host={peer} port=5432 \
             user=replicator application_name={}'\n",
            NODES[node]
        );
    fs::write(&conf, text)?;
    if signal == Signal::Standby {
        let file = data.join("standby.signal");
        fs::write(&file, "")?;
        chown(&file, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Starts a host's server, for a pair that has no daemon to do it.
pub fn start(host: &mut Host) -> anyhow::Result<()> {
    let mut command = host.command_as_postgres(&format!("{BIN}/postgres"))?;
    command.args(["-D", &format!("{INSIDE}/pgdata")]);
    host.start(command, "postgres.log")
}

/// Waits until the primary sends its log to the standby.
pub fn wait_streaming(world: &mut World, primary: usize) -> anyhow::Result<()> {
    let socket = world.host(primary)?.files.join("socket");
    let streaming = clock::wait_until(Duration::from_secs(20), Duration::from_millis(100), || {
        query(&socket, "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
            .is_ok_and(|rows| !rows.is_empty())
    })?;
    anyhow::ensure!(streaming, "the replica does not stream; see {}", socket.display());
    Ok(())
}

/// The numbers of the records that a server has, each as often as it is there.
pub fn rows(socket: &Path) -> anyhow::Result<Vec<u64>> {
    // Not by way of the index: a row that stands twice is to be seen.
    query(socket, "SELECT id::text FROM (SELECT id FROM cdr OFFSET 0) AS every_row")?
        .into_iter()
        .map(|id| id.parse().context("a record's number"))
        .collect()
}

/// The same of a server that takes no writes; an error of one that does.
pub fn standby_rows(socket: &Path) -> anyhow::Result<Vec<u64>> {
    let answer = query(socket, "SELECT pg_is_in_recovery()")?;
    anyhow::ensure!(answer == ["t"], "the server takes writes");
    rows(socket)
}

/// A replica that came after `wall` streams from this server, and has what it sends. One whose log
/// has left this server's comes and goes, and never has it.
pub fn streams_since(socket: &Path, wall: SystemTime) -> bool {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let sql = format!(
        "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' \
         AND application_name NOT LIKE 'pg\\_%' AND backend_start >= to_timestamp({:.3}) \
         AND flush_lsn >= pg_current_wal_flush_lsn() - 65536::numeric",
        since.as_secs_f64()
    );
    query(socket, &sql).is_ok_and(|rows| !rows.is_empty())
}

/// The first column of the rows of a statement, as text, asked as the role `postgres` over the
/// server's Unix socket in the directory `socket`.
///
/// # Errors
/// It cannot be connected to within 2 s, does not answer within 10 s, or refuses the statement.
pub fn query(socket: &Path, sql: &str) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket).user("postgres").dbname("postgres");
        config.connect_timeout(Duration::from_secs(2));
        let ask = async {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
            let rows = async {
                let messages = client.simple_query(sql).await;
                drop(client);
                messages
            };
            let (messages, _) = tokio::join!(rows, connection);
            anyhow::Ok(messages?)
        };
        let messages = tokio::time::timeout(Duration::from_secs(10), ask).await??;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect())
    })
}

/// Kamailio's tables as its package ships them, its roles as the example has them, the call records,
/// and the roles of the pair; one statement per line, as the single-user server reads them.
fn schema() -> anyhow::Result<String> {
    let mut text = String::new();
    for name in ["standard", "usrloc", "dialog"] {
        let path = format!("/usr/share/kamailio/postgres/{name}-create.sql");
        let shipped = fs::read_to_string(&path)
            .with_context(|| format!("read {path} (package kamailio-postgres-modules)"))?;
        text += &one_per_line(&shipped);
    }
    text += &one_per_line(pbx::DATABASE);
    text += "CREATE TABLE cdr (id bigint PRIMARY KEY, stored timestamptz DEFAULT now());\n";
    text += ROLES;
    Ok(text)
}

fn one_per_line(statements: &str) -> String {
    let code: Vec<&str> = statements.lines().filter(|line| !line.starts_with("--")).collect();
    let each = code.join("\n");
    let lines = each.split(';').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).map(|line| format!("{line};\n")).collect()
}

fn as_user(user: &User, program: &str) -> Command {
    let mut command = Command::new(program);
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    command
}
