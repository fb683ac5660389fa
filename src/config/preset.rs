//! The presets, and the formulas that derive every other time from the basic ones.
//!
//! A preset fixes the basic times only. Whatever can be derived is derived here, as small as the
//! inequalities of [`Timing::violations`] allow plus a margin of one tenth, so that changing one
//! basic time (`lost_after` above all) moves the rest along.

use std::time::Duration;

use crate::protocol::arbiter::Arbitration;
use crate::protocol::timing::Timing;

/// A named set of basic times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preset {
    /// Sub-second takeover on ordinary hosts; the default.
    Voice,
    /// As short as the inequalities honestly allow with the real-time pulse; quiet hosts only.
    Fast,
    /// Takeover in about a second, on hosts that share their processors: virtual machines.
    Virtual,
    /// Heartbeats every second, lost after ten.
    Seconds,
    /// Checks every 30 seconds.
    Thirty,
    /// Heartbeats every minute over slow paths (30 s to connect).
    Group,
}

/// The times that a preset fixes and a file may replace; the symbols are those of [`Timing`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Basic {
    /// Between two heartbeats (I).
    pub interval: Duration,
    /// Worst one-way delay plus lateness of the pulse (D).
    pub delay: Duration,
    /// Silence that may move the role.
    pub lost_after: Duration,
    /// Bound on how far a clock runs from true time (ρ).
    pub drift_ppm: u32,
    /// From the decision to the addresses gone and acknowledging stopped (R).
    pub release: Duration,
    /// Worst round trip to an arbiter, one retry included (A).
    pub arbiter: Duration,
    /// Between two LAN probes.
    pub probe_interval: Duration,
    /// Unanswered probes that make a silent window.
    pub probes: u32,
    /// How long a reference's answer counts just after the lease (V1).
    pub short_validity: Duration,
    /// How long it counts later (V2).
    pub long_validity: Duration,
    /// Kernel lifetime of a floating address, whole seconds.
    pub address_lifetime: Duration,
    /// Replication without progress for this long is broken.
    pub replication_stall: Duration,
    /// A step that takes longer is given up.
    pub step_deadline: Duration,
    /// How long critical services may be down before the health falls.
    pub critical_down: Duration,
}

/// Derived times that the file gives itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// Silence that warns and prepares.
    pub late_after: Option<Duration>,
    /// Silence needed by a node that has just started (S).
    pub start_grace: Option<Duration>,
    /// Short silent window (W1).
    pub short_window: Option<Duration>,
    /// Long silent window (W2).
    pub long_window: Option<Duration>,
    /// Deadline of the first attempt (Q).
    pub first_attempt: Option<Duration>,
    /// How long the short validity is used (Q′).
    pub short_validity_for: Option<Duration>,
    /// Longest time that `lan` may need to consent (K).
    pub lan_window: Option<Duration>,
    /// Life of a certificate (C).
    pub certificate: Option<Duration>,
    /// How long a witness's grant lasts (G).
    pub grant: Option<Duration>,
    /// Between two renewals of the grant.
    pub grant_renewal: Option<Duration>,
    /// Longest run of the fence (F).
    pub fence: Option<Duration>,
    /// How much later a standby orders the fence.
    pub fence_delay: Option<Duration>,
}

/// A management controller that takes its time to answer twice: off, and status.
const FENCE: Duration = Duration::from_secs(20);

impl Preset {
    /// Every preset with the name that the file uses.
    pub const ALL: [(&'static str, Preset); 6] = [
        ("voice", Preset::Voice),
        ("fast", Preset::Fast),
        ("virtual", Preset::Virtual),
        ("seconds", Preset::Seconds),
        ("thirty", Preset::Thirty),
        ("group", Preset::Group),
    ];

    /// Its basic times.
    pub const fn basic(self) -> Basic {
        match self {
            Preset::Voice => VOICE,
            Preset::Fast => FAST,
            Preset::Virtual => VIRTUAL,
            Preset::Seconds => SECONDS,
            Preset::Thirty => THIRTY,
            Preset::Group => GROUP,
        }
    }

    /// All its times, without a fence.
    pub fn timing(self) -> Timing {
        resolve(&self.basic(), &Given::default(), Arbitration::LAN)
    }
}

/// Fills in every time that is not given.
pub fn resolve(basic: &Basic, given: &Given, arbitration: Arbitration) -> Timing {
    let mut timing = Timing {
        interval: basic.interval,
        delay: basic.delay,
        late_after: Duration::ZERO,
        lost_after: basic.lost_after,
        start_grace: Duration::ZERO,
        drift_ppm: basic.drift_ppm,
        release: basic.release,
        arbiter: basic.arbiter,
        probe_interval: basic.probe_interval,
        probes: basic.probes,
        short_window: Duration::ZERO,
        long_window: Duration::ZERO,
        short_validity: basic.short_validity,
        long_validity: basic.long_validity,
        first_attempt: Duration::ZERO,
        short_validity_for: Duration::ZERO,
        address_lifetime: basic.address_lifetime,
        lan_window: Duration::ZERO,
        certificate: Duration::ZERO,
        grant: Duration::ZERO,
        grant_renewal: Duration::ZERO,
        fence: given.fence.unwrap_or(FENCE),
        fence_delay: Duration::ZERO,
        replication_stall: basic.replication_stall,
        step_deadline: basic.step_deadline,
        critical_down: basic.critical_down,
    };
    let t = &mut timing;
    let round = t.round_trip();
    // No margin on late: it eats the time that the arbiter and the short window have before lost.
    t.late_after = given.late_after.unwrap_or(round + t.interval);
    t.start_grace =
        given.start_grace.unwrap_or_else(|| with_margin(t.stretched(t.lost_after) + round));
    let probing = t.probe_interval * t.probes.saturating_sub(1);
    let window = |t: &Timing, validity| with_margin(probing.max(t.stretched(validity) + t.release));
    t.short_window = given.short_window.unwrap_or_else(|| window(t, t.short_validity));
    t.long_window = given.long_window.unwrap_or_else(|| window(t, t.long_validity));
    t.first_attempt = given.first_attempt.unwrap_or_else(|| with_margin(t.short_window + round));
    t.short_validity_for = given.short_validity_for.unwrap_or_else(|| {
        let drift_of_lost = t.stretched(t.lost_after) - t.lost_after;
        with_margin(t.stretched(t.first_attempt) + drift_of_lost + t.release + t.delay + t.interval)
    });
    let lan = t.lifetime_worst() + t.long_window + t.arbiter;
    t.lan_window = given.lan_window.unwrap_or_else(|| with_margin(lan));
    t.fence_delay = given.fence_delay.unwrap_or_else(|| round_up(t.least_fence_delay()));
    // The window already has its margin; the certificate is also the longest stall of commits, so
    // that it is no longer than the arbitration needs.
    t.certificate = given.certificate.unwrap_or_else(|| {
        let alone = round_up(t.unshrunk(with_margin(round + t.lost_after) + t.lan_window));
        let fenced = round_up(t.unshrunk(with_margin(t.fenced_takeover())));
        if arbitration.fence { alone.max(fenced) } else { alone }
    });
    t.grant_renewal = given.grant_renewal.unwrap_or(t.arbiter);
    // Who is alone must outlive a hiccup as long as that with a living peer; nobody waits for the
    // grant of a host that dies while it hears its peer, because it has none then.
    let grant = t.grant_renewal + t.arbiter * 6 + t.release;
    t.grant = given.grant.unwrap_or_else(|| round_up(t.unshrunk(with_margin(grant))));
    timing
}

/// A tenth more, in whole tenths of a millisecond.
fn with_margin(span: Duration) -> Duration {
    round_up(span + span / 10)
}

fn round_up(span: Duration) -> Duration {
    let grain = 100_000u128;
    Duration::from_micros((span.as_nanos().div_ceil(grain) * grain / 1000) as u64)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// NTP daemons that slew at no more than 500 ppm, and a crystal, with room to spare.
const DRIFT_PPM: u32 = 1000;

const VOICE: Basic = Basic {
    interval: ms(50),
    delay: ms(10),
    lost_after: ms(250),
    drift_ppm: DRIFT_PPM,
    release: ms(20),
    arbiter: ms(40),
    probe_interval: ms(10),
    probes: 5,
    // Two lost answers and a late turn of the pulse still leave a valid one.
    short_validity: ms(40),
    long_validity: ms(400),
    address_lifetime: ms(2000),
    replication_stall: ms(2000),
    step_deadline: ms(10_000),
    critical_down: ms(5000),
};

const FAST: Basic = Basic {
    interval: ms(10),
    // Measured on a loaded two-core VM: the real-time thread is up to 3 ms late; the wire and the
    // peer's own lateness take the rest.
    delay: ms(7),
    // 44 ms until late, 20 ms for the arbiter, 9 ms to release, and 2 ms to spare.
    lost_after: ms(75),
    drift_ppm: DRIFT_PPM,
    release: ms(9),
    arbiter: ms(20),
    probe_interval: ms(4),
    probes: 5,
    short_validity: ms(16),
    long_validity: ms(300),
    address_lifetime: ms(2000),
    replication_stall: ms(1000),
    step_deadline: ms(10_000),
    critical_down: ms(5000),
};

const VIRTUAL: Basic = Basic {
    interval: ms(100),
    delay: ms(40),
    lost_after: ms(900),
    drift_ppm: DRIFT_PPM,
    release: ms(60),
    arbiter: ms(120),
    probe_interval: ms(30),
    probes: 5,
    short_validity: ms(120),
    long_validity: ms(1000),
    address_lifetime: ms(2000),
    replication_stall: ms(4000),
    step_deadline: ms(10_000),
    critical_down: ms(5000),
};

const SECONDS: Basic = Basic {
    interval: ms(1000),
    delay: ms(200),
    lost_after: ms(10_000),
    drift_ppm: DRIFT_PPM,
    release: ms(200),
    arbiter: ms(500),
    probe_interval: ms(200),
    probes: 5,
    short_validity: ms(1000),
    long_validity: ms(3000),
    address_lifetime: ms(2000),
    replication_stall: ms(10_000),
    step_deadline: ms(30_000),
    critical_down: ms(15_000),
};

const THIRTY: Basic = Basic {
    interval: ms(30_000),
    delay: ms(1000),
    // Three checks and the time to ask: nothing shorter lets a healthy node outlive its standby.
    lost_after: ms(100_000),
    drift_ppm: DRIFT_PPM,
    release: ms(1000),
    arbiter: ms(2000),
    probe_interval: ms(1000),
    probes: 4,
    short_validity: ms(3000),
    long_validity: ms(10_000),
    address_lifetime: ms(2000),
    replication_stall: ms(30_000),
    step_deadline: ms(60_000),
    critical_down: ms(90_000),
};

const GROUP: Basic = Basic {
    interval: ms(60_000),
    delay: ms(30_000),
    lost_after: ms(300_000),
    drift_ppm: DRIFT_PPM,
    release: ms(2000),
    arbiter: ms(5000),
    probe_interval: ms(1000),
    probes: 5,
    short_validity: ms(5000),
    long_validity: ms(30_000),
    address_lifetime: ms(2000),
    replication_stall: ms(60_000),
    step_deadline: ms(60_000),
    critical_down: ms(90_000),
};
