//! Services under a real systemd: a unit of the host's, a command that duotone makes a unit of, and
//! one that is the daemon's child.

use anyhow::ensure;

use crate::cases::{returns, survived};
use crate::guest::NAMES;
use crate::pair::Pair;

const OWN: &str = "own.service";
const MADE: &str = "duotone-service-made.service";

/// All three run on the active node alone. None of them listens: it is their lives that count.
const INSTALL: &str = r#"set -e
    printf '[Service]\nExecStart=/bin/sh -c "echo own has begun; exec sleep infinity"\n' \
        > /etc/systemd/system/own.service
    cp /etc/duotone/duotone.toml /root/before-units.toml
    cat >> /etc/duotone/duotone.toml <<'END'
[[service]]
name = "own"
unit = "own.service"
[[service]]
name = "made"
command = ["/bin/sh", "-c", "echo made has begun; exec sleep infinity"]
run = "unit"
limits = { memory = "64MiB" }
[[service]]
name = "child"
command = ["/bin/sh", "-c", "echo child has begun; exec sleep 7654321"]
limits = { open_files = 1234 }
END
    for n in $(seq 8); do systemctl daemon-reload && break; sleep 5; done
    systemctl restart duotone"#;

const REMOVE: &str = "set -e
    cp /root/before-units.toml /etc/duotone/duotone.toml
    rm /etc/systemd/system/own.service
    systemctl restart duotone";

/// Who is left to stop the services of a daemon that is killed and not started again: the unit's own
/// means, or, without them, the dead man.
const DEATHS: [(&str, &str); 2] = [
    ("ExecStopPost=", "Restart=no"),
    ("the dead man", r"Restart=no\nExecStopPost=\nKillMode=process"),
];

/// They go where the role goes, by a dead daemon and by a power cut, and are never left behind.
pub fn units(pair: &mut Pair) -> anyhow::Result<String> {
    let active = pair.settle()?;
    // The standby first: its restart moves nothing.
    for node in [1 - active, active] {
        pair.guests[node].agent.run(INSTALL)?;
        pair.settle()?;
    }
    let mut active = pair.settle()?;
    runs_here_alone(pair, active)?;
    output_and_groups(pair, active)?;
    let mut told = Vec::new();
    for (who, unit) in DEATHS {
        pair.rows_flow(3)?;
        let agent = &pair.guests[active].agent;
        // Gone with the boot.
        agent.run(&format!(
            "mkdir -p /run/systemd/system/duotone.service.d
             printf '[Service]\\n{unit}\\n' > /run/systemd/system/duotone.service.d/dies.conf
             for n in $(seq 8); do systemctl daemon-reload && break; sleep 5; done
             systemctl kill --signal=KILL --kill-whom=main duotone"
        ))?;
        let dead = active;
        let took = pair.soon("nothing of the dead daemon's runs", |pair| {
            let seen = pair.guests[dead].agent.run(&left())?;
            Ok(seen == "inactive\ninactive\nleft: 0\n")
        })?;
        active = 1 - dead;
        pair.serves_soon(active)?;
        pair.guests[dead].agent.run(
            "rm /run/systemd/system/duotone.service.d/dies.conf
             for n in $(seq 8); do systemctl daemon-reload && break; sleep 5; done
             systemctl start duotone",
        )?;
        ensure!(pair.settle()? == active, "the role moved again");
        runs_here_alone(pair, active)?;
        told.push(format!("{who} ended them {} s after SIGKILL", took.as_secs()));
    }
    pair.rows_flow(3)?;
    pair.guests[active].power_cut()?;
    let lost = active;
    active = 1 - lost;
    pair.serves_soon(active)?;
    returns(pair, lost)?;
    let rows = survived(pair, lost, active)?;
    runs_here_alone(pair, active)?;
    for node in [1 - active, active] {
        pair.guests[node].agent.run(REMOVE)?;
        pair.settle()?;
    }
    Ok(format!(
        "{}; they followed the role to {} through a power cut; all {rows} acknowledged rows are on \
         both",
        told.join(", "),
        NAMES[active]
    ))
}

/// Both units, and how many processes there are of the child and of PostgreSQL.
fn left() -> String {
    format!(
        "systemctl is-active {OWN} {MADE} || true
         echo \"left: $(ps -eo args= | grep -cE '^(sleep 7654321|postgres)' || true)\""
    )
}

fn runs_here_alone(pair: &Pair, active: usize) -> anyhow::Result<()> {
    let units = format!("systemctl is-active {OWN} {MADE} || true");
    for (node, wanted) in [(active, "active\nactive\n"), (1 - active, "inactive\ninactive\n")] {
        pair.soon(&format!("the units of {} are {wanted:?}", NAMES[node]), |pair| {
            Ok(pair.guests[node].agent.run(&units)? == wanted)
        })?;
    }
    Ok(())
}

/// What each has printed is in the journal under its name; the child is in a group of its own.
fn output_and_groups(pair: &Pair, active: usize) -> anyhow::Result<()> {
    let agent = &pair.guests[active].agent;
    for (name, by) in [("own", "-u own.service"), ("made", "-t made"), ("child", "-t child")] {
        pair.soon(&format!("the journal has what {name} printed"), |_| {
            let said = agent.run(&format!("journalctl -b {by} --no-pager -q -o cat"))?;
            Ok(said.contains(&format!("{name} has begun")))
        })?;
    }
    let status = pair.status(active);
    let services = status["services"].as_array().cloned().unwrap_or_default();
    let child = services.iter().find(|one| one["name"] == "child").map(|one| one["pid"].clone());
    let Some(pid) = child.and_then(|pid| pid.as_i64()) else {
        anyhow::bail!("the child has no process: {status}")
    };
    let about =
        agent.run(&format!("cat /proc/{pid}/cgroup; grep 'open files' /proc/{pid}/limits"))?;
    ensure!(about.contains("duotone.service/duotone-"), "not in a group of its own: {about}");
    ensure!(about.contains("1234"), "without its limit: {about}");
    let memory = agent.run(&format!("systemctl show {MADE} -p MemoryMax --value"))?;
    ensure!(memory.trim() == (64 << 20).to_string(), "without its limit of memory: {memory}");
    Ok(())
}
