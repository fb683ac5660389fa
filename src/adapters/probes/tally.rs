//! Counts answers in a row until they mean something.

use super::Answer;
use crate::protocol::health::Grade;

/// Counts answers in a row until they mean something.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    rise: u32,
    fall: u32,
    good: u32,
    bad: u32,
    not_run: u32,
    grade: Grade,
}

impl Tally {
    /// Nothing known yet.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Tally { rise, fall, good: 0, bad: 0, not_run: 0, grade: Grade::Unknown }
    }

    /// What the answers so far mean.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Takes one more answer: `rise` good ones in a row make it good, `fall` bad ones failed, and
    /// after `fall` questions in a row that could not be asked, what was known is out of date.
    pub fn take(&mut self, answer: &Answer) -> Grade {
        match answer {
            Answer::Good(_) => {
                (self.good, self.bad, self.not_run) = (self.good.saturating_add(1), 0, 0);
                if self.good >= self.rise {
                    self.grade = Grade::Good;
                }
            }
            Answer::Bad(_) => {
                (self.good, self.bad, self.not_run) = (0, self.bad.saturating_add(1), 0);
                if self.bad >= self.fall {
                    self.grade = Grade::Failed;
                }
            }
            Answer::CouldNotRun(_) => {
                self.not_run = self.not_run.saturating_add(1);
                if self.not_run >= self.fall {
                    (self.good, self.bad, self.grade) = (0, 0, Grade::Unknown);
                }
            }
        }
        self.grade
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::adapters::probes::{Bad, CouldNotRun};
    use Grade::{Failed, Good, Unknown};

    const YES: Answer = Answer::Good(Duration::ZERO);
    const NO: Answer = Answer::Bad(Bad::Refused);
    const NOT_RUN: Answer = Answer::CouldNotRun(CouldNotRun::NoRandom);

    fn grades(rise: u32, fall: u32, answers: &[Answer]) -> Vec<Grade> {
        let mut tally = Tally::new(rise, fall);
        answers.iter().map(|answer| tally.take(answer)).collect()
    }

    #[test]
    fn counts_in_a_row() {
        assert_eq!(
            grades(1, 3, &[YES, NO, NO, YES, NO, NO, NO, YES]),
            [Good, Good, Good, Good, Good, Good, Failed, Good]
        );
        assert_eq!(grades(2, 1, &[YES, NO, YES, YES]), [Unknown, Failed, Failed, Good]);
        assert_eq!(grades(0, 0, &[NO, YES]), [Failed, Good]);
    }

    #[test]
    fn not_asked_is_not_bad() {
        assert_eq!(
            grades(1, 2, &[YES, NOT_RUN, NOT_RUN, NO, NO]),
            [Good, Good, Unknown, Unknown, Failed]
        );
        // One missed question neither counts as bad nor forgives the bad one before it.
        assert_eq!(grades(1, 2, &[YES, NO, NOT_RUN, NO]), [Good, Good, Good, Failed]);
    }
}
