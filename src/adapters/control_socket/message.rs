//! What is said over the control socket: one line of JSON each way.
//!
//! Asked: `{"verb":"status", …}`; further members are the verb's arguments. Answered:
//! `{"ok":true,"data":…}`, `{"ok":false,"refused":"why"}` (it cannot be done now, or was not
//! understood) or `{"ok":false,"denied":"why"}` (not by this user).

use serde_json::{Map, Value, json};

/// What can be asked of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verb {
    /// How the pair is.
    Status,
    /// The evidence, and what would happen if the peer died now.
    Explain,
    /// Does this node hold the role?
    IsActive,
    /// The last changes of role.
    History,
    /// The calls that are up, or that a takeover cut.
    Calls,
    /// Close the records of calls that were cut.
    CloseCalls,
    /// The phones that are registered, or were to register again.
    Endpoints,
    /// Write the recent past of the core to a file.
    Record,
    /// Take the role without the peer's word.
    Failover,
    /// Hand the role to the standby.
    Switchover,
    /// Hand the role back to the preferred node.
    Failback,
    /// Leave the pair for a stated time, or come back from that.
    Maintenance,
    /// Resolve what holds this node.
    Recover,
    /// Leave the pair in order.
    Leave,
    /// Withdraw `leave`.
    Return,
    /// Read the configuration again.
    Reload,
    /// Release the addresses.
    Release,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 17] = [
        Verb::Status,
        Verb::Explain,
        Verb::IsActive,
        Verb::History,
        Verb::Calls,
        Verb::CloseCalls,
        Verb::Endpoints,
        Verb::Record,
        Verb::Failover,
        Verb::Switchover,
        Verb::Failback,
        Verb::Maintenance,
        Verb::Recover,
        Verb::Leave,
        Verb::Return,
        Verb::Reload,
        Verb::Release,
    ];

    /// As it is written on the socket and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Verb::Status => "status",
            Verb::Explain => "explain",
            Verb::IsActive => "is-active",
            Verb::History => "history",
            Verb::Calls => "calls",
            Verb::CloseCalls => "close-calls",
            Verb::Endpoints => "endpoints",
            Verb::Record => "record",
            Verb::Failover => "failover",
            Verb::Switchover => "switchover",
            Verb::Failback => "failback",
            Verb::Maintenance => "maintenance",
            Verb::Recover => "recover",
            Verb::Leave => "leave",
            Verb::Return => "return",
            Verb::Reload => "reload",
            Verb::Release => "release",
        }
    }

    /// It changes something: only root and the daemon's own user may ask for it.
    #[must_use]
    pub const fn changes(self) -> bool {
        match self {
            Verb::Status
            | Verb::Explain
            | Verb::IsActive
            | Verb::History
            | Verb::Calls
            | Verb::Endpoints => false,
            Verb::CloseCalls
            | Verb::Record
            | Verb::Failover
            | Verb::Switchover
            | Verb::Failback
            | Verb::Maintenance
            | Verb::Recover
            | Verb::Leave
            | Verb::Return
            | Verb::Reload
            | Verb::Release => true,
        }
    }
}

/// A request by a user that the kernel vouches for.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// The other members of the line.
    pub args: Map<String, Value>,
    /// Who asks (`SO_PEERCRED`, unix(7)).
    pub uid: u32,
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Done, or here it is.
    Done(Value),
    /// It cannot be done, and why.
    Refused(String),
    /// This user may not ask for it.
    Denied(String),
}

impl Request {
    /// Reads a line; checks that `uid` may ask for it of a daemon that runs as `own`.
    ///
    /// # Errors
    /// The reply that it deserves instead.
    pub fn read(line: &[u8], uid: u32, own: u32) -> Result<Request, Reply> {
        let mut args: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| Reply::Refused(format!("not one line with a JSON object: {error}")))?;
        let Some(Value::String(word)) = args.remove("verb") else {
            return Err(Reply::Refused("no \"verb\"".into()));
        };
        let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.word() == word) else {
            let known = Verb::ALL.map(Verb::word).join(", ");
            return Err(Reply::Refused(format!("unknown verb; known are: {known}")));
        };
        if verb.changes() && uid != 0 && uid != own {
            let who = if own == 0 { "root".to_owned() } else { format!("root or user id {own}") };
            return Err(Reply::Denied(format!(
                "{} is for {who}; this is user id {uid}",
                verb.word()
            )));
        }
        Ok(Request { verb, args, uid })
    }
}

impl Reply {
    /// As a line, with its end.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let value = match self {
            Reply::Done(data) => json!({ "ok": true, "data": data }),
            Reply::Refused(why) => json!({ "ok": false, "refused": why }),
            Reply::Denied(why) => json!({ "ok": false, "denied": why }),
        };
        let mut line = value.to_string().into_bytes();
        line.push(b'\n');
        line
    }

    /// Reads a line; `None` when it is no reply.
    #[must_use]
    pub fn from_line(line: &[u8]) -> Option<Reply> {
        let mut object: Map<String, Value> = serde_json::from_slice(line).ok()?;
        if object.get("ok")?.as_bool()? {
            return Some(Reply::Done(object.remove("data").unwrap_or(Value::Null)));
        }
        match (object.remove("refused"), object.remove("denied")) {
            (Some(Value::String(why)), None) => Some(Reply::Refused(why)),
            (None, Some(Value::String(why))) => Some(Reply::Denied(why)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str, uid: u32) -> Result<Request, Reply> {
        Request::read(line.as_bytes(), uid, 100)
    }

    #[test]
    fn anyone_reads_and_only_the_owner_changes() {
        for verb in Verb::ALL {
            let line = format!("{{\"verb\":\"{}\",\"json\":true}}", verb.word());
            for owner in [0, 100] {
                let request = read(&line, owner).unwrap();
                assert_eq!((request.verb, request.uid), (verb, owner));
                assert_eq!(request.args.get("json"), Some(&Value::Bool(true)));
                assert_eq!(request.args.len(), 1);
            }
            match read(&line, 1000) {
                Ok(request) => assert!(!verb.changes(), "{request:?}"),
                Err(Reply::Denied(_)) => assert!(verb.changes()),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn says_what_it_did_not_understand() {
        for line in ["", "[]", "{}", "{\"verb\":1}", "{\"verb\":\"Status\"}", "{\"verb\":\"\"}"] {
            assert!(matches!(read(line, 0), Err(Reply::Refused(_))), "{line}");
        }
    }

    #[test]
    fn replies_survive_the_way() {
        let replies = [
            Reply::Done(json!({"a": [1, null]})),
            Reply::Refused("x\ny".into()),
            Reply::Denied(String::new()),
        ];
        for reply in replies {
            let line = reply.to_line();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(Reply::from_line(&line), Some(reply));
        }
        assert_eq!(Reply::from_line(b"{\"ok\":false}"), None);
    }

    proptest! {
        #[test]
        fn hostile_lines_never_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::read(&line, 0, 0);
            let _ = Reply::from_line(&line);
        }
    }
}
