//! What people read: the first line answers who serves, whether the standby is good, what to do.

use duotone::cli::render::{explain, status};
use serde_json::{Value, json};

fn first(data: &Value) -> String {
    status(data).lines().next().unwrap_or_default().to_owned()
}

fn active() -> Value {
    json!({
        "pair": "office", "node": "pbx-a", "peer": "pbx-b", "role": "active", "serving": true,
        "durability": "available", "database": {"state": "writable"}, "advice": null,
        "certificate": {"held": false, "remaining_ms": null, "certifying": true},
        "peer_seen": {"liveness": "alive", "two_way": true, "role": "standby", "last_heard_ms": 12},
    })
}

fn standby() -> Value {
    json!({
        "node": "pbx-b", "peer": "pbx-a", "role": "standby", "serving": false,
        "durability": "available", "database": {"state": "standby"},
        "certificate": {"held": true, "remaining_ms": 3100, "certifying": false},
        "peer_seen": {"liveness": "alive", "two_way": true, "role": "active", "last_heard_ms": 12},
    })
}

fn with(mut data: Value, pointer: &str, value: Value) -> Value {
    *data.pointer_mut(pointer).expect(pointer) = value;
    data
}

#[test]
fn the_first_line_answers_three_questions() {
    for (data, wanted) in [
        (active(), "pbx-a (this host) serves; the standby pbx-b is good. Nothing to do."),
        (standby(), "pbx-a serves; pbx-b (this host) stands by and is good. Nothing to do."),
        (
            with(active(), "/peer_seen", json!({"liveness": "lost", "last_heard_ms": 12_300})),
            "pbx-a (this host) serves; pbx-b is NO GOOD standby: silent for 12.3 s. Nothing to do.",
        ),
        (
            with(active(), "/peer_seen", Value::Null),
            "pbx-a (this host) serves; pbx-b is NO GOOD standby: never heard. Nothing to do.",
        ),
        (
            with(active(), "/advice", json!("start pbx-b")),
            "pbx-a (this host) serves; the standby pbx-b is good. Do: start pbx-b",
        ),
    ] {
        assert_eq!(first(&data), wanted);
    }
}

#[test]
fn a_standby_that_could_not_take_over_is_never_called_good() {
    for data in [
        with(active(), "/certificate/certifying", json!(false)),
        with(active(), "/peer_seen/role", json!("joining")),
        with(active(), "/peer_seen/two_way", json!(false)),
        with(active(), "/peer_seen/liveness", json!("late")),
        with(standby(), "/certificate/held", json!(false)),
        with(standby(), "/peer_seen/two_way", json!(false)),
    ] {
        let line = first(&data);
        assert!(line.contains("NO GOOD") && !line.contains("is good"), "{line}");
    }
    // Without waiting commits there is no certificate to hold.
    let data = with(
        with(active(), "/certificate/certifying", json!(false)),
        "/durability",
        json!("async"),
    );
    assert!(first(&data).contains("is good"));
}

#[test]
fn nobody_serving_is_said_loudly() {
    let lost = with(standby(), "/peer_seen/liveness", json!("lost"));
    assert!(first(&lost).starts_with("pbx-a is not known to serve; "), "{}", first(&lost));
    let held = with(lost, "/role", json!("held"));
    assert!(first(&held).starts_with("NOBODY is known to serve; pbx-b (this host) is HELD"));
    let joining = with(standby(), "/role", json!("joining"));
    assert!(first(&joining).starts_with("pbx-a serves; pbx-b (this host) is joining"));
}

#[test]
fn every_part_of_the_status_is_shown_and_none_is_needed() {
    assert!(first(&json!({})).contains("does not say what it is"));
    assert!(first(&json!([1, "x"])).contains("does not say what it is"));
    let mut data = active();
    let more = json!({
        "term": "5a", "doing": "normal", "since_ms": 7_500_000, "why": "the peer follows",
        "links": [
            {"name": "eth1", "kind": "udp", "interface": "eth1", "received": 10, "refused": 2,
             "last_heard_ms": 9, "two_way": true},
            {"name": "eth0", "kind": "ethernet", "received": 0, "refused": {"tag": 3, "replay": 0},
             "two_way": false}],
        "lease_ms": 180,
        "services": [{"name": "kamailio", "state": "running", "critical": true, "pid": 77,
                      "restarts": 1, "probe": "good"}],
        "addresses": {"state": "held", "list": ["192.0.2.10/24"]},
        "timeline": [{"at_ns": 5_000_000_000u64, "what": "last-heartbeat", "text": ""},
                     {"at_ns": 5_250_000_000u64, "what": "lost", "text": "pbx-b\u{1b}[31m silent"}],
    });
    let (Value::Object(data_fields), Value::Object(more)) = (&mut data, more) else { panic!() };
    data_fields.extend(more);
    let page = status(&data);
    for wanted in [
        "office, term 5a, durability available",
        "normal, for 2 h 5 min, the peer follows",
        "received 10, refused 2, heard 9 ms ago, two-way",
        "refused tag 3, ONE-WAY",
        "lease 180 ms, certifying the standby",
        "running, critical, pid 77, restarted 1 times, probe good",
        "held, 192.0.2.10/24",
        "      0.0  last-heartbeat",
        "    250.0  lost            pbx-b [31m silent",
    ] {
        assert!(page.contains(wanted), "{wanted}\nin {page}");
    }
    assert!(!page.contains('\u{1b}'), "no control character reaches the terminal");
}

#[test]
fn who_is_asked_over_the_network_is_shown_with_the_answer() {
    let asked = |name: &str, grade: &str, answer: Value| {
        json!({"name": name, "asks": "sip-tcp 192.0.2.10:5060", "grade": grade, "answer": answer,
            "asked_ms": 312, "warning": null})
    };
    let mut data = standby();
    data["remote_checks"] = json!({"asking": true, "trigger": "any", "grade": "failed",
        "checks": [asked("x", "failed", json!("refused")), asked("y", "unknown", Value::Null)]});
    data["gateways"] = json!([asked("itsp", "good", json!("answered after 0.6 ms"))]);
    data["gateways"][0]["warning"] = json!("NOT ON THE LAN");
    let page = status(&data);
    for wanted in [
        "remote check       sip-tcp 192.0.2.10:5060, FAILED, refused, 312 ms ago\n",
        "remote check       sip-tcp 192.0.2.10:5060, unknown, 312 ms ago\n",
        "gateway itsp       sip-tcp 192.0.2.10:5060, good, answered after 0.6 ms, 312 ms ago, NOT ON",
    ] {
        assert!(page.contains(wanted), "{wanted}\nin {page}");
    }
    data["remote_checks"] = json!({"asking": false, "checks": []});
    assert!(status(&data).contains("remote checks      not asking: only a standby does"));
    data["remote_checks"] = Value::Null;
    assert!(!status(&data).contains("remote check"));
}

#[test]
fn explain_lists_evidence_and_consequence() {
    let page = explain(&json!({"peer": "pbx-b", "evidence": ["lease runs for 180 ms"],
        "if_peer_died": ["ask the LAN", "go lone after 3 s"], "blocking": []}));
    let wanted = "evidence:\n  lease runs for 180 ms\n\nif pbx-b died now:\n  ask the LAN\n  go \
     lone after 3 s\n";
    assert_eq!(page, wanted);
    assert_eq!(explain(&json!(null)), "the daemon has no evidence yet\n");
}
