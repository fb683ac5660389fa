//! The daemon's answers for people. Every field may be missing: what is there is shown.

use std::fmt::Write;

use serde_json::Value;

use super::draw;

mod arbiters;
mod outside;
mod telling;

/// `status`: the first line says who serves, whether the standby is good, and what to do.
pub fn status(data: &Value) -> String {
    let mut page = Page { text: format!("{}\n", headline(data)) };
    let term = text(data, "term").map(|term| format!("term {term}"));
    let durability = text(data, "durability").map(|word| format!("durability {word}"));
    let alone = flag(data, "alone").filter(|alone| *alone).map(|_| "alone".to_owned());
    page.row("pair", [text(data, "pair"), term, durability, alone]);
    let since = number(data, "since_ms").map(|ms| format!("for {}", span(ms)));
    page.row("doing", [text(data, "doing"), since, text(data, "why")]);
    if let Some(maintenance) = data.get("maintenance").filter(|is| !is.is_null()) {
        page.row(
            "maintenance",
            [
                text(maintenance, "until").map(|until| format!("until {until}")),
                number(maintenance, "remaining_ms").map(|ms| format!("{} left", span(ms))),
                text(maintenance, "reason"),
            ],
        );
    }
    peer(&mut page, data);
    for link in list(data, "links") {
        let name = text(link, "name").or_else(|| text(link, "interface")).unwrap_or_default();
        page.row(
            &format!("link {name}"),
            [
                text(link, "kind"),
                text(link, "interface").filter(|interface| *interface != name),
                text(link, "received").map(|count| format!("received {count}")),
                refused(link),
                number(link, "last_heard_ms").map(|ms| format!("heard {} ago", span(ms))),
                two_way(link),
            ],
        );
    }
    let certificate = data.get("certificate").unwrap_or(&Value::Null);
    page.row(
        "promises",
        [
            number(data, "lease_ms").map(|ms| format!("lease {}", span(ms))),
            flag(certificate, "certifying")
                .filter(|is| *is)
                .map(|_| "certifying the standby".to_owned()),
            flag(certificate, "held").filter(|is| *is).map(|_| {
                match number(certificate, "remaining_ms") {
                    Some(ms) => format!("certificate held, {} left", span(ms)),
                    None => "certificate held".to_owned(),
                }
            }),
        ],
    );
    arbiters::witness(&mut page, data);
    arbiters::fence(&mut page, data);
    database(&mut page, data);
    for service in list(data, "services") {
        let name = text(service, "name").unwrap_or_default();
        page.row(
            &format!("service {name}"),
            [
                text(service, "state"),
                flag(service, "critical").filter(|is| *is).map(|_| "critical".to_owned()),
                text(service, "pid").map(|pid| format!("pid {pid}")),
                text(service, "restarts")
                    .filter(|n| n != "0")
                    .map(|n| format!("restarted {n} times")),
                text(service, "probe").map(|probe| format!("probe {probe}")),
            ],
        );
    }
    outside::remote_checks(&mut page, data);
    outside::gateways(&mut page, data);
    telling::hooks(&mut page, data);
    telling::alerts(&mut page, data);
    if let Some(addresses) = data.get("addresses") {
        let all = list(addresses, "list").iter().map(shown).collect::<Vec<_>>().join(", ");
        page.row("addresses", [text(addresses, "state"), Some(all).filter(|all| !all.is_empty())]);
    }
    offers(&mut page, data);
    timeline(&mut page, data);
    page.text
}

/// `explain`: the evidence, and what it would lead to.
pub fn explain(data: &Value) -> String {
    let peer = text(data, "peer").unwrap_or_else(|| "the peer".to_owned());
    let mut page = String::new();
    for (title, key) in [
        ("evidence:".to_owned(), "evidence"),
        (format!("if {peer} died now:"), "if_peer_died"),
        ("in the way of that:".to_owned(), "blocking"),
    ] {
        let lines = list(data, key);
        if !lines.is_empty() {
            let blank = if page.is_empty() { "" } else { "\n" };
            let _ = writeln!(page, "{blank}{title}");
            for line in lines {
                let _ = writeln!(page, "  {}", shown(line));
            }
        }
    }
    let offers = list(data, "offers");
    if !offers.is_empty() {
        page.push_str("\nyou may order:\n");
        for offer in offers {
            let (command, does) = (text(offer, "command"), text(offer, "does"));
            let parts: Vec<String> = [command, does].into_iter().flatten().collect();
            let _ = writeln!(page, "  {}", parts.join(": "));
        }
    }
    if page.is_empty() { "the daemon has no evidence yet\n".to_owned() } else { page }
}

fn headline(data: &Value) -> String {
    let node = text(data, "node").unwrap_or_else(|| "this node".to_owned());
    let peer = text(data, "peer").unwrap_or_else(|| "the peer".to_owned());
    let seen = data.get("peer_seen").unwrap_or(&Value::Null);
    let alive = text(seen, "liveness").as_deref() != Some("lost") && !seen.is_null();
    let peer_serves = alive && text(seen, "role").as_deref() == Some("active");
    let why = || text(data, "why").map_or(String::new(), |why| format!(" ({why})"));
    let who = match text(data, "role").as_deref() {
        Some("active") if flag(data, "serving") == Some(false) => {
            format!("{node} has the role and does not serve yet; {}", standby_of(data, &peer))
        }
        Some("active") => format!("{node} (this host) serves; {}", standby_of(data, &peer)),
        Some("standby") if peer_serves => match unfit(data) {
            None => format!("{peer} serves; {node} (this host) stands by and is good"),
            Some(fault) => format!("{peer} serves; {node} (this host) is NO GOOD standby: {fault}"),
        },
        Some("standby") => {
            format!("{peer} is not known to serve; {node} (this host) stands by{}", why())
        }
        Some("joining") if peer_serves => {
            format!("{peer} serves; {node} (this host) is joining{}", why())
        }
        Some("joining") => {
            format!("NOBODY is known to serve; {node} (this host) is joining{}", why())
        }
        Some("held") if data.get("maintenance").is_some_and(|is| !is.is_null()) => {
            let serves = if peer_serves {
                format!("{peer} serves")
            } else {
                "NOBODY is known to serve".to_owned()
            };
            format!("{serves}; {node} (this host) is in MAINTENANCE")
        }
        Some("held") if peer_serves => {
            format!("{peer} serves; {node} (this host) is HELD{}", why())
        }
        Some("held") => format!("NOBODY is known to serve; {node} (this host) is HELD{}", why()),
        Some(other) => format!("{node} (this host) is {other}{}", why()),
        None => format!("{node} (this host) does not say what it is"),
    };
    match text(data, "advice") {
        Some(advice) => format!("{who}. Do: {advice}"),
        None => format!("{who}. Nothing to do."),
    }
}

/// What the active node can say of its standby.
fn standby_of(data: &Value, peer: &str) -> String {
    match unfit_peer(data) {
        None => format!("the standby {peer} is good"),
        Some(fault) => format!("{peer} is NO GOOD standby: {fault}"),
    }
}

fn unfit_peer(data: &Value) -> Option<String> {
    let seen = data.get("peer_seen").unwrap_or(&Value::Null);
    if let Some(fault) = unheard(seen) {
        return Some(fault);
    }
    if flag(seen, "same_database") == Some(false) {
        return Some("its database is of another cluster".to_owned());
    }
    if flag(seen, "maintenance") == Some(true) {
        return Some("it is in maintenance".to_owned());
    }
    match text(seen, "role") {
        Some(role) if role != "standby" => return Some(format!("it is {role}")),
        Some(_) | None => {}
    }
    let waits = text(data, "durability").as_deref() != Some("async");
    let database = data.get("database").is_some_and(|database| !database.is_null());
    let certifying = data.get("certificate").and_then(|held| flag(held, "certifying"));
    (waits && database && certifying == Some(false))
        .then(|| "its database is not in sync".to_owned())
}

/// What a standby can say of itself.
fn unfit(data: &Value) -> Option<String> {
    let seen = data.get("peer_seen").unwrap_or(&Value::Null);
    if let Some(fault) = unheard(seen) {
        return Some(format!("the peer: {fault}"));
    }
    if flag(seen, "same_database") == Some(false) {
        return Some("its database is of another cluster than the peer's".to_owned());
    }
    if let Some(missing) = text(data, "arbiter_missing") {
        return Some(missing);
    }
    let waits = text(data, "durability").as_deref() != Some("async");
    let database = data.get("database").is_some_and(|database| !database.is_null());
    let held = data.get("certificate").and_then(|certificate| flag(certificate, "held"));
    (waits && database && held == Some(false)).then(|| "it holds no in-sync certificate".to_owned())
}

fn unheard(seen: &Value) -> Option<String> {
    let silence =
        number(seen, "last_heard_ms").map_or(String::new(), |ms| format!(" for {}", span(ms)));
    match text(seen, "liveness").as_deref() {
        Some("lost") => Some(format!("silent{silence}")),
        Some("late") => Some(format!("late, nothing heard{silence}")),
        None => Some("never heard".to_owned()),
        Some(_) if flag(seen, "two_way") == Some(false) => {
            Some("heard one way only: it does not hear this host".to_owned())
        }
        Some(_) => None,
    }
}

fn peer(page: &mut Page, data: &Value) {
    let Some(seen) = data.get("peer_seen").filter(|seen| !seen.is_null()) else { return };
    let lost = text(seen, "liveness").as_deref() == Some("lost");
    page.row(
        "peer",
        [
            text(data, "peer"),
            text(seen, "liveness"),
            // Of a silent peer it is known what it was.
            two_way(seen).filter(|_| !lost),
            text(seen, "role").map(|role| if lost { format!("was {role}") } else { role }),
            number(seen, "last_heard_ms").map(|ms| format!("heard {} ago", span(ms))),
            text(seen, "software").map(|version| format!("version {version}")),
            flag(seen, "same_configuration").map(|same| match same {
                true => "same configuration".to_owned(),
                false => "ANOTHER CONFIGURATION".to_owned(),
            }),
        ],
    );
}

fn database(page: &mut Page, data: &Value) {
    let Some(database) = data.get("database").filter(|database| !database.is_null()) else {
        return;
    };
    let named = |key: &str| text(database, key).map(|value| format!("{key} {value}"));
    let is = |key: &str, yes: &str, no: &str| {
        flag(database, key).map(|value| if value { yes } else { no }.to_owned())
    };
    let state = text(database, "state");
    page.row(
        "database",
        [
            state.clone(),
            // Each says something of one of the two only.
            is("synchronous", "commits wait for the standby", "commits do not wait")
                .filter(|_| state.as_deref() != Some("standby")),
            is("streaming", "streaming", "not streaming")
                .filter(|_| state.as_deref() != Some("writable")),
            named("timeline"),
            named("position"),
            database.get("replica").filter(|replica| !replica.is_null()).map(
                |replica| match replica {
                    Value::Object(fields) => {
                        let fields: Vec<String> = fields
                            .iter()
                            .map(|(key, value)| format!("{key} {}", shown(value)))
                            .collect();
                        format!("replica: {}", fields.join(" "))
                    }
                    other => format!("replica {}", shown(other)),
                },
            ),
        ],
    );
    let long = text(database, "rejoin").filter(|_| database["rejoin"].is_string());
    page.row("coming back", [long]);
    let trouble = text(database, "trouble").filter(|_| database["trouble"].is_string());
    page.row("database says", [trouble]);
}

/// The orders that are legal now.
fn offers(page: &mut Page, data: &Value) {
    for offer in list(data, "offers") {
        page.row(
            "you may order",
            [text(offer, "command").map(|command| {
                let does = text(offer, "does").map_or(String::new(), |does| format!(": {does}"));
                format!("{command}{does}")
            })],
        );
    }
}

/// Each step of the last change of role, in milliseconds from its first line.
fn timeline(page: &mut Page, data: &Value) {
    let steps = list(data, "timeline");
    let Some(start) = steps.iter().find_map(|step| number(step, "at_ns")) else { return };
    page.text.push_str("\nlast change of role, ms:\n");
    for step in steps {
        let Some(at) = number(step, "at_ns") else { continue };
        let what = text(step, "what").unwrap_or_default();
        let more = text(step, "text").unwrap_or_default();
        page.text.push_str(&draw::line((at - start) / 1e6, &what, &more, None));
    }
}

struct Page {
    text: String,
}

impl Page {
    /// A titled line of what is known; nothing known, no line.
    fn row<const N: usize>(&mut self, title: &str, parts: [Option<String>; N]) {
        let known: Vec<String> = parts.into_iter().flatten().collect();
        if !known.is_empty() {
            let _ = writeln!(self.text, "  {title:<18} {}", known.join(", "));
        }
    }
}

fn two_way(seen: &Value) -> Option<String> {
    if text(seen, "direction").as_deref() == Some("silent") {
        return Some("SILENT".to_owned());
    }
    flag(seen, "two_way").map(|both| if both { "two-way" } else { "ONE-WAY" }.to_owned())
}

fn refused(link: &Value) -> Option<String> {
    match link.get("refused")? {
        // By reason, or one number.
        Value::Object(reasons) => {
            let some: Vec<String> = reasons
                .iter()
                .filter(|(_, count)| count.as_u64() != Some(0))
                .map(|(reason, count)| format!("{reason} {}", shown(count)))
                .collect();
            (!some.is_empty()).then(|| format!("refused {}", some.join(" ")))
        }
        count => Some(format!("refused {}", shown(count))).filter(|text| text != "refused 0"),
    }
}

pub(super) fn list<'d>(data: &'d Value, key: &str) -> &'d [Value] {
    data.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn flag(data: &Value, key: &str) -> Option<bool> {
    data.get(key)?.as_bool()
}

pub(super) fn number(data: &Value, key: &str) -> Option<f64> {
    data.get(key)?.as_f64()
}

/// A field as text; empty and null are missing.
pub(super) fn text(data: &Value, key: &str) -> Option<String> {
    data.get(key).filter(|value| !value.is_null()).map(shown).filter(|text| !text.is_empty())
}

/// Without control characters: some of it came over the network and goes to a terminal.
pub(super) fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.replace(char::is_control, " ")
}

/// A duration for people: `12 ms`, `3.4 s`, `5 min`, `2 h 5 min`.
pub(super) fn span(ms: f64) -> String {
    let minutes = (ms / 60_000.0) as u64;
    match ms {
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1000.0),
        _ if minutes < 120 => format!("{minutes} min"),
        _ if minutes < 48 * 60 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} days", minutes / (24 * 60)),
    }
}
