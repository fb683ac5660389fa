//! What somebody outside of this host was asked last, and what it answered: a row of `status` and a
//! line of `explain`.

use serde_json::{Value, json};

use super::explain::span;
use super::status::ms;
use crate::adapters::probes::Answer;
use crate::protocol::health::Grade;
use crate::protocol::time::Instant;

/// One question that is asked again and again.
#[derive(Clone, Debug)]
pub struct Asked {
    /// For people.
    pub name: String,
    /// What is asked.
    pub what: String,
    /// What the answers so far mean.
    pub grade: Grade,
    /// The last one, and when it came.
    pub last: Option<(Instant, Answer)>,
    /// What is wrong with the question itself.
    pub warning: Option<&'static str>,
}

impl Asked {
    /// Not asked yet.
    pub fn nothing(name: String, what: String) -> Asked {
        Asked { name, what, grade: Grade::Unknown, last: None, warning: None }
    }

    /// For `status`.
    pub fn data(&self, now: Instant) -> Value {
        json!({
            "name": self.name,
            "asks": self.what,
            "grade": word(self.grade),
            "answer": self.last.as_ref().map(|(_, answer)| answer.to_string()),
            "asked_ms": self.last.as_ref().map(|(at, _)| ms(now, *at)),
            "warning": self.warning,
        })
    }

    /// For `explain`.
    pub fn line(&self, now: Instant) -> String {
        let answer = match &self.last {
            None => "not answered yet".to_owned(),
            Some((at, answer)) => format!("{answer}, {} ago", span(now.since(*at))),
        };
        let warning = self.warning.map_or(String::new(), |warning| format!("; {warning}"));
        format!("{}: {answer} ({}){warning}", self.name, word(self.grade))
    }
}

/// As people and programs read it.
pub fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "good",
        Grade::Unknown => "unknown",
        Grade::Failed => "failed",
    }
}
