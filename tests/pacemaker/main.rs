//! A real pair under Pacemaker and corosync, in namespaces of this machine: hosts that can lose
//! power, a fence agent that really takes it, a client on the LAN.
//!
//! | file | its job |
//! |---|---|
//! | `network`, `host`, `host-init`, `power`, `fence_lab` | two machines, their cables and their power |
//! | `database`, `cluster`, `contestant` | what an administrator installs on them |
//! | `writer`, `watch` | a client's acknowledged rows, and who has the address |
//! | `lab` | all of it together, and what is waited for |
//! | `sip` | a phone that asks whether the PBX answers |
//! | `scenarios` | what goes wrong, and how it must end |
//! | `bench` | the agents against PAF and IPaddr2 (`make bench-pacemaker`) |

mod bench;
mod cluster;
mod command;
mod contestant;
mod database;
mod host;
mod lab;
mod network;
mod power;
mod scenarios;
mod sip;
mod watch;
mod writer;

use std::path::Path;

/// What the lab needs is here; a word why if not.
fn ready(more: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (network namespaces, Pacemaker)");
        return false;
    }
    let needed = ["/usr/sbin/pacemakerd", "/usr/sbin/corosync", "/usr/sbin/crm", "/usr/sbin/nft"];
    for program in needed.iter().chain(more) {
        if !Path::new(program).exists() {
            eprintln!("skipped: needs {program} (make setup)");
            return false;
        }
    }
    true
}
