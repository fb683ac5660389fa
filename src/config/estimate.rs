//! How long an outage is to be expected from the settings, before anything breaks.

use std::time::Duration;

use super::{Config, Mode};

/// One part of a takeover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// What passes.
    pub name: &'static str,
    /// Usually.
    pub typical: Duration,
    /// At worst, as far as the settings and measurements tell.
    pub worst: Duration,
}

/// What a takeover after a power-off costs, part after part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// In order.
    pub parts: Vec<Part>,
    /// Something that the settings cannot tell comes on top.
    pub unknown: Option<&'static str>,
}

impl Estimate {
    /// From the settings of a pair.
    pub fn of(config: &Config) -> Estimate {
        let t = &config.timing;
        let ms = Duration::from_millis;
        let mut parts = vec![
            Part {
                name: "silence until lost",
                // The host dies halfway between two heartbeats, on average.
                typical: t.lost_after.saturating_sub(t.interval / 2),
                worst: t.lost_after + t.delay,
            },
            Part {
                name: "rest of the silent window",
                typical: window_past_lost(config),
                worst: window_past_lost(config) + t.delay,
            },
        ];
        if config.arbitration.fence && !config.arbitration.witness {
            parts.extend([
                Part {
                    name: "fence_delay of the standby",
                    typical: t.fence_delay,
                    worst: t.fence_delay,
                },
                // `fence` has room for twice what it takes.
                Part { name: "peer powered off", typical: t.fence / 2, worst: t.fence },
            ]);
        }
        parts.push(
            // A temporary file, fsync, rename, fsync of the directory.
            Part { name: "term written", typical: ms(4), worst: ms(30) },
        );
        if config.postgres.is_some() {
            // Measured with 16 MB segments; a third of it with 1 MB (initdb --wal-segsize=1).
            parts.push(Part { name: "database promoted", typical: ms(41), worst: ms(85) });
        }
        parts.push(Part { name: "address and announcement", typical: ms(1), worst: ms(5) });
        let unknown = match config.floating.mode {
            Mode::Interface { bare: false } => Some(
                "the time the interface needs to come up (standby_link = \"down\"; 1 to 4 s on \
                 copper)",
            ),
            Mode::Interface { bare: true } | Mode::Address => None,
        };
        Estimate { parts, unknown }
    }

    /// All parts together.
    pub fn total(&self) -> (Duration, Duration) {
        let typical = self.parts.iter().map(|part| part.typical).sum();
        (typical, self.parts.iter().map(|part| part.worst).sum())
    }
}

/// The short window starts when the peer is late; what does not fit before lost is waited for.
fn window_past_lost(config: &Config) -> Duration {
    let t = &config.timing;
    (t.late_after + t.short_window).saturating_sub(t.lost_after)
}
