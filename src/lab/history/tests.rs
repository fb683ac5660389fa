//! Made-up histories: a good one passes; each kind of bad one is found, and only for what it is.

use super::*;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn client(name: &str, first: u64, acknowledged: u64) -> Client {
    let last = first + acknowledged;
    let line = |number| Acknowledged { number, at: at(number) };
    Client {
        name: name.to_owned(),
        // It always asks for one more than it was told is stored.
        asked: first..=last,
        acknowledged: (first..last).map(line).collect(),
    }
}

fn call(id: &str, invited: u64, answered: u64) -> AnsweredCall {
    AnsweredCall { id: id.to_owned(), invited: at(invited), answered: at(answered) }
}

/// Five rows acknowledged, a sixth stored and not yet acknowledged; the standby a row behind.
fn good() -> History {
    History {
        clients: vec![client("phone", 1, 5)],
        calls: vec![call("a", 1, 2), call("b", 2, 3)],
        serving: Some(vec![1, 2, 3, 4, 5, 6]),
        standby: Some(vec![1, 2, 3, 4, 5]),
        branches: Vec::new(),
        salvaged: Vec::new(),
        loss: Loss::Never,
    }
}

fn violations(history: &History) -> Vec<Violation> {
    check(history).violations
}

#[test]
fn a_good_history_passes() {
    let account = check(&good());
    assert_eq!(account.violations, []);
    assert_eq!((account.acknowledged, account.present, account.missing), (5, 6, 0));
}

#[test]
fn an_acknowledged_row_that_is_nowhere_is_lost() {
    let mut history = good();
    history.serving = Some(vec![1, 2, 4, 5]);
    history.standby = None;
    assert_eq!(violations(&history), [Violation::Lost(3)]);
    assert_eq!(check(&history).missing, 1);
    // Where the durability allows it, the row must at least be in a salvage...
    history.loss = Loss::Stated { returned: true };
    assert_eq!(violations(&history), [Violation::LostUnsalvaged(3)]);
    history.salvaged = vec![3];
    assert_eq!(violations(&history), []);
    assert_eq!((check(&history).missing, check(&history).salvaged), (1, 1));
    // ... and a salvage does not excuse where nothing may be lost.
    history.loss = Loss::Never;
    assert_eq!(violations(&history), [Violation::Lost(3)]);
}

#[test]
fn the_salvage_of_a_host_that_is_off_is_not_asked_for_yet() {
    let mut history = good();
    history.serving = Some(vec![1, 2, 3, 4]);
    history.standby = None;
    history.loss = Loss::Stated { returned: false };
    assert_eq!(violations(&history), []);
    assert_eq!(check(&history).missing, 1, "it is counted all the same");
}

#[test]
fn with_nobody_serving_everything_is_lost() {
    let mut history = good();
    history.serving = None;
    assert_eq!(violations(&history).len(), 5);
}

#[test]
fn a_row_of_a_losing_branch_must_be_somewhere() {
    let mut history = good();
    history.branches =
        vec![Branch { name: "pbx-a's log".to_owned(), rows: vec![1, 2, 3, 4, 5, 6] }];
    history.serving = Some(vec![1, 2, 3, 4, 5]);
    // Row 6 was never acknowledged: P2 does not speak of it, P5 does.
    assert_eq!(violations(&history), [Violation::ThrownAway("pbx-a's log".to_owned(), 6)]);
    assert_eq!(check(&history).left_behind, 1);
    history.salvaged = vec![6];
    assert_eq!(violations(&history), []);
    history.salvaged = Vec::new();
    history.serving = Some(vec![1, 2, 3, 4, 5, 6]);
    assert_eq!(violations(&history), [], "written again by whoever was not answered");
}

#[test]
fn a_row_twice_is_found_wherever_it_is() {
    let mut history = good();
    history.serving = Some(vec![1, 2, 3, 4, 5, 5]);
    assert_eq!(violations(&history), [Violation::Twice(Place::Serving, 5)]);
    let mut history = good();
    history.standby = Some(vec![1, 1, 2]);
    assert_eq!(violations(&history), [Violation::Twice(Place::Standby, 1)]);
    let mut history = good();
    history.salvaged = vec![4, 4];
    assert_eq!(violations(&history), [], "two salvages may hold one row");
}

#[test]
fn a_row_that_nobody_wrote_is_found_wherever_it_is() {
    let mut history = good();
    history.serving.get_or_insert_default().push(7);
    assert_eq!(violations(&history), [Violation::Unwritten(Place::Serving, 7)]);
    let mut history = good();
    history.salvaged = vec![900];
    assert_eq!(violations(&history), [Violation::Unwritten(Place::Salvage, 900)]);
    let mut history = good();
    history.clients.push(client("job on pbx-a", 900, 2));
    history.salvaged = vec![900, 901, 902];
    history.loss = Loss::Stated { returned: true };
    assert_eq!(violations(&history), [], "the other client wrote it");
    history.branches = vec![Branch { name: "x".to_owned(), rows: vec![0, 900] }];
    let expected =
        [Violation::ThrownAway("x".to_owned(), 0), Violation::Unwritten(Place::Branch, 0)];
    assert_eq!(violations(&history), expected);
}

#[test]
fn a_standby_with_rows_of_its_own_is_no_copy() {
    let mut history = good();
    history.standby = Some(vec![1, 2, 3, 4, 5, 6]);
    history.serving = Some(vec![1, 2, 3, 4, 5]);
    assert_eq!(violations(&history), [Violation::NoCopy(6)]);
}

#[test]
fn a_log_that_no_client_writes_is_not_believed() {
    let bad_log = |change: fn(&mut History)| {
        let mut history = good();
        change(&mut history);
        let found = violations(&history);
        assert!(matches!(found[..], [Violation::BadLog(_)]), "{found:?}");
    };
    bad_log(|history| {
        history.clients[0].acknowledged.remove(2);
    });
    bad_log(|history| {
        let line = history.clients[0].acknowledged[4];
        history.clients[0].acknowledged.push(line);
    });
    bad_log(|history| history.clients[0].acknowledged[3].at = at(1));
    bad_log(|history| history.calls.push(call("c", 9, 8)));
    bad_log(|history| history.calls.push(call("a", 9, 10)));
}

#[test]
fn logs_are_read_to_the_last_synced_line() {
    let records = read_records("1 1000000\n2 2000000\n3 30").expect("a good log");
    let line = |number| Acknowledged { number, at: at(number) };
    assert_eq!(records, [line(1), line(2)]);
    assert_eq!(read_records(""), Ok(Vec::new()));
    for torn in ["1\n", "x 1\n", "1 x\n", "1 1000\n\n2 2000\n"] {
        assert!(matches!(read_records(torn), Err(Violation::BadLog(_))), "{torn:?}");
    }
    let calls = read_calls("1000000 2000000 a b\n3000000 4").expect("a good log");
    assert_eq!(calls, [call("a b", 1, 2)]);
    assert!(matches!(read_calls("1000000 a\n"), Err(Violation::BadLog(_))));
}
