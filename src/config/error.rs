//! What is wrong in a configuration file: everything, with the place and what to write instead.

use std::cell::RefCell;
use std::fmt;

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Line, from 1, and column in characters, from 1; `None` when the file as a whole is meant.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Every mistake of one file, in the order of its lines.
///
/// Displayed as one line each: `duotone.toml:12:9: interval: "50" has no unit; write "50ms"`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Errors {
    /// The file, as the user named it.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            match problem.place {
                Some((line, column)) => {
                    write!(f, "{newline}{}:{line}:{column}: {}", self.file, problem.message)?;
                }
                None => write!(f, "{newline}{}: {}", self.file, problem.message)?,
            }
        }
        Ok(())
    }
}

/// Collects mistakes while a file is read, so that one mistake does not hide the next.
pub(super) struct Report<'t> {
    text: &'t str,
    found: RefCell<Vec<(usize, String)>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Report<'t> {
        Report { text, found: RefCell::new(Vec::new()) }
    }

    /// Notes a mistake at a byte offset of the text.
    pub(super) fn at(&self, offset: usize, message: impl Into<String>) {
        self.found.borrow_mut().push((offset, message.into()));
    }

    /// How many mistakes there are so far.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// All of them, or `value` if there are none.
    pub(super) fn finish<T>(self, file: &str, value: Option<T>) -> Result<T, Errors> {
        let mut found = self.found.into_inner();
        found.sort();
        found.dedup();
        match value {
            Some(value) if found.is_empty() => Ok(value),
            _ => Err(Errors {
                file: file.to_owned(),
                problems: found
                    .into_iter()
                    .map(|(offset, message)| Problem {
                        place: Some(place(self.text, offset)),
                        message,
                    })
                    .collect(),
            }),
        }
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    // An offset inside a character would be the parser's mistake; the nearest start will do.
    let end = (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// `; did you mean "x"?` for the nearest of `known`, or nothing when none is near.
pub(super) fn suggestion<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    known
        .into_iter()
        .map(|word| (distance(wrong, word), word))
        .filter(|&(distance, word)| {
            distance <= (word.len() / 3).max(1) || letters(wrong) == letters(word)
        })
        .min()
        .map_or(String::new(), |(_, word)| format!("; did you mean \"{word}\"?"))
}

/// Sorted: two swapped letters are one slip, however far apart Levenshtein puts them.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Levenshtein distance without regard to case.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.to_lowercase(), right.to_lowercase());
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.chars().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if l == r { diagonal } else { 1 + diagonal.min(above).min(row[j]) };
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_from_one() {
        assert_eq!(place("abc", 0), (1, 1));
        assert_eq!(place("a\nbü x", 6), (2, 4));
        assert_eq!(place("a\n", 99), (2, 1));
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["interval", "lost_after", "late_after"];
        assert_eq!(suggestion("intervall", known), "; did you mean \"interval\"?");
        assert_eq!(suggestion("Lost_After", known), "; did you mean \"lost_after\"?");
        assert_eq!(suggestion("colour", known), "");
    }
}
