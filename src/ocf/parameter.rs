//! The parameters of an agent: one table describes them to people and reads them from the
//! environment (`OCF_RESKEY_name`).

use std::path::PathBuf;
use std::time::Duration;

use super::code::{Answer, Code};
use crate::config::unit;

/// What a value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false` (also `yes`, `no`, `on`, `off`, `1`, `0`).
    Boolean,
}

impl Kind {
    /// The word of the metadata's `content type`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
        }
    }
}

/// One parameter, as the administrator reads of it and as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name, `[a-z_]`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Used when it is not given; `None`: it must be given.
    pub default: Option<&'static str>,
    /// Two resources may not have the same value.
    pub unique: bool,
    /// A change takes effect without a restart (`reload-agent`).
    pub reloadable: bool,
    /// A few words.
    pub short: &'static str,
    /// Sentences that an administrator understands.
    pub long: &'static str,
}

impl Parameter {
    /// A text that must be given; to be refined with `..`.
    pub const REQUIRED: Parameter = Parameter {
        name: "",
        kind: Kind::Text,
        default: None,
        unique: false,
        reloadable: false,
        short: "",
        long: "",
    };
}

/// Reads parameters, and remembers everything that is wrong with them.
pub struct Reader<'e> {
    environment: &'e dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

impl<'e> Reader<'e> {
    /// Reads from `environment`, which is asked for `OCF_RESKEY_…`.
    pub fn new(environment: &'e dyn Fn(&str) -> Option<String>) -> Reader<'e> {
        Reader { environment, wrong: Vec::new() }
    }

    /// What the cluster says beside the parameters; `None` when it does not, or nothing.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The value or its default; empty, and remembered as wrong, when it must be given and is not.
    /// The cluster passes a parameter that was deleted as an empty one.
    pub fn text(&mut self, parameter: &Parameter) -> String {
        let given = (self.environment)(&format!("OCF_RESKEY_{}", parameter.name));
        match given.filter(|value| !value.is_empty()).or(parameter.default.map(str::to_owned)) {
            Some(value) => value,
            None => {
                self.wrong.push(format!("{} is not given ({})", parameter.name, parameter.short));
                String::new()
            }
        }
    }

    /// The same, as an absolute path.
    pub fn path(&mut self, parameter: &Parameter) -> PathBuf {
        let path = PathBuf::from(self.text(parameter));
        if !path.as_os_str().is_empty() && !path.is_absolute() {
            self.refuse(parameter, &path.display(), "an absolute path");
        }
        path
    }

    /// The words of it, separated by spaces or commas.
    pub fn words(&mut self, parameter: &Parameter) -> Vec<String> {
        let text = self.text(parameter);
        let words = text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }

    /// Yes or no.
    pub fn flag(&mut self, parameter: &Parameter) -> bool {
        let text = self.text(parameter);
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" | "" => false,
            _ => {
                self.refuse(parameter, &text, "true or false");
                false
            }
        }
    }

    /// A whole number of `range`.
    pub fn integer(&mut self, parameter: &Parameter, range: std::ops::RangeInclusive<u32>) -> u32 {
        let text = self.text(parameter);
        match text.parse() {
            Ok(value) if range.contains(&value) => value,
            _ if text.is_empty() => *range.start(),
            _ => {
                let wanted = format!("a number from {} to {}", range.start(), range.end());
                self.refuse(parameter, &text, &wanted);
                *range.start()
            }
        }
    }

    /// A time with its unit ("250ms", "10s"); a bare number is seconds, as elsewhere in the cluster.
    pub fn time(&mut self, parameter: &Parameter) -> Duration {
        let text = self.text(parameter);
        if let Ok(seconds) = text.parse() {
            return Duration::from_secs(seconds);
        }
        unit::parse_time(&text).unwrap_or_else(|_| {
            if !text.is_empty() {
                self.refuse(parameter, &text, "a time such as 500ms, 10s or 2min");
            }
            Duration::ZERO
        })
    }

    /// Remembers that a value is wrong.
    pub fn refuse(&mut self, parameter: &Parameter, value: &dyn std::fmt::Display, wanted: &str) {
        self.wrong.push(format!("{} = \"{value}\" is not {wanted}", parameter.name));
    }

    /// Remembers something that is wrong with more than one value.
    pub fn wrong(&mut self, words: impl Into<String>) {
        self.wrong.push(words.into());
    }

    /// Everything that is wrong, at once.
    ///
    /// # Errors
    /// "Not configured properly" (6), with all of it as the reason.
    pub fn finish(self) -> Result<(), Answer> {
        match self.wrong.is_empty() {
            true => Ok(()),
            false => Err(Answer::new(Code::Configured, self.wrong.join("; "))),
        }
    }
}
