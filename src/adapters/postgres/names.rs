//! How the two servers call each other: application names, `synchronous_standby_names`,
//! `primary_conninfo`.

use crate::config::Postgres;

/// `NAMEDATALEN` less the terminating zero.
const NAME_MAX: usize = 63;

/// A node's name as an application name: printable, short enough not to be cut by the server.
pub(super) fn application_name(node: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    node.chars().map(allowed).take(NAME_MAX).collect()
}

/// What a commit waits for, by the server's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// Nobody.
    ForNobody,
    /// This one standby.
    For(String),
    /// Something else: several standbys, any one, or a list that is not understood.
    ForOthers,
}

impl Waits {
    /// Reads `synchronous_standby_names` and `synchronous_commit`.
    pub(super) fn parse(standby_names: &str, synchronous_commit: &str) -> Waits {
        let names = standby_names.trim();
        if names.is_empty() || matches!(synchronous_commit, "off" | "local") {
            return Waits::ForNobody;
        }
        let list = match names.split_once('(') {
            Some((method, rest)) => {
                let method = method.to_ascii_uppercase();
                let number = match method.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                    ["FIRST" | "ANY", number] | [number] => number,
                    _ => return Waits::ForOthers,
                };
                match rest.trim_end().strip_suffix(')') {
                    Some(list) if number == "1" => list.trim(),
                    Some(_) | None => return Waits::ForOthers,
                }
            }
            None => names,
        };
        match list.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(name) if !name.replace("\"\"", "").contains('"') => {
                Waits::For(name.replace("\"\"", "\""))
            }
            Some(_) => Waits::ForOthers,
            None if list.chars().all(|c| c.is_alphanumeric() || "_$".contains(c)) => {
                Waits::For(list.to_owned())
            }
            None => Waits::ForOthers,
        }
    }

    /// The value of `synchronous_standby_names` that makes commits wait for this standby alone.
    pub(super) fn setting_for(name: &str) -> String {
        format!("FIRST 1 (\"{}\")", name.replace('"', "\"\""))
    }

    /// It waits for exactly this standby. (The server compares names without regard to case.)
    pub(super) fn is_for(&self, name: &str) -> bool {
        matches!(self, Waits::For(one) if one.eq_ignore_ascii_case(name))
    }
}

/// The connection string with which this node's server follows the peer's.
pub(super) fn primary_conninfo(postgres: &Postgres, own_name: &str) -> String {
    let mut conninfo = format!(
        // A peer that lost power sends no reset: notice it by keepalives, not after two hours.
        "host={} port={} user={} application_name={} connect_timeout=2 \
         keepalives_idle=2 keepalives_interval=1 keepalives_count=3",
        postgres.peer_host,
        postgres.port,
        quoted(&postgres.replication_user),
        quoted(own_name),
    );
    if let Some(passfile) = &postgres.passfile {
        conninfo.push_str(" passfile=");
        conninfo.push_str(&quoted(&passfile.to_string_lossy()));
    }
    conninfo
}

/// A value in a connection string (libpq, "Keyword/Value Connection Strings").
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::{Waits, application_name};

    #[test]
    fn what_commits_wait_for() {
        let one = |name: &str| Waits::For(name.to_owned());
        for (names, expected) in [
            ("", Waits::ForNobody),
            ("  ", Waits::ForNobody),
            ("pbx_b", one("pbx_b")),
            ("\"pbx-b\"", one("pbx-b")),
            ("FIRST 1 (\"pbx-b\")", one("pbx-b")),
            ("any 1 ( pbx_b )", one("pbx_b")),
            ("1 (\"a\"\"b\")", one("a\"b")),
            ("*", Waits::ForOthers),
            ("a, b", Waits::ForOthers),
            ("\"a\", \"b\"", Waits::ForOthers),
            ("FIRST 1 (\"a\", \"b\")", Waits::ForOthers),
            ("FIRST 2 (a)", Waits::ForOthers),
            ("FIRST 1 (a", Waits::ForOthers),
        ] {
            assert_eq!(Waits::parse(names, "on"), expected, "{names}");
        }
        assert_eq!(Waits::parse("a", "local"), Waits::ForNobody);
        assert_eq!(Waits::parse("a", "remote_apply"), one("a"));
    }

    #[test]
    fn a_setting_is_understood_again() {
        for name in ["pbx-b", "a\"b", "PBX.B"] {
            assert!(Waits::parse(&Waits::setting_for(name), "on").is_for(name), "{name}");
        }
        assert!(one_of_another_case());
        assert_eq!(application_name("pbx b/ü"), "pbx_b__");
        assert_eq!(application_name(&"x".repeat(99)).len(), 63);
    }

    fn one_of_another_case() -> bool {
        Waits::parse("pbx", "on").is_for("PBX")
    }
}
