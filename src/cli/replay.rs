//! `replay`: a recording through the core of this program, told as a story.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{Error, Exit, say};
use crate::recording::replay::{Difference, part, replay};
use crate::recording::{self, Recording, Writer};

/// `replay`.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The recording: the daemon writes them to `recordings` in its state directory
    file: PathBuf,
    /// Say whether this program decides and does what was recorded; exit status 1 if not
    #[arg(long)]
    compare: bool,
    /// Begin here, in seconds as the story counts them
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    from: Option<Duration>,
    /// End here
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    until: Option<Duration>,
    /// Write the recording from there to there to this file, instead of the story
    #[arg(long, value_name = "PATH")]
    write: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

pub(super) fn perform(asked: &Replay) -> Result<Exit, Error> {
    let shown = asked.file.display();
    let bytes = fs::read(&asked.file).map_err(|error| Error::Usage(format!("{shown}: {error}")))?;
    let mut found =
        recording::read(&bytes).map_err(|error| Error::other(format!("{shown}: {error}")))?;
    if asked.from.is_some() || asked.until.is_some() {
        let until = asked.until.unwrap_or(Duration::MAX);
        found = part(&found, asked.from.unwrap_or_default(), until);
    }
    if let Some(path) = &asked.write {
        return write(path, &found);
    }
    let replayed = replay(&found);
    let mut text = replayed.story;
    if found.torn {
        text += "# the last line is damaged and left out\n";
    }
    if !asked.compare {
        return say(&text);
    }
    let (verdict, exit) = verdict(replayed.events, &replayed.differences);
    say(&(text + &verdict)).map(|_| exit)
}

fn verdict(events: usize, differences: &[Difference]) -> (String, Exit) {
    match differences {
        [] => (format!("# {events} events: decided and done as recorded\n"), Exit::Ok),
        [first, rest @ ..] => {
            let more = match rest.len() {
                0 => String::new(),
                more => format!("and {more} times more (what was recorded answers to the past)\n"),
            };
            (format!("# {events} events: NOT as recorded\n{}{more}", first.text()), Exit::No)
        }
    }
}

fn write(path: &Path, found: &Recording) -> Result<Exit, Error> {
    let whole = || {
        let mut writer = Writer::begin(Vec::new(), &found.heading, &found.node)?;
        found.entries.iter().try_for_each(|entry| writer.add(entry))?;
        fs::write(path, writer.end()?)
    };
    whole().map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    say(&format!("{}: {} entries", path.display(), found.entries.len()))
}
