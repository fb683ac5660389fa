//! Commands for a guest through its `qemu-guest-agent`: one JSON object per line on a virtio port.
//! No network and no login stands between, so that a broken network is the guest's own affair.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// A busy machine, emulated: seconds pass before a shell has started.
const ANSWER: Duration = Duration::from_secs(60);

/// What a command in a guest answered.
#[derive(Debug)]
pub struct Said {
    pub code: i64,
    pub out: String,
    pub err: String,
}

pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    pub fn new(socket: &Path) -> Agent {
        Agent { socket: socket.to_owned() }
    }

    /// Does it answer?
    pub fn lives(&self) -> bool {
        Session::open(&self.socket, Duration::from_secs(15)).is_ok()
    }

    /// Runs a script with bash to its end, within this time.
    pub fn shell_for(&self, limit: Duration, script: &str) -> anyhow::Result<Said> {
        let end = Instant::now() + limit;
        let mut session = Session::open(&self.socket, ANSWER)?;
        let begun = session.ask(
            "guest-exec",
            json!({ "path": "/bin/bash", "arg": ["-c", script], "capture-output": true }),
        )?;
        loop {
            let seen = session.ask("guest-exec-status", json!({ "pid": begun["pid"] }))?;
            if seen["exited"] == true {
                let text = |key: &str| decode64(seen[key].as_str().unwrap_or_default());
                let code = seen["exitcode"].as_i64().unwrap_or(-1);
                return Ok(Said { code, out: text("out-data"), err: text("err-data") });
            }
            if Instant::now() >= end {
                bail!("not ended within {limit:?}: {script}");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The same, for what ends soon; what it printed when it ended well.
    pub fn run(&self, script: &str) -> anyhow::Result<String> {
        self.run_for(Duration::from_secs(240), script)
    }

    /// The same, for what takes its time.
    pub fn run_for(&self, limit: Duration, script: &str) -> anyhow::Result<String> {
        let said = self.shell_for(limit, script)?;
        if said.code != 0 {
            bail!("exit status {} of {script}\n{}{}", said.code, said.out, said.err);
        }
        Ok(said.out)
    }

    /// Gives a command whose end nobody will see.
    pub fn last_words(&self, script: &str) -> anyhow::Result<()> {
        let mut session = Session::open(&self.socket, ANSWER)?;
        session.send("guest-exec", json!({ "path": "/bin/bash", "arg": ["-c", script] }))
    }
}

struct Session {
    write: UnixStream,
    read: BufReader<UnixStream>,
}

impl Session {
    fn open(socket: &Path, limit: Duration) -> anyhow::Result<Session> {
        let write = UnixStream::connect(socket).with_context(|| format!("{}", socket.display()))?;
        write.set_read_timeout(Some(limit))?;
        let read = BufReader::new(write.try_clone()?);
        let mut session = Session { write, read };
        // Answers to what an earlier session asked come first, and are told by the number.
        let number = unique();
        session.send("guest-sync", json!({ "id": number }))?;
        while session.answer()?["return"] != number {}
        Ok(session)
    }

    fn send(&mut self, verb: &str, arguments: Value) -> anyhow::Result<()> {
        let line = json!({ "execute": verb, "arguments": arguments }).to_string() + "\n";
        Ok(self.write.write_all(line.as_bytes())?)
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.read.read_line(&mut line).context("the guest does not answer")? == 0 {
            bail!("the guest's port is closed");
        }
        Ok(serde_json::from_str(line.trim_start_matches('\u{ff}').trim())?)
    }

    fn ask(&mut self, verb: &str, arguments: Value) -> anyhow::Result<Value> {
        self.send(verb, arguments)?;
        let mut answer = self.answer()?;
        match answer["error"].is_null() {
            true => Ok(answer["return"].take()),
            false => bail!("{verb}: {}", answer["error"]),
        }
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    NEXT.fetch_add(1_000_000, Ordering::Relaxed)
}

/// Base64 (RFC 4648) to text; the guest's own `base64` output to bytes.
pub fn bytes64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let sextets: Vec<u8> = text.bytes().filter_map(value).collect();
    let group = |four: &[u8]| {
        let bits = four.iter().fold(0u32, |bits, six| bits << 6 | u32::from(*six));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    sextets.chunks(4).flat_map(group).collect()
}

fn decode64(text: &str) -> String {
    String::from_utf8_lossy(&bytes64(text)).into_owned()
}
