//! What the lab is asked to show.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The options of `duotone demo`.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// Which stories to show, in this order: names (see --faults), `quick`, or `all` (the default)
    #[arg(long = "scenario", value_name = "NAME", value_delimiter = ',')]
    pub scenarios: Vec<String>,
    /// What moves
    #[arg(long, value_enum, default_value_t = DemoMode::Address)]
    pub mode: DemoMode,
    /// What a commit waits for
    #[arg(long, value_enum, default_value_t = DemoDurability::Available)]
    pub durability: DemoDurability,
    /// The times
    #[arg(long, value_enum, default_value_t = DemoPreset::Voice)]
    pub preset: DemoPreset,
    /// Write the results there as well, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How often the power-off is played, for a median
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub runs: usize,
    /// Without the bare floor beside it
    #[arg(long)]
    pub no_floor: bool,
    /// Print the table of faults instead: what each story does, and what it must show
    #[arg(long)]
    pub faults: bool,
    /// Leave everything up at the end, and say how to look inside
    #[arg(long)]
    pub keep: bool,
}

/// What moves with the role in the demo.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DemoMode {
    /// Addresses on an interface that is up on both hosts.
    Address,
    /// The whole interface.
    Interface,
}

/// What a commit waits for in the demo.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DemoDurability {
    /// Never promote a replica that may lack rows.
    Strict,
    /// Wait for the standby; serve with stated loss rather than not at all.
    Available,
    /// Never wait.
    Async,
}

/// The presets that the demo can measure in its few minutes.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DemoPreset {
    /// 50 ms heartbeats, lost after 250 ms.
    Voice,
    /// 10 ms heartbeats.
    Fast,
    /// 100 ms heartbeats, lost after 900 ms.
    Virtual,
}

macro_rules! word_of_the_file {
    ($($kind:ty),*) => {$(
        impl $kind {
            /// As the configuration file writes it.
            pub fn word(self) -> String {
                let value = self.to_possible_value();
                value.map_or_else(String::new, |value| value.get_name().to_owned())
            }
        }
    )*};
}

word_of_the_file!(DemoMode, DemoDurability, DemoPreset);
