//! Real servers for the tests: a primary and its standby on two loopback addresses with one port.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use duotone::adapters::postgres::Database;
use duotone::config::Postgres;
use duotone::protocol::event::DatabaseSeen;
use duotone::protocol::identity::NodeId;
use duotone::protocol::timing::Timing;

pub const BIN: &str = "/usr/lib/postgresql/15/bin";
/// What `pg_rewind` needs on its source, as the README says.
pub const REWIND_RIGHTS: &str = "\
GRANT pg_checkpoint TO replicator; \
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator; \
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator; \
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator; \
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO replicator";
static PORT: AtomicU16 = AtomicU16::new(0);

/// The test's own directory; every server in it is killed and it is removed at the end.
pub struct Lab {
    root: PathBuf,
    port: u16,
    template: Arc<Template>,
}

impl Lab {
    /// `None` (said on standard error) without PostgreSQL 15.
    pub fn new(name: &str) -> Option<Lab> {
        if !Path::new(BIN).join("postgres").exists() {
            eprintln!("skipped: needs PostgreSQL 15 in {BIN} (apt-get install postgresql-15)");
            return None;
        }
        let template = Template::get();
        let id = std::process::id();
        let root = PathBuf::from(format!("/tmp/dtpg-{id}-{name}"));
        fs::create_dir(&root).expect("make the test's directory");
        give(&root);
        let first = 20_000 + (id % 15_000) as u16;
        let port = first + PORT.fetch_add(1, Ordering::Relaxed);
        Some(Lab { root, port, template })
    }

    /// Names as in a configuration file.
    pub fn names() -> [String; 2] {
        ["pbx-a".to_owned(), "pbx-b".to_owned()]
    }

    pub fn server(&self, node: NodeId) -> Server {
        Server { dir: self.root.join(node.to_string()), node, port: self.port }
    }

    /// A running primary on `a`.
    pub fn primary(&self) -> Server {
        let server = self.server(NodeId::A);
        server.copy_template(&self.template);
        server.boot();
        server.sql("CREATE ROLE replicator REPLICATION LOGIN");
        server.sql(REWIND_RIGHTS);
        server.sql("CREATE TABLE calls (n bigserial PRIMARY KEY)");
        server
    }

    /// A running primary on `a` and a running standby of it on `b`, set up by hand.
    pub fn pair(&self, application_name: &str) -> (Server, Server) {
        let a = self.primary();
        let b = self.server(NodeId::B);
        b.copy_from(&a, &self.template);
        b.follow_by_hand(application_name);
        b.boot();
        until("the standby streams", || {
            a.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
        });
        (a, b)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in NodeId::ALL {
            self.server(node).kill_all();
        }
        if std::thread::panicking() {
            for node in NodeId::ALL {
                let log = self.server(node).dir.join("log");
                eprintln!("--- {}\n{}", node, fs::read_to_string(log).unwrap_or_default());
            }
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// One node's server.
pub struct Server {
    pub dir: PathBuf,
    pub node: NodeId,
    port: u16,
}

impl Server {
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn address(&self, node: NodeId) -> &'static str {
        // `a` has the other address, so that a connection from `b` to it comes from `b`'s.
        match node {
            NodeId::A => "127.0.0.2",
            NodeId::B => "127.0.0.1",
        }
    }

    pub fn config(&self) -> Postgres {
        Postgres {
            data_dir: self.data(),
            bin_dir: BIN.into(),
            os_user: os_user(),
            socket_dir: self.dir.clone(),
            port: self.port,
            user: os_user(),
            database: "postgres".into(),
            peer_host: self.address(self.node.peer()).parse().expect("address"),
            replication_user: "replicator".into(),
            passfile: None,
            options: vec!["-c".into(), "log_min_messages=fatal".into()],
            salvage_dir: self.dir.join("salvage"),
            salvage_exclude: Vec::new(),
        }
    }

    pub fn database(&self) -> Database {
        Database::new(&self.config(), &timing(), &Lab::names(), self.node)
    }

    fn copy_template(&self, template: &Template) {
        fs::create_dir(&self.dir).expect("make the node's directory");
        run(Command::new("cp").arg("-a").arg(&template.0).arg(self.data()));
        let settings = format!(
            "port = {}\nlisten_addresses = '{}'\nunix_socket_directories = '{}'\n\
             wal_log_hints = on\nwal_keep_size = 32MB\nshared_buffers = 8MB\n\
             wal_retrieve_retry_interval = 100ms\nmax_slot_wal_keep_size = 64MB\n",
            self.port,
            self.address(self.node),
            self.dir.display(),
        );
        fs::write(self.data().join("pair.conf"), settings).expect("settings");
        give(&self.data().join("pair.conf"));
        give(&self.dir);
    }

    fn copy_from(&self, primary: &Server, template: &Template) {
        self.copy_template(template);
        fs::remove_dir_all(self.data()).expect("only the settings are wanted");
        run(as_owner(&format!("{BIN}/pg_basebackup"))
            .args(["-D", &self.data().display().to_string()])
            .args(["-h", &primary.dir.display().to_string(), "-p", &self.port.to_string()])
            .args(["--checkpoint=fast", "--no-sync"]));
        let path = self.data().join("pair.conf");
        let settings = fs::read_to_string(&path).expect("settings");
        let settings = settings
            .replace(primary.address(primary.node), self.address(self.node))
            .replace(&primary.dir.display().to_string(), &self.dir.display().to_string());
        fs::write(path, settings).expect("settings");
    }

    fn follow_by_hand(&self, application_name: &str) {
        let conninfo = format!(
            "primary_conninfo = 'host={} port={} user=replicator application_name={}'\n",
            self.address(self.node.peer()),
            self.port,
            application_name
        );
        fs::write(self.data().join("postgresql.auto.conf"), conninfo).expect("conninfo");
        fs::write(self.data().join("standby.signal"), "").expect("standby.signal");
        give(&self.data().join("postgresql.auto.conf"));
        give(&self.data().join("standby.signal"));
    }

    /// Starts it as an administrator would.
    pub fn boot(&self) {
        // Of one that was killed, and perhaps not reaped yet: PostgreSQL takes that for alive.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let _ = fs::remove_file(self.dir.join(format!(".s.PGSQL.{}.lock", self.port)));
        run(as_owner(&format!("{BIN}/pg_ctl"))
            .args(["start", "-w", "-s", "-D", &self.data().display().to_string()])
            .args(["-l", &self.dir.join("log").display().to_string()]));
    }

    fn psql(&self, sql: &str) -> Command {
        let mut command = as_owner(&format!("{BIN}/psql"));
        command
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", &self.dir.display().to_string()])
            .args(["-p", &self.port.to_string(), "-d", "postgres", "-c", sql]);
        command
    }

    pub fn sql(&self, sql: &str) -> String {
        let output = run(&mut self.psql(sql));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// A statement that may wait: the caller kills or waits for it.
    pub fn sql_in_background(&self, sql: &str) -> std::process::Child {
        self.psql(sql).spawn().expect("psql")
    }

    /// The backend pid of the one session with this application name.
    pub fn session_named(&self, name: &str) -> i32 {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'");
        self.sql(&sql).parse().expect("one session")
    }

    /// It answers.
    pub fn is_ready(&self) -> bool {
        self.psql("SELECT 1").output().is_ok_and(|output| output.status.success())
    }

    pub fn postmaster(&self) -> i32 {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).expect("postmaster.pid");
        text.lines().next().expect("a pid").parse().expect("a pid")
    }

    /// Every process that works in the data directory.
    pub fn processes(&self) -> Vec<i32> {
        let Ok(home) = self.data().canonicalize() else { return Vec::new() };
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == home)
            })
            .collect()
    }

    /// As by power-off: nothing is flushed or said.
    pub fn kill_all(&self) {
        until("all are dead", || {
            let there = self.processes();
            for pid in &there {
                signal(*pid, "KILL");
            }
            there.is_empty()
        });
    }

    /// A process of this kind, by its title.
    pub fn process_titled(&self, part: &str) -> i32 {
        let title = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline"));
        self.processes()
            .into_iter()
            .find(|pid| title(pid).is_ok_and(|title| title.contains(part)))
            .unwrap_or_else(|| panic!("no process titled {part}"))
    }
}

pub fn signal(pid: i32, name: &str) {
    use nix::sys::signal::{Signal, kill};
    let signal: Signal = format!("SIG{name}").parse().expect("a signal");
    let _ = kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Waits up to a minute; for the test's own set-up, not for what it measures.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}

/// Looks until it is known whether commits wait: a look waits only so long for the checkpointer of
/// a busy machine.
pub async fn settled(database: &mut Database) -> DatabaseSeen {
    let mut seen = database.look().await;
    for _ in 0..100 {
        if seen.synchronous.is_some() {
            break;
        }
        seen = database.look().await;
    }
    seen
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

/// The `voice` preset's times that matter here, and others that do not.
pub fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        interval: ms(50),
        delay: ms(20),
        late_after: ms(190),
        lost_after: ms(250),
        start_grace: ms(500),
        drift_ppm: 500,
        release: ms(60),
        arbiter: ms(50),
        probe_interval: ms(10),
        probes: 3,
        short_window: ms(100),
        long_window: ms(500),
        short_validity: ms(30),
        long_validity: ms(300),
        first_attempt: ms(300),
        short_validity_for: ms(500),
        address_lifetime: ms(2000),
        lan_window: ms(4000),
        certificate: ms(6000),
        grant: ms(300),
        grant_renewal: ms(50),
        fence: ms(1000),
        fence_delay: ms(1000),
        replication_stall: ms(2000),
        step_deadline: ms(15_000),
        critical_down: ms(5000),
    }
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn os_user() -> String {
    if is_root() {
        return "postgres".to_owned();
    }
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    user.ok().flatten().expect("own name").name
}

fn as_owner(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", program]);
    command.current_dir("/");
    command
}

fn give(path: &Path) {
    if is_root() {
        let user = nix::unistd::User::from_name("postgres").ok().flatten().expect("postgres");
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("chown");
    }
}

/// One initdb for all tests that overlap; removed with the last of them.
struct Template(PathBuf);

impl Template {
    fn get() -> Arc<Template> {
        static SHARED: Mutex<Weak<Template>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = shared.upgrade() {
            return template;
        }
        let made = Arc::new(Template::make());
        *shared = Arc::downgrade(&made);
        made
    }

    fn make() -> Template {
        static MADE: AtomicU16 = AtomicU16::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/dtpg-{}-template{number}", std::process::id()));
        fs::create_dir(&path).expect("make the template's directory");
        let template = Template(path.clone());
        give(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("mode");
        run(as_owner(&format!("{BIN}/initdb"))
            .args(["-D", &path.display().to_string(), "-U", &os_user()])
            .args(["--wal-segsize=1", "--no-sync", "--auth=trust", "--no-instructions"]));
        let main = path.join("postgresql.conf");
        let text = fs::read_to_string(&main).expect("postgresql.conf") + "include 'pair.conf'\n";
        fs::write(&main, text).expect("postgresql.conf");
        let rules = "local all all trust\nlocal replication all trust\n\
                     host replication replicator 127.0.0.0/8 trust\n\
                     host postgres replicator 127.0.0.0/8 trust\n";
        fs::write(path.join("pg_hba.conf"), rules).expect("pg_hba.conf");
        template
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("start a program");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
