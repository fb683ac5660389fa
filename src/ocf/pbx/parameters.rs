//! What `ocf:duotone:pbx` is told.

use std::path::PathBuf;
use std::time::Duration;

use super::super::call::Call;
use super::super::parameter::{Parameter, Reader};
use crate::adapters::owner::Resource;
use crate::config::{Limits, Probe, ProbeKind, RunOn, Runner, Service, SipProbe, Start, Transport};

const COMMAND: Parameter = Parameter {
    name: "command",
    short: "The program and its arguments",
    long: "A whole path and arguments, separated by spaces; one that holds spaces stands in \
           'quotes' or \"quotes\". No shell reads it. The program must stay in the foreground: \
           \"/usr/sbin/kamailio -DD -E -f /etc/kamailio/kamailio.cfg\".",
    ..Parameter::REQUIRED
};
const USER: Parameter = Parameter {
    name: "user",
    default: Some(""),
    short: "Whom it runs as",
    long: "An operating-system user. Empty: root.",
    ..Parameter::REQUIRED
};
const DIRECTORY: Parameter = Parameter {
    name: "directory",
    default: Some("/"),
    short: "Its working directory",
    long: "Its working directory.",
    ..Parameter::REQUIRED
};
const ENVIRONMENT: Parameter = Parameter {
    name: "environment",
    default: Some(""),
    short: "Added to its environment",
    long: "NAME=value, separated by spaces; quoted like the command's arguments.",
    ..Parameter::REQUIRED
};
const PROBES: Parameter = Parameter {
    name: "probes",
    default: Some(""),
    reloadable: true,
    short: "How it is asked whether it works",
    long: "KIND:ADDRESS:PORT, separated by spaces. sip-udp, sip-tcp: SIP OPTIONS is answered, below \
           500 or 501; tcp: a connection is accepted. \"sip-udp:127.0.0.1:5060 \
           tcp:127.0.0.1:5038\". A start ends when all of them answer; a monitor of depth 10 asks \
           them.",
    ..Parameter::REQUIRED
};
const PROBE_TIMEOUT: Parameter = Parameter {
    name: "probe_timeout",
    default: Some("500ms"),
    reloadable: true,
    short: "How long to wait for an answer",
    long: "Three questions without an answer in time make a failure.",
    ..Parameter::REQUIRED
};
const STOP_TIMEOUT: Parameter = Parameter {
    name: "stop_timeout",
    default: Some("10s"),
    reloadable: true,
    short: "From SIGTERM to SIGKILL",
    long: "Shorter than the timeout of the stop action, or the stop fails first.",
    ..Parameter::REQUIRED
};
const LOG: Parameter = Parameter {
    name: "log",
    default: Some(""),
    short: "The file for what it prints",
    long: "A whole path. Empty: the journal (journalctl -t RESOURCE), or, on a host without one, \
           /var/log/duotone/RESOURCE.log.",
    ..Parameter::REQUIRED
};

/// All of them.
pub(super) const ALL: &[Parameter] =
    &[COMMAND, USER, DIRECTORY, ENVIRONMENT, PROBES, PROBE_TIMEOUT, STOP_TIMEOUT, LOG];

/// What is to be run, as it was read.
pub(super) struct Asked {
    pub call: Call,
    pub service: Service,
    /// The file for its output; `None` for the journal.
    pub log: Option<PathBuf>,
}

impl Asked {
    pub fn read(reader: &mut Reader<'_>) -> Asked {
        let call = Call::read(reader);
        let command = words(reader, &COMMAND);
        if let Some(program) = command.first().filter(|program| !program.starts_with('/')) {
            reader.refuse(&COMMAND, program, "a whole path; write the program from the root");
        }
        let user = Some(reader.text(&USER)).filter(|user| !user.is_empty());
        let log = match reader.text(&LOG).is_empty() {
            true => None,
            false => Some(reader.path(&LOG)),
        };
        let service = Service {
            name: call.instance.clone(),
            runner: Runner::Daemon,
            command,
            user,
            directory: reader.path(&DIRECTORY),
            environment: environment(reader),
            limits: Limits::default(),
            run_on: RunOn::Active,
            start: Start::BeforeAddress,
            critical: true,
            probes: probes(reader),
            // Restarts are the cluster's.
            restart_delay: Duration::ZERO,
            restart_max: Duration::ZERO,
            stop_timeout: reader.time(&STOP_TIMEOUT),
        };
        Asked { call, service, log }
    }

    pub fn resources(&self) -> [Resource; 1] {
        [Resource::Command(self.service.command.clone())]
    }
}

/// Words as a shell would see them that knows only spaces and quotes.
fn words(reader: &mut Reader<'_>, parameter: &Parameter) -> Vec<String> {
    let text = reader.text(parameter);
    match split(&text) {
        Some(words) => words,
        None => {
            reader.refuse(parameter, &text, "complete: a quote is not closed");
            Vec::new()
        }
    }
}

/// `None` when a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

fn environment(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for word in words(reader, &ENVIRONMENT) {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => found.push((name.into(), value.into())),
            Some(_) | None => reader.refuse(&ENVIRONMENT, &word, "NAME=value"),
        }
    }
    found
}

fn probes(reader: &mut Reader<'_>) -> Vec<Probe> {
    let timeout = reader.time(&PROBE_TIMEOUT);
    if timeout < Duration::from_millis(10) {
        reader.refuse(&PROBE_TIMEOUT, &format!("{timeout:?}"), "10ms or more");
    }
    let mut found = Vec::new();
    for word in reader.words(&PROBES) {
        let kind = word.split_once(':').and_then(|(kind, target)| {
            let target = target.parse().ok()?;
            match kind {
                "tcp" => Some(ProbeKind::Tcp(target)),
                "sip-udp" => Some(ProbeKind::Sip(SipProbe::new(target, Transport::Udp))),
                "sip-tcp" => Some(ProbeKind::Sip(SipProbe::new(target, Transport::Tcp))),
                _ => None,
            }
        });
        match kind {
            Some(kind) => {
                let (interval, grace) = (timeout, timeout * 3);
                found.push(Probe { kind, interval, timeout, fall: 3, rise: 1, grace });
            }
            None => reader.refuse(&PROBES, &word, "one such as sip-udp:127.0.0.1:5060"),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_spaces_outside_of_quotes() {
        let split = |text| split(text).map(|words| words.join("|"));
        assert_eq!(split("/bin/x  -a 'b c' d\"e f\"g,h"), Some("/bin/x|-a|b c|de fg,h".into()));
        assert_eq!(split("x ''"), Some("x|".into()));
        assert_eq!(split("x 'y"), None);
        assert_eq!(split(" \n"), Some(String::new()));
    }
}
