//! A TOML document read section by section: every getter notes what is wrong with its value, and
//! `close` notes the keys that nobody asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::error::{Report, suggestion};
use super::unit::{parse_size, parse_time};

/// A value and the byte offset where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

/// One text for both nodes, or one for each.
pub(super) enum PerNode<'t> {
    /// For both.
    Both(At<&'t str>),
    /// By the name of the node.
    Each(Vec<(At<&'t str>, At<&'t str>)>),
}

/// One table of the document.
pub(super) struct Section<'t> {
    /// As the user sees it: `[pair]`, `[[link]]`.
    title: String,
    /// Where its header stands.
    pub(super) offset: usize,
    table: Option<&'t DeTable<'t>>,
    report: &'t Report<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The document's outermost table.
    pub(super) fn document(table: &'t Spanned<DeTable<'t>>, report: &'t Report<'t>) -> Section<'t> {
        let table = Some(table.get_ref());
        Section { title: "the file".to_owned(), offset: 0, table, report, asked: Vec::new() }
    }

    /// As the user sees it.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Notes a mistake in this section as a whole.
    pub(super) fn wrong(&self, message: &str) {
        self.report.at(self.offset, format!("{}: {message}", self.title));
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// A text that is judged elsewhere.
    pub(super) fn peek(&self, key: &str) -> Option<&'t str> {
        match self.table?.get(key)?.get_ref() {
            DeValue::String(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// Passes over a key that is judged elsewhere; tells whether it is there.
    pub(super) fn skip(&mut self, key: &'static str) -> bool {
        self.asked.push(key);
        self.has(key)
    }

    fn raw(&mut self, key: &'static str) -> Option<(&'t DeValue<'t>, usize)> {
        self.asked.push(key);
        let value = self.table?.get(key)?;
        Some((value.get_ref(), value.span().start))
    }

    /// Notes that `key` is missing, with an example of what to write.
    pub(super) fn missing(&self, key: &str, example: &str) {
        self.wrong(&format!("{key} is missing; write {key} = {example}"));
    }

    fn mismatch(&self, key: &str, offset: usize, wanted: &str, found: &DeValue<'_>) {
        self.report.at(offset, format!("{key}: {} is not {wanted}", shown(found)));
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<At<&'t str>> {
        match self.raw(key)? {
            (DeValue::String(value), offset) => Some(At { value: value.as_ref(), offset }),
            (other, offset) => {
                let wanted = format!("text; write {key} = \"…\"");
                self.mismatch(key, offset, &wanted, other);
                None
            }
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.raw(key) {
            Some((DeValue::Boolean(value), _)) => *value,
            Some((other, offset)) => {
                self.mismatch(key, offset, "true or false; write it without quotes", other);
                default
            }
            None => default,
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(&mut self, key: &'static str, least: u32, most: u32) -> Option<At<u32>> {
        let (value, offset) = self.raw(key)?;
        if let DeValue::Integer(digits) = value {
            let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
            if let Some(value) = number.and_then(|n| u32::try_from(n).ok())
                && (least..=most).contains(&value)
            {
                return Some(At { value, offset });
            }
        }
        self.mismatch(key, offset, &format!("a whole number from {least} to {most}"), value);
        None
    }

    /// A time with its unit.
    pub(super) fn time(&mut self, key: &'static str) -> Option<At<Duration>> {
        match self.raw(key)? {
            (DeValue::String(value), offset) => match parse_time(value) {
                Ok(value) => Some(At { value, offset }),
                Err(why) => {
                    self.report.at(offset, format!("{key}: {why}"));
                    None
                }
            },
            (DeValue::Integer(value), offset) => {
                self.report.at(
                    offset,
                    format!("{key}: {value} has no unit; write \"{}ms\"", value.as_str()),
                );
                None
            }
            (other, offset) => {
                self.mismatch(
                    key,
                    offset,
                    "a time; write a number and a unit, as in \"50ms\"",
                    other,
                );
                None
            }
        }
    }

    /// A time, or `default`.
    pub(super) fn time_or(&mut self, key: &'static str, default: Duration) -> Duration {
        self.time(key).map_or(default, |at| at.value)
    }

    /// A number of bytes with its unit.
    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        let At { value, offset } = self.text(key)?;
        match parse_size(value) {
            Ok(bytes) => Some(bytes),
            Err(why) => {
                self.report.at(offset, format!("{key}: {why}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|&(_, value)| value);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            let near = suggestion(text.value, all.iter().copied());
            let wrong = format!(
                "{key}: unknown value \"{}\"; write one of \"{}\"{near}",
                text.value,
                all.join("\", \"")
            );
            self.report.at(text.offset, wrong);
        }
        found
    }

    /// An absolute path.
    pub(super) fn path(&mut self, key: &'static str) -> Option<At<PathBuf>> {
        let At { value, offset } = self.text(key)?;
        if !value.starts_with('/') || value.contains('\0') {
            let wrong =
                format!("{key}: \"{value}\" is not a whole path; write it from the root, \"/…\"");
            self.report.at(offset, wrong);
            return None;
        }
        Some(At { value: PathBuf::from(value), offset })
    }

    /// A path, or `default`.
    pub(super) fn path_or(&mut self, key: &'static str, default: &str) -> PathBuf {
        self.path(key).map_or_else(|| PathBuf::from(default), |at| at.value)
    }

    /// A list of texts; `None` when the key is absent.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<At<&'t str>>> {
        let (value, offset) = self.raw(key)?;
        let DeValue::Array(items) = value else {
            self.mismatch(key, offset, &format!("a list; write {key} = [\"…\"]"), value);
            return Some(Vec::new());
        };
        let mut found = Vec::new();
        for item in items.iter() {
            let offset = item.span().start;
            match item.get_ref() {
                DeValue::String(value) => found.push(At { value: value.as_ref(), offset }),
                other => self.mismatch(key, offset, "text; write it in quotes", other),
            }
        }
        Some(found)
    }

    /// Whether the key's value is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_some_and(|value| matches!(value.get_ref(), DeValue::Array(_)))
    }

    /// A text, or a list of texts; nothing when the key is absent.
    pub(super) fn one_or_more(&mut self, key: &'static str) -> Vec<At<&'t str>> {
        match self.is_list(key) {
            true => self.texts(key).unwrap_or_default(),
            false => self.text(key).into_iter().collect(),
        }
    }

    /// A table of texts, such as one address per node, in the order of the file; `None` when
    /// absent.
    pub(super) fn pairs(&mut self, key: &'static str) -> Option<Vec<(At<&'t str>, At<&'t str>)>> {
        let (value, offset) = self.raw(key)?;
        let DeValue::Table(table) = value else {
            self.mismatch(
                key,
                offset,
                &format!("a table; write {key} = {{ name = \"…\" }}"),
                value,
            );
            return Some(Vec::new());
        };
        Some(self.texts_by_name(key, table))
    }

    fn texts_by_name(&self, key: &str, table: &'t DeTable<'t>) -> Vec<(At<&'t str>, At<&'t str>)> {
        let mut found = Vec::new();
        for (name, value) in table.iter() {
            let offset = value.span().start;
            match value.get_ref() {
                DeValue::String(text) => found.push((
                    At { value: name.get_ref().as_ref(), offset: name.span().start },
                    At { value: text.as_ref(), offset },
                )),
                other => self.mismatch(key, offset, "text; write it in quotes", other),
            }
        }
        found.sort_by_key(|(name, _)| name.offset);
        found
    }

    /// A text, or a table of one text per node.
    pub(super) fn per_node(&mut self, key: &'static str) -> Option<PerNode<'t>> {
        let (value, offset) = self.raw(key)?;
        self.one_or_each(key, value, offset)
    }

    /// A table in which each value is a text, or a table of one text per node, in the order of the
    /// file.
    pub(super) fn options(&mut self, key: &'static str) -> Vec<(At<&'t str>, PerNode<'t>)> {
        let Some((value, offset)) = self.raw(key) else { return Vec::new() };
        let DeValue::Table(table) = value else {
            let wanted = format!("a table; write {key} = {{ name = \"…\" }}");
            self.mismatch(key, offset, &wanted, value);
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in table.iter() {
            let at = At { value: name.get_ref().as_ref(), offset: name.span().start };
            let given = self.one_or_each(at.value, value.get_ref(), value.span().start);
            found.extend(given.map(|given| (at, given)));
        }
        found.sort_by_key(|(name, _)| name.offset);
        found
    }

    fn one_or_each(&self, key: &str, value: &'t DeValue<'t>, offset: usize) -> Option<PerNode<'t>> {
        match value {
            DeValue::String(text) => Some(PerNode::Both(At { value: text.as_ref(), offset })),
            DeValue::Table(table) => Some(PerNode::Each(self.texts_by_name(key, table))),
            other => {
                let wanted = "text; write it in quotes, or { NODE = \"…\", NODE = \"…\" }";
                self.mismatch(key, offset, wanted, other);
                None
            }
        }
    }

    /// The section `[key]`; absent ones are `None`.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'t>> {
        let (value, offset) = self.raw(key)?;
        let title = format!("[{key}]");
        match value {
            DeValue::Table(table) => Some(self.part(title, offset, Some(table))),
            other => {
                let hint = if matches!(other, DeValue::Array(_)) {
                    ", once and with one bracket"
                } else {
                    ""
                };
                self.report.at(offset, format!("{key} is a section; write [{key}]{hint}"));
                // An empty part would report every required key as missing on top of this.
                None
            }
        }
    }

    /// The sections `[[key]]`, also written as a list of inline tables.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'t>> {
        let Some((value, offset)) = self.raw(key) else { return Vec::new() };
        let title = format!("[[{key}]]");
        let DeValue::Array(items) = value else {
            self.report
                .at(offset, format!("{key} is repeated; write [[{key}]], with two brackets"));
            return match value {
                DeValue::Table(table) => vec![self.part(title, offset, Some(table))],
                _ => Vec::new(),
            };
        };
        let mut found = Vec::new();
        for item in items.iter() {
            let offset = item.span().start;
            match item.get_ref() {
                DeValue::Table(table) => found.push(self.part(title.clone(), offset, Some(table))),
                other => self.mismatch(key, offset, "a table; write { … }", other),
            }
        }
        found
    }

    /// The same section under another title.
    pub(super) fn titled(self, title: &str) -> Section<'t> {
        Section { title: title.to_owned(), ..self }
    }

    /// This section's place and report with no keys in it, for a section that may be left out.
    pub(super) fn absent(&self, title: &str) -> Section<'t> {
        self.part(title.to_owned(), self.offset, None)
    }

    fn part(&self, title: String, offset: usize, table: Option<&'t DeTable<'t>>) -> Section<'t> {
        Section { title, offset, table, report: self.report, asked: Vec::new() }
    }

    /// Notes every key that nobody asked for.
    pub(super) fn close(self) {
        let Some(table) = self.table else { return };
        let title =
            if self.title.starts_with('[') { format!("{}: ", self.title) } else { String::new() };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let near = match suggestion(name, self.asked.iter().copied()) {
                    near if near.is_empty() => format!("; known here: {}", self.asked.join(", ")),
                    near => near,
                };
                self.report.at(key.span().start, format!("{title}unknown key \"{name}\"{near}"));
            }
        }
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The text at `section`.`key` of a file that may be wrong elsewhere; `None` if it is not there.
pub(super) fn lenient_text(text: &str, section: &str, key: &str) -> Option<String> {
    let document: BTreeMap<String, Value> = toml::from_str(text).ok()?;
    document.get(section)?.get(key)?.as_str().map(str::to_owned)
}
