//! An agent described in XML, as `ra-api-1.dtd` and the Resource Agent API 1.1 want it.

use std::fmt::{self, Display, Formatter};

use super::Agent;
use super::action::{Action, Offer};
use super::parameter::Parameter;

/// `ra-api-1.dtd` is of version 1.0 of the interface; what 1.1 adds is declared here, so that the
/// document is valid against both.
const DOCTYPE: &str = r#"<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd" [
  <!ATTLIST parameter reloadable (1|0) "0">
  <!ATTLIST action name NMTOKEN #REQUIRED>
]>"#;

/// The metadata of an agent; its `Display` is what `meta-data` prints.
pub struct Metadata<'a>(pub &'a Agent);

impl Display for Metadata<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Agent { name, short, long, parameters, offers, .. } = self.0;
        writeln!(f, "<?xml version=\"1.0\"?>")?;
        writeln!(f, "{DOCTYPE}")?;
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "<resource-agent name=\"{name}\" version=\"{version}\">")?;
        writeln!(f, "  <version>1.1</version>")?;
        described(f, "  ", short, long)?;
        writeln!(f, "  <parameters>")?;
        for parameter in *parameters {
            self::parameter(f, parameter)?;
        }
        writeln!(f, "  </parameters>")?;
        writeln!(f, "  <actions>")?;
        for offer in *offers {
            self::offer(f, offer)?;
        }
        writeln!(f, "  </actions>")?;
        writeln!(f, "</resource-agent>")
    }
}

fn described(f: &mut Formatter<'_>, indent: &str, short: &str, long: &str) -> fmt::Result {
    writeln!(f, "{indent}<longdesc lang=\"en\">{}</longdesc>", Escaped(long))?;
    writeln!(f, "{indent}<shortdesc lang=\"en\">{}</shortdesc>", Escaped(short))
}

fn parameter(f: &mut Formatter<'_>, parameter: &Parameter) -> fmt::Result {
    let bit = |yes: bool| u8::from(yes);
    writeln!(
        f,
        "    <parameter name=\"{}\" unique=\"{}\" required=\"{}\" reloadable=\"{}\">",
        parameter.name,
        bit(parameter.unique),
        bit(parameter.default.is_none()),
        bit(parameter.reloadable)
    )?;
    described(f, "      ", parameter.short, parameter.long)?;
    write!(f, "      <content type=\"{}\"", parameter.kind.word())?;
    if let Some(default) = parameter.default {
        write!(f, " default=\"{}\"", Escaped(default))?;
    }
    writeln!(f, "/>")?;
    writeln!(f, "    </parameter>")
}

fn offer(f: &mut Formatter<'_>, offer: &Offer) -> fmt::Result {
    write!(f, "    <action name=\"{}\" timeout=\"{}s\"", offer.action.word(), offer.timeout)?;
    if offer.interval > 0 {
        write!(f, " interval=\"{}s\"", offer.interval)?;
    }
    if offer.action == Action::Monitor {
        write!(f, " depth=\"{}\"", offer.depth)?;
    }
    if !offer.role.is_empty() {
        write!(f, " role=\"{}\"", offer.role)?;
    }
    writeln!(f, "/>")
}

/// Text inside of XML.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|each| match each {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => write!(f, "{other}"),
        })
    }
}
