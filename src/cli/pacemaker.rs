//! `duotone pacemaker-config`: the pair of the configuration file as a cluster's resources, for
//! crmsh or for pcs. Touches no cluster.

mod plan;
mod render;

use std::path::Path;

use crate::config::Config;

use self::plan::Plan;
use self::render::Render;
use super::{Error, Exit, say};

/// Prints it; `node` is any of the two.
pub(super) fn print(path: &Path, node: Option<&str>, pcs: bool) -> Result<Exit, Error> {
    let names = Config::load_without_keys(path, node)?.names;
    let of = |name: &String| Config::load_without_keys(path, Some(name));
    let both = [of(&names[0])?, of(&names[1])?];
    let render = if pcs { Render::Pcs } else { Render::Crm };
    say(&render.text(&Plan::of(&both)))
}
