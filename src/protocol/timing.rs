//! Every time and bound of the protocol, and the inequalities between them that make it safe.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::arbiter::Arbitration;
use super::time::Duration;

/// The pair's times. Symbols in brackets are those of the inequalities below.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Between two heartbeats (I).
    pub interval: Duration,
    /// Worst one-way delay of a heartbeat plus lateness of the pulse (D).
    pub delay: Duration,
    /// Silence that warns and prepares.
    pub late_after: Duration,
    /// Silence that may move the role; also the promise in every heartbeat.
    pub lost_after: Duration,
    /// Silence needed by a node that has just started (S).
    pub start_grace: Duration,
    /// Bound on how far apart two clocks run, in parts per million (ρ).
    pub drift_ppm: u32,
    /// From the decision to the addresses gone and acknowledging stopped, lateness included (R).
    pub release: Duration,
    /// Worst round trip to an arbiter, one retry included (A).
    pub arbiter: Duration,
    /// Between two LAN probes.
    pub probe_interval: Duration,
    /// Unanswered probes that make a silent window, at least.
    pub probes: u32,
    /// Short silent window (W1).
    pub short_window: Duration,
    /// Long silent window (W2).
    pub long_window: Duration,
    /// How long a reference's answer counts just after the lease (V1).
    pub short_validity: Duration,
    /// How long it counts later (V2).
    pub long_validity: Duration,
    /// Deadline of the first attempt, which alone may use the short window (Q).
    pub first_attempt: Duration,
    /// How long the active node uses the short validity (Q′).
    pub short_validity_for: Duration,
    /// The kernel's lifetime of a floating address, whole seconds; the rounding is added (L).
    pub address_lifetime: Duration,
    /// Longest time that `lan` may need to consent while a dead daemon's address lives on (K).
    pub lan_window: Duration,
    /// Life of a certificate (C).
    pub certificate: Duration,
    /// Replication that makes no progress for this long while heartbeats live is broken (rule 17).
    pub replication_stall: Duration,
    /// How long a witness's grant lasts, counted by the witness (G).
    pub grant: Duration,
    /// Between two renewals of the grant.
    pub grant_renewal: Duration,
    /// Longest run of the fence, from the order to its report (F).
    #[serde(default)]
    pub fence: Duration,
    /// How much later than the active node a standby orders the fence, so that never both are off.
    #[serde(default)]
    pub fence_delay: Duration,
    /// A step that takes longer than this is given up.
    pub step_deadline: Duration,
    /// The critical services may be down for this long before the node's health falls.
    pub critical_down: Duration,
}

/// One inequality that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its number in PROTOCOL's table.
    pub number: u8,
    /// It, in the words of the configuration file.
    pub rule: &'static str,
    /// What breaks.
    pub otherwise: &'static str,
    /// The side that must be larger (or at least equal), as configured.
    pub left: Duration,
    /// The bound that it misses.
    pub right: Duration,
    /// The key of the file to change, and the smallest (or largest) value that helps.
    pub fix: (&'static str, Duration),
}

impl Timing {
    /// The kernel counts lifetimes in whole seconds and expires them with up to this slack.
    pub const LIFETIME_ROUNDING: Duration = Duration::from_millis(400);

    /// The lease that one heartbeat of the peer gives: its promise, less drift, less the release
    /// time (rule 2); zero if nothing remains.
    pub fn lease(&self, promise: Duration) -> Duration {
        self.shrunk(promise).saturating_sub(self.release)
    }

    /// What a grant is worth to its holder, counted from when it sent the request (rule 11).
    pub fn grant_usable(&self) -> Duration {
        self.shrunk(self.grant).saturating_sub(self.release)
    }

    /// What is left of a certificate's life after drift (rule 15).
    pub fn certificate_usable(&self) -> Duration {
        self.shrunk(self.certificate)
    }

    /// The address lifetime with the kernel's rounding (L).
    pub fn lifetime_worst(&self) -> Duration {
        self.address_lifetime + Self::LIFETIME_ROUNDING
    }

    /// There and back: two heartbeats and their delays, 2(I + D).
    pub fn round_trip(&self) -> Duration {
        (self.interval + self.delay) * 2
    }

    /// Heartbeats of a peer that takes the role no more are believed again after this silence
    /// without an echo (rule 21).
    pub fn unechoed_after(&self) -> Duration {
        self.lost_after + self.round_trip()
    }

    /// The least `fence_delay` (inequality 11): by then the fence has done what an active node that
    /// lost the peer at the same moment had ordered.
    pub fn least_fence_delay(&self) -> Duration {
        self.fence + self.unechoed_after().saturating_sub(self.lost_after)
    }

    /// From the last certifying heartbeat to the peer seen off, at worst (inequality 7): it is not
    /// ordered while a dead daemon's address still answers (rule 6).
    pub fn fenced_takeover(&self) -> Duration {
        let ordered = self.lost_after + self.fence_delay.max(self.lan_window);
        self.round_trip() + ordered + self.fence
    }

    fn shrunk(&self, span: Duration) -> Duration {
        span.saturating_sub(self.drift(span))
    }

    /// What a span of the peer's clock may take on this one: `span` × (1 + 2ρ).
    pub fn stretched(&self, span: Duration) -> Duration {
        span + self.drift(span)
    }

    /// The smallest span of which drift leaves at least `span`: `span` / (1 − 2ρ).
    pub fn unshrunk(&self, span: Duration) -> Duration {
        let left = 1_000_000u128.saturating_sub(u128::from(self.drift_ppm) * 2).max(1);
        let nanos = (span.as_nanos() * 1_000_000).div_ceil(left);
        Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64)
    }

    /// 2ρ of a span.
    fn drift(&self, span: Duration) -> Duration {
        let nanos = span.as_nanos() * u128::from(self.drift_ppm) * 2 / 1_000_000;
        Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64)
    }

    /// The inequalities that do not hold, by number; empty when the pair is safe.
    pub fn violations(&self, arbitration: Arbitration) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut at_least = |number, rule, otherwise, left: Duration, right: Duration, fix| {
            if left < right {
                found.push(Violation { number, rule, otherwise, left, right, fix });
            }
        };
        let tick = Duration::from_nanos(1);
        let round = self.round_trip();
        let lease = self.lease(self.lost_after);
        at_least(
            1,
            "late_after >= 2 (interval + delay) + interval",
            "a healthy peer is always late",
            self.late_after,
            round + self.interval,
            ("late_after", round + self.interval),
        );
        at_least(
            2,
            "release > 0",
            "two owners by clock drift",
            self.release,
            tick,
            ("release", Duration::from_millis(1)),
        );
        let lost_needed = self.late_after + self.arbiter + self.release;
        at_least(
            3,
            "lost_after (less drift) - release - late_after >= arbiter",
            "a healthy active node gives up when the standby dies",
            lease,
            self.late_after + self.arbiter,
            ("lost_after", self.unshrunk(lost_needed)),
        );
        let short_needed = self.stretched(self.short_validity) + self.release + tick;
        at_least(
            4,
            "short_window > short_validity (with drift) + release",
            "both nodes own the address when the LAN heals",
            self.short_window,
            short_needed,
            ("short_window", short_needed),
        );
        let long_needed = self.stretched(self.long_validity) + self.release + tick;
        at_least(
            4,
            "long_window > long_validity (with drift) + release",
            "both nodes own the address when the LAN heals",
            self.long_window,
            long_needed,
            ("long_window", long_needed),
        );
        let probing = self.probe_interval * self.probes.saturating_sub(1);
        at_least(
            5,
            "short_window >= (probes - 1) x probe_interval",
            "an answer is missed and the veto with it",
            self.short_window,
            probing,
            ("short_window", probing),
        );
        at_least(
            5,
            "first_attempt >= short_window + 2 (interval + delay)",
            "the short window can never be used",
            self.first_attempt,
            self.short_window + round,
            ("first_attempt", self.short_window + round),
        );
        let short_for = self.stretched(self.first_attempt)
            + self.drift(self.lost_after)
            + self.release
            + self.delay
            + self.interval;
        at_least(
            5,
            "short_validity_for >= first_attempt (with drift) + drift of lost_after + release + \
             delay + interval",
            "two owners when the LAN heals",
            self.short_validity_for,
            short_for,
            ("short_validity_for", short_for),
        );
        let window = self.lifetime_worst() + self.long_window + self.arbiter;
        at_least(
            6,
            "lan_window >= address_lifetime + 400ms + long_window + arbiter",
            "a dead daemon's address outlasts the standby's certificate",
            self.lan_window,
            window,
            ("lan_window", window),
        );
        let certificate = round + self.lost_after + self.lan_window;
        at_least(
            7,
            "certificate (less drift) >= 2 (interval + delay) + lost_after + lan_window",
            "a healthy standby is held after a lasting fault",
            self.certificate_usable(),
            certificate,
            ("certificate", self.unshrunk(certificate)),
        );
        if arbitration.witness {
            let certificate = round + self.lost_after + self.grant + self.arbiter;
            at_least(
                7,
                "certificate (less drift) >= 2 (interval + delay) + lost_after + grant + arbiter",
                "a healthy standby is held after a lasting fault",
                self.certificate_usable(),
                certificate,
                ("certificate", self.unshrunk(certificate)),
            );
            let grant = self.grant_renewal + self.arbiter + self.release;
            at_least(
                10,
                "grant (less drift) - release >= grant_renewal + arbiter",
                "a healthy node that is alone gives up",
                self.grant_usable(),
                self.grant_renewal + self.arbiter,
                ("grant", self.unshrunk(grant)),
            );
        }
        if arbitration.fence {
            let certificate = self.fenced_takeover();
            at_least(
                7,
                "certificate (less drift) >= 2 (interval + delay) + lost_after + the longer of \
                 fence_delay and lan_window + fence",
                "a healthy standby is held after a lasting fault",
                self.certificate_usable(),
                certificate,
                ("certificate", self.unshrunk(certificate)),
            );
            at_least(
                11,
                "fence_delay >= fence + 2 (interval + delay)",
                "both nodes power each other off",
                self.fence_delay,
                self.least_fence_delay(),
                ("fence_delay", self.least_fence_delay()),
            );
        }
        let grace = self.stretched(self.lost_after) + round;
        at_least(
            9,
            "start_grace >= lost_after (with drift) + 2 (interval + delay)",
            "a restarted standby breaks the promise of its earlier life",
            self.start_grace,
            grace,
            ("start_grace", grace),
        );
        found
    }

    /// The longest stall that costs no service: with a live peer, and alone (inequality 13).
    pub fn stall_tolerated(&self, arbitration: Arbitration) -> (Duration, Duration) {
        let with_peer = self.lease(self.lost_after).saturating_sub(self.round_trip());
        let alone = if arbitration.witness {
            self.grant_usable().saturating_sub(self.grant_renewal + self.arbiter * 2)
        } else {
            self.long_validity.saturating_sub(self.reference_period() + self.arbiter)
        };
        (with_peer, alone)
    }

    /// How often a node asks its references while nothing depends on them.
    pub fn calm_period(&self) -> Duration {
        (self.lost_after * 2).clamp(Duration::from_secs(1), Duration::from_secs(5))
    }

    /// How often a node that lives on its references asks them.
    pub fn reference_period(&self) -> Duration {
        (self.long_validity / 4).max(self.probe_interval)
    }
}
