//! `duotone live kamailio` beside a real Kamailio that runs the example's configuration, with real
//! phones (sipp), in a network namespace of its own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use duotone::adapters::live::{self, Listing, id};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything that runs; gone when dropped.
struct Lab {
    name: String,
    dir: PathBuf,
    running: Vec<Child>,
}

impl Lab {
    fn new(what: &str) -> Option<Lab> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root (a network namespace)");
            return None;
        }
        for program in ["/usr/sbin/kamailio", "/usr/bin/sipp", &format!("{BIN}/initdb")] {
            if !Path::new(program).exists() {
                eprintln!("skipped: needs {program} (make setup)");
                return None;
            }
        }
        let name = format!("dtlive{}{what}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(&dir).unwrap();
        let lab = Lab { name, dir, running: Vec::new() };
        run(Command::new("ip").args(["netns", "add", &lab.name]));
        for words in ["link set lo up", "addr add 192.0.2.10/32 dev lo"] {
            run(Command::new("ip").args(["-n", &lab.name]).args(words.split(' ')));
        }
        Some(lab)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// In the namespace; killed at the end, also when this process is.
    fn start(&mut self, log: &str, program: &str, words: &[&str]) {
        let log = File::create(self.dir.join(log)).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "setpriv", "--pdeathsig", "KILL", program]);
        command.args(words).env("PGHOST", &self.dir).env("TERM", "dumb").current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push(command.process_group(0).spawn().unwrap());
    }

    /// A cluster with what Kamailio's package and the example put into it.
    fn database(&mut self) {
        let owner = nix::unistd::User::from_name("postgres").unwrap().expect("a user postgres");
        nix::unistd::chown(&self.dir, Some(owner.uid), Some(owner.gid)).unwrap();
        let as_owner = |program: &str| {
            let mut command = Command::new(format!("{BIN}/{program}"));
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw()).current_dir(&self.dir);
            command
        };
        let data = self.path("data");
        run(as_owner("initdb").args(["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"]));
        let socket = format!(
            "-c fsync=off -c listen_addresses= -c unix_socket_directories={}",
            self.dir.display()
        );
        let mut server = as_owner("postgres");
        server.args(["-D", &data]).args(socket.split(' ')).stdin(Stdio::null());
        let log = File::create(self.dir.join("postgres.log")).unwrap();
        server.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.running.push(server.spawn().unwrap());
        let psql = || {
            let mut psql = Command::new("psql");
            psql.args(["-h"]).arg(&self.dir).args([
                "-U",
                "postgres",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
            ]);
            psql
        };
        soon("the server answers", || {
            psql().args(["-c", "SELECT 1"]).output().unwrap().status.success()
        });
        let shipped = |name: &str| format!("/usr/share/kamailio/postgres/{name}-create.sql");
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamailio/database.sql");
        for file in [&shipped("standard"), &shipped("usrloc"), &shipped("dialog"), own] {
            run(self.psql().args(["-f", file]));
        }
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-h"]).arg(&self.dir).args(["-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1"]);
        psql
    }

    fn list(&self, what: &str) -> Listing {
        let database = format!("host={} user=postgres dbname=postgres", self.dir.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_duotone"));
        let output = run(command.args(["live", "kamailio", what, "--database", &database]));
        let listing = Listing::read(&output);
        assert_eq!((listing.broken, listing.left_out), (0, 0));
        listing
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for mut child in self.running.drain(..).rev() {
            let group = nix::unistd::Pid::from_raw(child.id() as i32);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for log in ["kamailio.log", "long.log", "postgres.log"] {
                let text = fs::read_to_string(self.dir.join(log)).unwrap_or_default();
                eprintln!("--- {log}\n{}", &text[text.len().saturating_sub(2000)..]);
            }
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    output.stdout
}

#[track_caller]
fn soon(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The example's script ends the records of the calls that it reads, and of no other, once.
#[test]
fn records_of_calls_that_were_cut_are_closed_once() {
    let Some(mut lab) = Lab::new("close") else { return };
    lab.database();
    let sql = "CREATE TABLE cdr (call_id text, ended timestamptz, cut_by_failover boolean); \
               INSERT INTO cdr VALUES ('1', NULL, NULL), ('2', NULL, NULL), ('3', '2026-01-01', NULL)";
    run(lab.psql().args(["-c", sql]));
    let socket = lab.dir.display().to_string();
    let script = include_str!("../../examples/kamailio/close-calls");
    let script = script
        .replace("/var/run/postgresql", &socket)
        .replace("dbname kamailio", "dbname postgres");
    fs::write(lab.dir.join("close-calls"), script).unwrap();
    let command = ["/bin/sh".to_owned(), lab.path("close-calls")];
    let cut = Listing::read(b"{\"id\":\"1\",\"from\":\"a, \\\"b\\\"\"}\n{\"id\":\"3\"}\n");
    let state = || {
        let sql = "SELECT call_id, ended > now() - interval '1h', cut_by_failover, ended FROM cdr ORDER BY 1";
        String::from_utf8(run(lab.psql().args(["-At", "-c", sql]))).unwrap()
    };
    let mut was = String::new();
    for run in 1..=2 {
        let told = live::tell(&command, &cut.entries, PATIENCE);
        crate::command::runtime().block_on(told).unwrap();
        let is = state();
        let lines: Vec<&str> = is.lines().collect();
        assert!(lines[0].starts_with("1|t|t|"), "{is}");
        assert_eq!(lines[1], "2|||");
        assert!(lines[2].starts_with("3|f||2026-01-01"), "it had ended before: {is}");
        assert!(run == 1 || is == was, "a second run changes nothing");
        was = is;
    }
}

#[test]
fn a_real_kamailio_lists_its_calls_and_phones() {
    let Some(mut lab) = Lab::new("list") else { return };
    lab.database();
    let cfg = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamailio/kamailio.cfg");
    let url = |name: &str, role: &str| format!("{name}=\"postgres://{role}@/postgres\"");
    let (url, dialogs) = (url("DBURL", "kamailio"), url("DBURL_DIALOG", "kamailio_dialog"));
    let words = ["-DD", "-E", "-m", "32", "-M", "4", "-A", &url, "-A", &dialogs, "-f", cfg];
    lab.start("kamailio.log", "/usr/sbin/kamailio", &words);
    assert_eq!(lab.list("calls"), Listing::default());
    let scenario = |name: &str| format!("{}/src/lab/sipp/{name}.xml", env!("CARGO_MANIFEST_DIR"));
    let (enrol_xml, long_xml) = (scenario("enrol"), scenario("long"));
    let sipp = |port| ["-nostdin", "-i", "127.0.0.1", "-p", port, "-sf"];
    lab.start("desk.log", "sipp", &[&sipp("5071")[..], &[&scenario("desk")]].concat());
    // Registered again and again until Kamailio is up: 2 phones, once each.
    soon("two phones are registered", || {
        let words = [&sipp("5066")[..], &[&enrol_xml, "-m", "2", "192.0.2.10"]].concat();
        lab.start("enrol.log", "sipp", &words);
        let mut enrol = lab.running.pop().expect("just started");
        soon("sipp ends", || enrol.try_wait().unwrap().is_some());
        lab.list("endpoints").entries.len() == 2
    });
    let phones = lab.list("endpoints");
    assert_eq!(phones.entries.iter().map(id).collect::<Vec<_>>(), ["desk1", "desk2"]);
    assert_eq!(phones.entries[0]["contact"], "sip:desk1@127.0.0.1:5071");
    let expires: jiff::Timestamp = phones.entries[0]["expires"].as_str().unwrap().parse().unwrap();
    let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3000..=3600).contains(&left), "3600 s from the registration: {left} s");
    let long = [&sipp("5067")[..], &[&long_xml, "-m", "1", "-cid_str", "live-%u"]].concat();
    lab.start("long.log", "sipp", &[&long[..], &["192.0.2.10"]].concat());
    soon("the call is up", || lab.list("calls").entries.len() == 1);
    let call = &lab.list("calls").entries[0];
    assert_eq!(id(call), "live-1");
    assert_eq!(call["from"], "sip:caller@192.0.2.10");
    assert_eq!(call["to"], "sip:desk1@192.0.2.10");
    let since: jiff::Timestamp = call["since"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(since).as_secs() <= PATIENCE.as_secs() as i64);
}

#[test]
fn a_database_that_is_not_there_is_no_empty_list() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duotone"));
    command.args(["live", "kamailio", "calls", "--database", "host=/nowhere user=x dbname=y"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}
