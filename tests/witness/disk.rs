//! What is answered is on disk, and what is not on disk is not answered.

use std::fs;

use duotone::protocol::witness::{Refusal, Verdict, Wish};
use duotone::witness::service::{Service, Unanswered};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::asker::{A, AWAITS, Asker, B, Directory, TAKE, at, config, flip, service};

#[test]
fn a_crash_between_write_and_answer_loses_nothing() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let (mut a, mut b) = (Asker::new(A, 1), Asker::new(B, 2));
    // The grant was written; its answer goes down with the process.
    assert_eq!(a.ask(&mut witness, AWAITS, TAKE).verdict, Verdict::Done);
    drop(witness);
    let restarted = AWAITS + 10_000;
    let mut witness = service(&directory, restarted);
    b.term = 6;
    let refused = b.ask(&mut witness, restarted + 1_999, TAKE);
    assert_eq!(refused.verdict, Verdict::Refused(Refusal::HeldByPeer), "the restart rule");
    assert_eq!(refused.ledger.holder.map(|holder| holder.node), Some(A));
    // The holder's own word ends the wait.
    assert_eq!(a.ask(&mut witness, restarted + 1_999, Wish::Release).verdict, Verdict::Done);
    assert_eq!(b.ask(&mut witness, restarted + 1_999, TAKE).verdict, Verdict::Done);
}

#[test]
fn only_a_change_touches_the_disk() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let mut a = Asker::new(A, 1);
    a.ask(&mut witness, AWAITS, TAKE);
    let written = witness.pairs()[1].counters.written;
    for renewal in 1..50 {
        assert_eq!(a.ask(&mut witness, AWAITS + renewal * 100, TAKE).verdict, Verdict::Done);
    }
    assert_eq!(witness.pairs()[1].counters.written, written);
}

#[test]
fn a_directory_that_is_gone_silences_the_witness_until_it_is_back() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let (mut a, mut b) = (Asker::new(A, 1), Asker::new(B, 2));
    a.ask(&mut witness, AWAITS, TAKE);
    let away = directory.0.join("away");
    fs::rename(directory.state(), &away).unwrap();
    b.term = 6;
    b.ask(&mut witness, AWAITS + 2_500, Wish::Query);
    assert_eq!(b.once(&mut witness, AWAITS + 2_500, TAKE), Err(Unanswered::Unwritten));
    // It is as if that request had never come; and what is on disk is not known, so that not even
    // a question is answered.
    assert_eq!(b.once(&mut witness, AWAITS + 2_600, Wish::Query), Err(Unanswered::Unwritten));
    let office = witness.pairs()[1];
    assert_eq!(office.counters.unwritten, 2);
    assert!(office.unwritable.is_some());
    assert_eq!(office.witness.ledger().holder.map(|holder| holder.node), Some(A));
    fs::rename(&away, directory.state()).unwrap();
    let reply = b.ask(&mut witness, AWAITS + 2_700, Wish::Query);
    assert_eq!(reply.ledger.holder.map(|holder| holder.node), Some(A));
    assert_eq!(b.ask(&mut witness, AWAITS + 2_700, TAKE).verdict, Verdict::Done);
    assert!(witness.pairs()[1].unwritable.is_none());
}

#[test]
fn a_full_disk_is_told_and_not_answered() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (a file system of its own)");
        return;
    }
    // A thread with its own mounts, which end with it.
    let test = std::thread::spawn(|| {
        let directory = Directory::new();
        fs::create_dir(directory.state()).unwrap();
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
        let state = directory.state();
        mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), Some("size=16k")).unwrap();
        let mut witness = service(&directory, 0);
        let mut a = Asker::new(A, 1);
        // Introduced: the empty ledger is on disk already.
        a.ask(&mut witness, 0, Wish::Query);
        let filler = state.join("filler");
        assert!(fs::write(&filler, vec![0; 64 << 10]).is_err(), "the disk is full");
        assert_eq!(a.once(&mut witness, AWAITS, TAKE), Err(Unanswered::Unwritten));
        fs::remove_file(filler).unwrap();
        assert_eq!(a.ask(&mut witness, AWAITS, TAKE).verdict, Verdict::Done);
        drop(witness);
        nix::mount::umount(&state).unwrap();
    });
    test.join().unwrap();
}

#[test]
fn a_damaged_ledger_is_put_aside_and_means_no_memory() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    let (mut a, mut b) = (Asker::new(A, 1), Asker::new(B, 2));
    a.ask(&mut witness, AWAITS, TAKE);
    drop(witness);
    flip(&directory.ledger("office"), 30);
    let restarted = AWAITS + 60_000;
    let mut witness = service(&directory, restarted);
    assert!(directory.state().join("office.ledger.damaged-1").exists());
    b.term = 6;
    for node in [&mut a, &mut b] {
        let refused = node.ask(&mut witness, restarted + AWAITS - 1, TAKE);
        assert_eq!(refused.verdict, Verdict::Refused(Refusal::NoMemory));
    }
    assert_eq!(b.ask(&mut witness, restarted + AWAITS, TAKE).verdict, Verdict::Done);
}

#[test]
fn another_pair_s_ledger_is_none() {
    let directory = Directory::new();
    let mut witness = service(&directory, 0);
    Asker::new(A, 1).ask(&mut witness, AWAITS, TAKE);
    drop(witness);
    fs::rename(directory.ledger("office"), directory.ledger("branch")).unwrap();
    let witness = service(&directory, 0);
    assert_eq!(witness.pairs()[0].witness.ledger().holder, None);
    assert!(directory.state().join("branch.ledger.damaged-1").exists());
}

#[test]
fn two_witnesses_never_share_a_directory() {
    let directory = Directory::new();
    let _one = service(&directory, 0);
    let two = Service::begin(&config(&directory), at(0));
    assert!(two.expect_err("in use").to_string().contains("in use by another"));
}
