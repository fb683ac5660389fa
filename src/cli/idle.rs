//! Waiting until no call is up, before the role is moved. Nothing is ordered meanwhile: whoever ends
//! the waiting has moved nothing.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::{Error, Exit, calls};
use crate::config::unit::{parse_time, time};

const ASK_EVERY: Duration = Duration::from_secs(1);
/// Where nobody sees a line replaced, it is said this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// When the role may be moved.
#[derive(Args, Debug)]
pub(super) struct When {
    /// Wait until no call is up; needs `live` in [calls] of the configuration
    #[arg(long)]
    when_idle: bool,
    /// Give up after this time, such as 30min; then nothing is moved
    #[arg(long, value_name = "TIME", requires = "when_idle", default_value = "30min", value_parser = parse_time)]
    within: Duration,
    /// While waiting, a line of JSON a second
    #[arg(long, requires = "when_idle")]
    json: bool,
}

/// Waits as it was asked; [`Exit::No`] when calls were still up at the end.
pub(super) fn wait(socket: &Path, when: &When) -> Result<Exit, Error> {
    if !when.when_idle {
        return Ok(Exit::Ok);
    }
    let began = Instant::now();
    let mut progress = Progress { terminal: std::io::stderr().is_terminal(), said: None };
    loop {
        let data = calls::live(socket)?;
        if data["configured"] != true {
            return Err(Error::Refused(
                "how many calls are up is not known here: write live = [\"/…\"] into [calls]; \
                 without --when-idle the role is moved at once"
                    .into(),
            ));
        }
        if data["active"] != true {
            let peer = data["peer"].as_str().unwrap_or("the peer");
            return Err(Error::Refused(format!(
                "this node does not serve; if {peer} does, run it there"
            )));
        }
        // An old list, or none, is not "no call".
        let fresh = data["live"].as_u64().filter(|_| data["fresh"] == true);
        let left = when.within.saturating_sub(began.elapsed());
        if when.json {
            let line = json!({"live": fresh, "left_s": left.as_secs(), "trouble": data["trouble"]});
            super::say(&line.to_string())?;
        } else {
            progress.say(&words(fresh, &data), left);
        }
        if fresh == Some(0) {
            progress.end();
            return Ok(Exit::Ok);
        }
        if left.is_zero() {
            progress.end();
            let after = time(when.within);
            let line =
                format!("given up after {after}: {}; nothing was moved", words(fresh, &data));
            if !when.json {
                super::say(&line)?;
            }
            return Ok(Exit::No);
        }
        std::thread::sleep(ASK_EVERY.min(left));
    }
}

fn words(fresh: Option<u64>, data: &Value) -> String {
    match (fresh, data["trouble"].as_str()) {
        (Some(count), _) => format!("{count} calls are up"),
        (None, Some(trouble)) => format!("how many calls are up is not known: {trouble}"),
        (None, None) => "how many calls are up is not known yet".to_owned(),
    }
}

/// One line that is replaced, on a terminal; else one now and then.
struct Progress {
    terminal: bool,
    said: Option<Instant>,
}

impl Progress {
    fn say(&mut self, words: &str, left: Duration) {
        let due = self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        let line = format!("waiting: {words}; {} s left", left.as_secs());
        let mut err = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to move anything, or not to.
        let _ = match (self.terminal, due) {
            (true, _) => write!(err, "\r\x1b[K{line}").and_then(|()| err.flush()),
            (false, true) => writeln!(err, "{line}"),
            (false, false) => Ok(()),
        };
        if due {
            self.said = Some(Instant::now());
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
