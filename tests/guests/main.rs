//! Two virtual hosts with their own kernel, systemd and PostgreSQL (QEMU, `make test-guests`): what
//! namespaces cannot show. A power cut that loses the page cache, a kernel panic, a pause that no
//! clock of the guest tells of, and the real unit under the real systemd.
//!
//! Under software emulation no figure of time means anything; order and survival do. The guests run
//! one case after the other, because a boot is dear; each case begins and ends with a good pair.

mod agent;
mod cases;
mod guest;
mod install;
mod network;
mod pair;
mod restarts;
mod results;
mod units;
mod watch;
mod wire;
mod writer;

#[test]
#[ignore = "boots two virtual hosts: make test-guests"]
fn real_guests() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (network namespaces, QEMU's taps)");
        return;
    }
    let mut results = results::Results::begun();
    if let Err(error) = cases::run(&mut results) {
        results.failed("set-up", &format!("{error:#}"));
    }
    eprintln!("{}", results.table());
    assert!(results.good(), "\n{}", results.table());
}
