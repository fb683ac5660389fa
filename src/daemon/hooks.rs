//! The hooks: told in order, one after the other, on a thread of their own. Nothing waits for them.

pub mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::backlog::Backlog;
use super::status::ms;
use super::telling::View;
use crate::adapters::alert::rfc3339;
use crate::adapters::clock;
use crate::adapters::hook::{self, Ran};
use crate::config::{Config, Hook, HookEvent};
use crate::protocol::identity::NodeId;
use crate::protocol::time::Instant;

/// So many events may wait for a hook that runs long.
const WAITING: usize = 32;

/// The hooks, and what they were told.
pub struct Hooks {
    about: About,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What every hook is told alike.
struct About {
    pair: String,
    node: String,
    peer: String,
    addresses: String,
    /// This node, and the preferred one.
    preferred: Option<(NodeId, NodeId)>,
}

/// What the thread and the daemon share.
struct Desk {
    hooks: Mutex<Vec<Hook>>,
    queue: Backlog<Occasion>,
    reports: Mutex<Reports>,
}

/// Something that hooks are told of.
struct Occasion {
    event: HookEvent,
    variables: Vec<(String, String)>,
}

#[derive(Default)]
struct Reports {
    running: Option<(String, HookEvent, Instant)>,
    last: BTreeMap<String, Report>,
    /// Of all hooks together, since the start; the newest ones.
    failures: Failures,
}

struct Report {
    event: HookEvent,
    at: Instant,
    wall: SystemTime,
    ran: Ran,
    failures: u64,
}

/// Hooks that failed, for the alerts.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// How many since the start.
    pub count: u64,
    /// The newest, in one sentence.
    pub newest: String,
    /// How many events could not wait any longer.
    pub dropped: u64,
}

impl Hooks {
    /// As configured; nothing runs yet.
    pub fn new(config: &Config) -> Hooks {
        let desk = Desk {
            hooks: Mutex::new(config.hooks.clone()),
            queue: Backlog::new(WAITING),
            reports: Mutex::default(),
        };
        Hooks { about: About::new(config), desk: Arc::new(desk), thread: None }
    }

    /// The next event goes to these.
    pub fn reload(&mut self, config: &Config) {
        self.about = About::new(config);
        self.desk.hooks().clone_from(&config.hooks);
        let names: Vec<&str> = config.hooks.iter().map(|hook| hook.name.as_str()).collect();
        self.desk.reports().last.retain(|name, _| names.contains(&name.as_str()));
    }

    /// This node, and the preferred one.
    pub fn preferred(&self) -> Option<(NodeId, NodeId)> {
        self.about.preferred
    }

    /// Tells every hook that wants to know, soon and in order.
    pub fn tell(&mut self, event: HookEvent, view: &View<'_>) {
        let wanted = self.desk.hooks().iter().any(|hook| hook.on.contains(&event));
        if !wanted || self.desk.queue.is_closed() {
            return;
        }
        let occasion = Occasion { event, variables: self.about.variables(event, view) };
        if let Some(gone) = self.desk.queue.push(occasion) {
            let (_, dropped) = self.desk.queue.counts();
            tracing::error!(
                "hooks: {} was not told: {WAITING} events wait for a hook that runs ({dropped} lost)",
                gone.event.word()
            );
        }
        if self.thread.is_none() {
            self.thread = begin(&self.desk);
        }
    }

    /// What failed so far.
    pub fn failures(&self) -> Failures {
        let (_, dropped) = self.desk.queue.counts();
        Failures { dropped, ..self.desk.reports().failures.clone() }
    }

    /// What waits is still told, and nothing more.
    pub fn end(&mut self) -> Option<JoinHandle<()>> {
        self.desk.queue.close();
        self.thread.take()
    }

    /// For `status`.
    pub fn data(&self) -> Value {
        let now = clock::now();
        let hooks = self.desk.hooks();
        let reports = self.desk.reports();
        let (waiting, lost) = self.desk.queue.counts();
        let running = reports.running.as_ref();
        let hook = |hook: &Hook| {
            let report = reports.last.get(&hook.name);
            let runs = running.filter(|(name, _, _)| *name == hook.name);
            json!({
                "name": hook.name,
                "on": hook.on.iter().map(|event| event.word()).collect::<Vec<_>>(),
                "user": hook.user,
                "running": runs.map(|(_, event, _)| event.word()),
                "running_ms": runs.map(|(_, _, since)| ms(now, *since)),
                "failures": report.map_or(0, |report| report.failures),
                "last": report.map(|report| json!({
                    "event": report.event.word(),
                    "at": rfc3339(report.wall),
                    "ago_ms": ms(now, report.at),
                    "took_ms": u64::try_from(report.ran.took.as_millis()).unwrap_or(u64::MAX),
                    "good": report.ran.result.is_good(),
                    "result": report.ran.result.to_string(),
                    "output": report.ran.output,
                })),
            })
        };
        json!({
            "list": hooks.iter().map(hook).collect::<Vec<_>>(),
            "waiting": waiting,
            "lost": lost,
        })
    }
}

impl About {
    fn new(config: &Config) -> About {
        let addresses = config.floating.addresses.iter();
        let addresses = addresses.map(|(address, prefix)| format!("{address}/{prefix}"));
        About {
            pair: config.pair.clone(),
            node: config.name().to_owned(),
            peer: config.peer_name().to_owned(),
            addresses: addresses.collect::<Vec<_>>().join(" "),
            preferred: config.policy.preferred.map(|preferred| (config.me, preferred)),
        }
    }

    /// What a hook finds in its environment.
    fn variables(&self, event: HookEvent, view: &View<'_>) -> Vec<(String, String)> {
        let status = view.status;
        let of_change = matches!(
            event,
            HookEvent::BeforeTakeover | HookEvent::AfterTakeover | HookEvent::BeforeStandby
        );
        let change = view.change.filter(|_| of_change);
        let reason = match (event, change, view.maintenance) {
            (HookEvent::Maintenance, _, Some(running)) => running.to_string(),
            (HookEvent::Maintenance, _, None) => "the maintenance is over".to_owned(),
            (HookEvent::Failback, _, _) => "the role is back at the preferred node".to_owned(),
            (_, Some(change), _) => change.reason.clone(),
            (_, None, _) => status.why.to_string(),
        };
        let outage = change
            .filter(|_| event == HookEvent::AfterTakeover)
            .and_then(|change| change.outage())
            .map(|outage| outage.as_millis().to_string());
        let term = status.claim.unwrap_or(status.durable.term);
        let own = [
            ("DUOTONE_EVENT", Some(event.word().to_owned())),
            ("DUOTONE_PAIR", Some(self.pair.clone())),
            ("DUOTONE_NODE", Some(self.node.clone())),
            ("DUOTONE_PEER", Some(self.peer.clone())),
            ("DUOTONE_ADDRESSES", Some(self.addresses.clone())),
            ("DUOTONE_TERM", Some(term.to_string())),
            ("DUOTONE_SERVED_TERM", Some(status.durable.served.to_string())),
            ("DUOTONE_REASON", Some(reason)),
            ("DUOTONE_ORDER", change.and_then(|change| change.order.clone())),
            ("DUOTONE_OUTAGE_MS", outage),
            (
                "DUOTONE_MAINTENANCE",
                (event == HookEvent::Maintenance)
                    .then(|| if view.maintenance.is_some() { "on" } else { "off" }.to_owned()),
            ),
        ];
        // execve(2) takes no NUL; a reason that a person gave could hold one.
        let known = |(name, value): (&str, Option<String>)| {
            Some((name.to_owned(), value?.replace('\0', " ")))
        };
        own.into_iter().filter_map(known).collect()
    }
}

impl Desk {
    fn hooks(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One event after the other, and of each one hook after the other.
    async fn run(&self) {
        while let Some(Occasion { event, variables }) = self.queue.next().await {
            let wanting = |hook: &&Hook| hook.on.contains(&event);
            let hooks: Vec<Hook> = self.hooks().iter().filter(wanting).cloned().collect();
            for hook in hooks {
                self.reports().running = Some((hook.name.clone(), event, clock::now()));
                let ran = hook::run(&hook, &variables).await;
                self.note(&hook, event, ran);
            }
        }
    }

    fn note(&self, hook: &Hook, event: HookEvent, ran: Ran) {
        let (name, word, result) = (&hook.name, event.word(), &ran.result);
        let took = ran.took.as_millis();
        let good = result.is_good();
        if good {
            tracing::info!("hook {name}: {word}: done in {took} ms");
        } else {
            tracing::error!("hook {name}: {word}: {result} ({took} ms)");
            for line in &ran.output {
                tracing::error!("hook {name}: {word}: it said: {line}");
            }
        }
        let mut reports = self.reports();
        reports.running = None;
        if !good {
            let said = ran.output.first().map_or(String::new(), |line| format!(": {line}"));
            reports.failures.count += 1;
            reports.failures.newest = format!("hook {name} failed at {word}: {result}{said}");
        }
        let before = reports.last.get(name).map_or(0, |report| report.failures);
        let failures = before + u64::from(!good);
        let (at, wall) = (clock::now(), SystemTime::now());
        reports.last.insert(name.clone(), Report { event, at, wall, ran, failures });
    }
}

/// Runs one hook now, without a daemon, and tells what came of it.
///
/// # Errors
/// The system gives no runtime to run it with.
pub fn by_hand(hook: &Hook, variables: &[(String, String)]) -> std::io::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ran = runtime.block_on(hook::run(hook, variables));
    Ok(json!({
        "hook": hook.name,
        "good": ran.result.is_good(),
        "result": ran.result.to_string(),
        "took_ms": u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX),
        "output": ran.output,
    }))
}

fn begin(desk: &Arc<Desk>) -> Option<JoinHandle<()>> {
    let desk = Arc::clone(desk);
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(desk.run()),
            Err(error) => tracing::error!("no runtime for hooks: {error}"),
        }
    };
    let started = std::thread::Builder::new().name("hooks".into()).spawn(run);
    started.map_err(|error| tracing::error!("no thread for hooks: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant as Moment};

    use super::*;
    use crate::adapters::hook::Ending;

    fn hook(name: &str, line: &str) -> Hook {
        Hook {
            name: name.into(),
            on: vec![HookEvent::BeforeTakeover, HookEvent::AfterTakeover],
            command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(60),
            // Whoever runs the tests: a hook of the same user needs no rights.
            user: nix::unistd::User::from_uid(nix::unistd::geteuid())
                .expect("the user database")
                .expect("this user")
                .name,
            capabilities: Vec::new(),
            environment: Vec::new(),
        }
    }

    fn occasion(event: HookEvent, number: usize) -> Occasion {
        let variables = vec![("NUMBER".to_owned(), number.to_string())];
        Occasion { event, variables }
    }

    fn desk(hooks: Vec<Hook>) -> Desk {
        Desk { hooks: Mutex::new(hooks), queue: Backlog::new(3), reports: Mutex::default() }
    }

    #[tokio::test]
    async fn events_and_hooks_keep_their_order_and_the_oldest_event_is_lost() {
        let file = std::env::temp_dir().join(format!("dthookorder{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let line = |name: &str, first: &str| {
            let file = file.display();
            hook(name, &format!("{first}echo {name} $NUMBER >> {file}"))
        };
        let desk =
            desk(vec![line("slow", "sleep 0.2; "), line("quick", ""), hook("bad", "exit 4")]);
        for number in 0..5 {
            desk.queue.push(occasion(HookEvent::AfterTakeover, number));
        }
        desk.queue.close();
        desk.run().await;
        let told = std::fs::read_to_string(&file).expect("they ran");
        let _ = std::fs::remove_file(&file);
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(told, ["slow 2", "quick 2", "slow 3", "quick 3", "slow 4", "quick 4"]);
        assert_eq!(desk.queue.counts(), (0, 2));
        let reports = desk.reports();
        assert_eq!(reports.failures.count, 3);
        assert_eq!(
            reports.failures.newest,
            "hook bad failed at after-takeover: exited with code 4"
        );
        assert!(reports.last["slow"].ran.result.is_good() && reports.running.is_none());
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_and_the_next_one_is_told() {
        let mut hangs = hook("hangs", "trap '' TERM; echo waiting; sleep 1000");
        hangs.timeout = Duration::from_millis(500);
        let desk = desk(vec![hangs, hook("next", "echo told")]);
        desk.queue.push(occasion(HookEvent::BeforeTakeover, 0));
        desk.queue.close();
        let begun = Moment::now();
        desk.run().await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        let reports = desk.reports();
        assert!(matches!(reports.last["hangs"].ran.result, Ending::TimedOut(_)));
        assert_eq!(reports.last["hangs"].ran.output, ["waiting"]);
        assert_eq!(reports.last["next"].ran.output, ["told"]);
    }
}
