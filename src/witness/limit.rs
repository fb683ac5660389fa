//! How much of a stranger's trouble the witness takes: a budget per source network and one for all,
//! in a table that does not grow. Pure.
//!
//! Who has proved itself is never measured here, so that nobody can spend its budget, not even by
//! writing its address on his own datagrams.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::protocol::time::{Duration, Instant};

/// Networks remembered at once; a budget that is full again needs no memory.
const NETWORKS: usize = 1024;
/// Tags that are computed for one network's strangers per second, and at once after a pause: a few
/// milliseconds of one processor, and many times what nodes that start need.
const OF_ONE: u32 = 2_000;
/// The same, for all strangers.
const OF_ALL: u32 = 10_000;

/// The budgets.
#[derive(Debug)]
pub struct Limits {
    all: Budget,
    networks: HashMap<Network, Budget>,
}

/// A source's network: 24 bits of an IPv4 address, 56 of an IPv6 one, which is what one customer of
/// a provider has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Network([u8; 8]);

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    most: u32,
    filled: Instant,
}

impl Limits {
    /// Full ones.
    pub fn new(now: Instant) -> Limits {
        Limits { all: Budget::full(OF_ALL, now), networks: HashMap::new() }
    }

    /// May a stranger from there cost a tag now? If so it has.
    pub fn admit(&mut self, now: Instant, from: IpAddr) -> bool {
        let network = Network::of(from);
        if !self.networks.contains_key(&network) && self.networks.len() >= NETWORKS {
            self.networks.retain(|_, budget| !budget.is_full(now));
        }
        // Where there is no room for one more, the budget of all has to do.
        let room = self.networks.len() < NETWORKS;
        let own = match self.networks.get_mut(&network) {
            Some(budget) => budget.spend(now),
            None if room => {
                self.networks.entry(network).or_insert(Budget::full(OF_ONE, now)).spend(now)
            }
            None => true,
        };
        own && self.all.spend(now)
    }
}

impl Network {
    fn of(address: IpAddr) -> Network {
        let mut bytes = [0; 8];
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                bytes[0] = 4;
                bytes[1..4].copy_from_slice(&v4.octets()[..3]);
            }
            IpAddr::V6(v6) => {
                bytes[0] = 6;
                bytes[1..8].copy_from_slice(&v6.octets()[..7]);
            }
        }
        Network(bytes)
    }
}

impl Budget {
    fn full(most: u32, now: Instant) -> Budget {
        Budget { left: most, most, filled: now }
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left == self.most
    }

    fn spend(&mut self, now: Instant) -> bool {
        self.fill(now);
        let has = self.left > 0;
        self.left -= u32::from(has);
        has
    }

    /// `most` per second.
    fn fill(&mut self, now: Instant) {
        let per_one = Duration::from_secs(1) / self.most;
        let earned = now.since(self.filled).as_nanos() / per_one.as_nanos().max(1);
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(self.most);
            self.filled = if self.left == self.most { now } else { self.filled + per_one * earned };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn admitted(limits: &mut Limits, now: Instant, from: &str, count: u32) -> u32 {
        let from: IpAddr = from.parse().unwrap();
        (0..count).filter(|_| limits.admit(now, from)).count() as u32
    }

    #[test]
    fn one_network_spends_its_own_budget_only() {
        let mut limits = Limits::new(at(0));
        assert_eq!(admitted(&mut limits, at(0), "192.0.2.7", 5_000), OF_ONE);
        assert_eq!(admitted(&mut limits, at(0), "192.0.2.8", 10), 0, "the same network");
        assert_eq!(admitted(&mut limits, at(0), "::ffff:192.0.2.9", 10), 0, "mapped");
        assert_eq!(admitted(&mut limits, at(0), "198.51.100.7", 10), 10);
        assert_eq!(admitted(&mut limits, at(0), "2001:db8::1", 10), 10);
        // Half a second later it has earned half of it.
        assert_eq!(admitted(&mut limits, at(500), "192.0.2.7", 5_000), OF_ONE / 2);
        assert_eq!(admitted(&mut limits, at(9_000), "192.0.2.7", 5_000), OF_ONE);
    }

    #[test]
    fn all_together_spend_no_more_than_the_whole() {
        let mut limits = Limits::new(at(0));
        let of = |limits: &mut Limits, network| {
            admitted(limits, at(0), &format!("10.0.{network}.1"), OF_ONE)
        };
        let total: u32 = (0..50).map(|network| of(&mut limits, network)).sum();
        assert_eq!(total, OF_ALL);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_quiet() {
        let mut limits = Limits::new(at(0));
        for network in 0..NETWORKS as u32 * 3 {
            let [_, b, c, d] = network.to_be_bytes();
            let _ = limits.admit(at(0), IpAddr::from([b, c, d, 1]));
        }
        assert!(limits.networks.len() <= NETWORKS);
        let _ = limits.admit(at(2_000), "192.0.2.1".parse().unwrap());
        assert_eq!(limits.networks.len(), 1);
    }
}
