//! Chance, from a seed. Written here so that a seed means the same run for ever.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone)]
pub struct Dice {
    state: u64,
    fixed: bool,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed ^ 0x6475_6f74_6f6e_6521, fixed: false }
    }

    /// Without chance: every span takes its middle, nothing happens by accident.
    pub fn fixed() -> Dice {
        Dice { state: 1, fixed: true }
    }

    pub fn raw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn span(&mut self, low: u64, high: u64) -> u64 {
        if self.fixed || high <= low {
            return low + (high.saturating_sub(low)) / 2;
        }
        low + self.raw() % (high - low + 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        if self.fixed { 0 } else { self.raw() % n }
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        if self.fixed { per_mille >= 1000 } else { self.raw() % 1000 < per_mille }
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
