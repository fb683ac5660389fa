//! The hosts' PostgreSQL: two cold copies of one cluster, or two clusters.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;

use crate::pair::{Pair, Wanted};
use crate::world::{HOSTS, run, text};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const CONF: &str = "\
unix_socket_directories = 'SOCKET'\nlisten_addresses = '*'\nwal_level = replica\n\
wal_log_hints = on\nmax_slot_wal_keep_size = '64MB'\nwal_keep_size = '32MB'\n\
wal_retrieve_retry_interval = '100ms'\nshared_buffers = '8MB'\nfsync = on\n";
const RULES: &str = "\
local all all trust\nlocal replication all trust\n\
host replication replicator 10.9.0.0/24 trust\n\
host postgres replicator 10.9.0.0/24 trust\n";

/// Says why, when there is no PostgreSQL to test with.
pub fn is_missing() -> bool {
    let missing = !Path::new(BIN).join("postgres").exists();
    if missing {
        eprintln!("skipped: needs PostgreSQL 15 in {BIN} (apt-get install postgresql-15)");
    }
    missing
}

/// A pair whose hosts have a standby of one cluster each; no daemon runs.
pub fn pair(durability: &'static str) -> Option<Pair> {
    let pair = Pair::new(Wanted { durability, ..Wanted::patient() })?;
    Some(with_databases(pair, false))
}

/// The same with two clusters that have nothing to do with each other.
pub fn strangers() -> Option<Pair> {
    Some(with_databases(Pair::new(Wanted::patient())?, true))
}

fn with_databases(mut pair: Pair, strangers: bool) -> Pair {
    let socket = pair.world.here().join("sock");
    let template = make(&pair.world.dir.join("template"), &socket);
    for (node, host) in HOSTS.into_iter().enumerate() {
        let files = pair.world.files(host);
        let data = files.join("pgdata");
        match strangers && node == 1 {
            true => drop(make(&data, &socket)),
            false => drop(run(Command::new("cp").arg("-a").arg(&template).arg(&data))),
        }
        let follow = format!(
            "primary_conninfo = 'host=10.9.0.{} user=replicator application_name=pbx-{host}'\n",
            2 - node
        );
        fs::write(data.join("postgresql.auto.conf"), follow).unwrap();
        fs::write(data.join("standby.signal"), "").unwrap();
        fs::create_dir(files.join("sock")).unwrap();
        for path in ["pgdata/postgresql.auto.conf", "pgdata/standby.signal", "sock"] {
            give(&files.join(path));
        }
    }
    let here = pair.world.here();
    pair.wanted.postgres = format!(
        "[postgres]\ndata_dir = \"{0}/pgdata\"\nbin_dir = \"{BIN}\"\nos_user = \"postgres\"\n\
         socket_dir = \"{0}/sock\"\nport = 5432\nuser = \"postgres\"\ndatabase = \"postgres\"\n\
         hosts = {{ pbx-a = \"10.9.0.1\", pbx-b = \"10.9.0.2\" }}\n\
         replication_user = \"replicator\"\n\n",
        here.display()
    );
    pair.configure();
    pair
}

fn make(data: &Path, socket: &Path) -> PathBuf {
    fs::create_dir(data).unwrap();
    give(data);
    let path = data.display().to_string();
    run(as_owner("initdb")
        .args(["-D", &path, "-U", "postgres", "--wal-segsize=1", "--no-sync"])
        .args(["--auth=trust", "--no-instructions"]));
    let conf = data.join("postgresql.conf");
    let more = CONF.replace("SOCKET", &socket.display().to_string());
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + &more).unwrap();
    fs::write(data.join("pg_hba.conf"), RULES).unwrap();
    let script = "CREATE ROLE replicator REPLICATION LOGIN;\nCREATE TABLE calls (n bigint);\n\
                  GRANT pg_checkpoint TO replicator;\n\
                  GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator;\n\
                  GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator;\n\
                  GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator;\n\
                  GRANT EXECUTE ON FUNCTION \
                  pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;\n";
    let input = data.with_extension("sql");
    fs::write(&input, script).unwrap();
    let mut single = as_owner("postgres");
    single.args(["--single", "-D", &path, "postgres"]);
    run(single.stdin(fs::File::open(&input).unwrap()));
    data.to_owned()
}

fn as_owner(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
    command.arg(format!("{BIN}/{program}")).current_dir("/");
    command
}

fn give(path: &Path) {
    let user = User::from_name("postgres").unwrap().expect("the user postgres");
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

/// One value from a host's server.
pub fn sql(pair: &Pair, node: usize, statement: &str) -> String {
    let socket = pair.world.files(HOSTS[node]).join("sock");
    let mut psql = as_owner("psql");
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-h"]).arg(socket);
    text(&run(psql.args(["-c", statement]))).trim().to_owned()
}
