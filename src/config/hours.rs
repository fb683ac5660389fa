//! A part of the day, by the host's own clock: `"01:00-05:00"`.

use jiff::civil::Time;

/// From a time of day until another; over midnight when the second is the earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    from: Time,
    until: Time,
}

impl Hours {
    /// Is this time of day within them? The end is not.
    #[must_use]
    pub fn contains(&self, time: Time) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&time)
        } else {
            time >= self.from || time < self.until
        }
    }

    /// Reads `HH:MM-HH:MM`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Hours, String> {
        let example = "write two times of day, as in \"01:00-05:00\"";
        let read = |part: &str| Time::strptime("%H:%M", part.trim()).ok();
        let parts = text.split_once('-');
        let Some((Some(from), Some(until))) = parts.map(|(from, until)| (read(from), read(until)))
        else {
            return Err(format!("\"{text}\" is not a part of the day; {example}"));
        };
        if from == until {
            return Err(format!("\"{text}\" ends where it begins; {example}, or leave it out"));
        }
        Ok(Hours { from, until })
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.until.strftime("%H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    #[test]
    fn a_part_of_the_day_may_go_over_midnight() {
        let within = |hours: &str, hour, minute| {
            Hours::parse(hours).expect("valid").contains(time(hour, minute, 0, 0))
        };
        for (hour, minute, in_it) in [(0, 59, false), (1, 0, true), (4, 59, true), (5, 0, false)] {
            assert_eq!(within("01:00-05:00", hour, minute), in_it, "{hour}:{minute}");
        }
        for (hour, minute, in_it) in [(21, 59, false), (22, 0, true), (3, 0, true), (5, 30, false)]
        {
            assert_eq!(within("22:00-05:30", hour, minute), in_it, "{hour}:{minute}");
        }
    }

    #[test]
    fn what_is_no_part_of_the_day_is_told() {
        for wrong in
            ["", "night", "1-5", "25:00-05:00", "01:00", "01:00-01:00", "01:00-05:00-06:00"]
        {
            let told = Hours::parse(wrong).expect_err(wrong);
            assert!(told.contains("01:00-05:00"), "{told}");
        }
        assert_eq!(Hours::parse(" 01:00 - 05:00 ").expect("valid").to_string(), "01:00-05:00");
    }
}
