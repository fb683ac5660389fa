//! The README's "Set up a pair by hand", step by step, in two guests that know nothing of duotone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::guest::{Guest, NAMES, installed};
use crate::network::run;
use crate::watch;

const SLOW: Duration = Duration::from_secs(600);

/// Times of `seconds`, stretched for hosts that a busy machine does not run for seconds.
const CONFIGURATION: &str = r#"[pair]
name = "guests"
preset = "seconds"

[timing]
delay = "1s"
lost_after = "20s"
release = "2s"
arbiter = "2s"
probe_interval = "500ms"
short_validity = "3s"
long_validity = "8s"
address_lifetime = "6s"
replication_stall = "30s"
step_deadline = "120s"
critical_down = "60s"

[[node]]
name = "pbx-a"
[[node]]
name = "pbx-b"

[[link]]
kind = "udp"
interface = "eth1"
addresses = { pbx-a = "10.9.0.1", pbx-b = "10.9.0.2" }

[floating]
interface = "eth0"
addresses = ["192.0.2.10/24"]
references = ["192.0.2.1"]

[postgres]
data_dir = "/var/lib/postgresql/15/main"
bin_dir = "/usr/lib/postgresql/15/bin"
hosts = { pbx-a = "10.9.0.1", pbx-b = "10.9.0.2" }
passfile = "/var/lib/postgresql/.pgpass"
options = ["-c", "config_file=/etc/postgresql/15/main/postgresql.conf"]
"#;

/// The state file as the last life left it, before the daemon of this one can touch it.
const KEEPER: &str = "[Unit]\nBefore=duotone.service\n\
     [Service]\nType=oneshot\nExecStart=-/bin/cp /var/lib/duotone/state /run/state-at-boot\n\
     [Install]\nWantedBy=multi-user.target\n";

/// systemctl waits for no more than a minute and a half, whatever it is told; on a busy machine the
/// manager may need more, and does it nevertheless.
const RELOAD: &str = "for n in $(seq 8); do systemctl daemon-reload && break; sleep 5; done";

const WATCHER: &str = "[Service]\nExecStart=/usr/bin/perl /opt/watch.pl\nRestart=always\n\
     [Install]\nWantedBy=multi-user.target\n";

/// The disk that brings the files of the checkout into the guests.
pub fn payload(directory: &Path) -> anyhow::Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = directory.join("payload");
    fs::create_dir_all(&files)?;
    fs::copy(checkout.join("target/release/duotone"), files.join("duotone"))
        .context("no release build: cargo build --release")?;
    fs::copy(checkout.join("systemd/duotone.service"), files.join("duotone.service"))?;
    fs::write(files.join("duotone.toml"), CONFIGURATION)?;
    fs::write(files.join("watch.pl"), watch::PROGRAM)?;
    fs::write(files.join("guest-watch.service"), WATCHER)?;
    fs::write(files.join("guest-keeper.service"), KEEPER)?;
    let image = directory.join("payload.img");
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .arg(&files)
        .arg(&image)
        .arg("512M"))?;
    Ok(())
}

/// Steps 1 to 7 on both; the key.
pub fn pair(guests: &[Guest; 2], key: &str) -> anyhow::Result<()> {
    if installed().is_some() {
        return both(guests, started);
    }
    both(guests, starts_by_itself)?;
    both(guests, |guest| programs(guest, key))?;
    both(guests, servers)?;
    replica(guests)?;
    // The primary first.
    guests.iter().try_for_each(handed_over)?;
    both(guests, started)
}

/// On both at once: each waits for its own emulated processor.
fn both(
    guests: &[Guest; 2],
    step: impl Fn(&Guest) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let runs = guests.each_ref().map(|guest| scope.spawn(|| step(guest)));
        runs.into_iter().try_for_each(|run| run.join().expect("no panic in a step"))
    })
}

/// As Debian ships it, the server starts with the host: what step 5 must end.
fn starts_by_itself(guest: &Guest) -> anyhow::Result<()> {
    guest.agent.run(
        "for n in $(seq 200); do systemctl -q is-active postgresql@15-main && exit 0; sleep 1; done
         systemctl status postgresql@15-main; exit 1",
    )?;
    Ok(())
}

fn programs(guest: &Guest, key: &str) -> anyhow::Result<()> {
    let script = r#"set -e
        mount -o ro /dev/vdb /mnt
        install -m 755 /mnt/duotone /usr/bin/
        install -D -m 644 /mnt/duotone.toml /etc/duotone/duotone.toml
        install -m 644 /mnt/duotone.service /etc/systemd/system/
        install -m 644 /mnt/guest-*.service /etc/systemd/system/
        install -D -m 644 /mnt/watch.pl /opt/watch.pl
        install -m 600 /dev/null /etc/duotone/pair.key
        echo KEY > /etc/duotone/pair.key
        umount /mnt
        printf 'net.ipv4.ip_nonlocal_bind=1\nnet.ipv6.ip_nonlocal_bind=1\n' > /etc/sysctl.d/duotone.conf
        sysctl -q -p /etc/sysctl.d/duotone.conf
        systemctl enable --no-reload guest-watch guest-keeper
        RELOAD
        systemctl start guest-watch
        sync"#;
    let script = script.replace("KEY", key).replace("RELOAD", RELOAD);
    guest.agent.run_for(SLOW, &script).map(drop)
}

fn servers(guest: &Guest) -> anyhow::Result<()> {
    // The last line of pg_hba.conf is this test's client.
    let script = r#"set -e
        cat > /etc/postgresql/15/main/conf.d/duotone.conf <<'EOF'
listen_addresses = '*'                  # the peer's server connects over eth1
wal_log_hints = on                      # or a cluster with checksums: a log that left the peer's can be rewound
wal_keep_size = '256MB'                 # a standby that was away finds the log that it missed
max_slot_wal_keep_size = '4GB'          # a slot whose standby is gone must not fill the disk
wal_retrieve_retry_interval = '500ms'   # a standby is in sync again after half a second, not five
EOF
        cd /etc/postgresql/15/main
        sed -i '1i local all postgres peer map=duotone\nhost replication replicator 10.9.0.0/24 scram-sha-256\nhost postgres replicator 10.9.0.0/24 scram-sha-256' pg_hba.conf
        printf 'duotone root postgres\nduotone postgres postgres\n' >> pg_ident.conf
        install -m 600 -o postgres -g postgres /dev/null /var/lib/postgresql/.pgpass
        echo '*:5432:*:replicator:SECRET' > /var/lib/postgresql/.pgpass
        echo 'host postgres postgres 192.0.2.1/32 trust' >> pg_hba.conf
        systemctl restart postgresql@15-main"#;
    guest.agent.run_for(SLOW, script).map(drop)
}

fn replica(guests: &[Guest; 2]) -> anyhow::Result<()> {
    let script = r#"runuser -u postgres -- psql -v ON_ERROR_STOP=1 <<'EOF'
CREATE ROLE replicator REPLICATION LOGIN PASSWORD 'SECRET';
GRANT pg_checkpoint TO replicator;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
CREATE TABLE rows_of_guests (n bigint PRIMARY KEY);
EOF"#;
    guests[0].agent.run_for(SLOW, script)?;
    let script = r#"set -e
        systemctl stop postgresql@15-main
        mv /var/lib/postgresql/15/main /var/lib/postgresql/15/main.unused
        runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_basebackup -c fast -h 10.9.0.1 -U replicator \
            -D /var/lib/postgresql/15/main -R"#;
    guests[1].agent.run_for(SLOW, script).map(drop)
}

fn handed_over(guest: &Guest) -> anyhow::Result<()> {
    let script = "set -e\nsystemctl stop postgresql@15-main\n\
         echo disabled > /etc/postgresql/15/main/start.conf";
    guest.agent.run_for(SLOW, script).map(drop)
}

fn started(guest: &Guest) -> anyhow::Result<()> {
    let check = guest.agent.shell_for(SLOW, "duotone config check")?;
    ensure!(check.code == 0, "{}: config check: {check:?}", NAMES[guest.number]);
    let script = format!(
        "set -e\n{RELOAD}\nsystemctl enable --no-reload duotone\n\
         systemctl start duotone"
    );
    guest.agent.run_for(SLOW, &script).map(drop)
}
