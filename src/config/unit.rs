//! Times with their unit: `"50ms"`, read and written; sizes with theirs: `"512MiB"`, read.

use std::time::Duration;

/// The longest time that the configuration accepts; it keeps sums far from overflow.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

const UNITS: [(&str, u64); 5] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a time such as `50ms`, `1.5s`, `2min`.
///
/// # Errors
/// A sentence that says what is wrong with it and what to write instead.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
    if number.is_empty() {
        return Err(format!("\"{text}\" is not a time; write a number and a unit, as in \"50ms\""));
    }
    if unit.is_empty() {
        return Err(format!("\"{text}\" has no unit; write \"{number}ms\""));
    }
    let Some(&(_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let better = better_unit(unit)
            .map_or("us, ms, s, min or h after the number".to_owned(), |u| {
                format!("\"{number}{u}\"")
            });
        return Err(format!("\"{text}\" has the unknown unit \"{unit}\"; write {better}"));
    };
    let whole = scaled(number, nanos)
        .ok_or_else(|| format!("\"{text}\" is not a number and a unit; write it as in \"50ms\""))?;
    let time = Duration::from_nanos(whole);
    if time > LONGEST {
        return Err(format!("\"{text}\" is too long; write at most \"24h\""));
    }
    Ok(time)
}

const SIZES: [(&str, u32); 4] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)];

/// Reads a size such as `512MiB`.
///
/// # Errors
/// A sentence that says what is wrong with it and what to write instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, shift)) = SIZES.iter().find(|(name, _)| *name == unit.trim()) else {
        let number = if number.is_empty() { "512" } else { number };
        return Err(format!(
            "\"{text}\" is not a size in B, KiB, MiB or GiB; write it as in \"{number}MiB\""
        ));
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("\"{text}\" is not a whole number of bytes; write \"512MiB\""))
}

/// Writes a time with the largest unit that needs at most three decimals: `250ms`, `2.4s`.
pub fn time(span: Duration) -> String {
    let nanos = span.as_nanos();
    let (unit, size) = match nanos {
        0 => return "0s".to_owned(),
        n if n < 1_000_000 => ("us", 1_000),
        n if n < 1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000u128),
    };
    // Rounded up: a bound that is printed and written into the file must still hold.
    let thousandths = (nanos * 1000).div_ceil(size);
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    let decimals = format!("{rest:03}");
    match decimals.trim_end_matches('0') {
        "" => format!("{whole}{unit}"),
        decimals => format!("{whole}.{decimals}{unit}"),
    }
}

/// `number` × `nanos`, exactly; `None` unless it is a plain decimal number that fits.
fn scaled(number: &str, nanos: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let mut total = whole.checked_mul(nanos)?;
    if !fraction.is_empty() {
        let digits: u128 = fraction.parse::<u64>().ok()?.into();
        let part = digits * u128::from(nanos) / 10u128.pow(fraction.len() as u32);
        total = total.checked_add(part as u64)?;
    }
    Some(total)
}

fn better_unit(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" | "ms" => Some("ms"),
        "sec" | "secs" | "second" | "seconds" | "s" => Some("s"),
        "usec" | "micros" | "microseconds" | "µs" | "us" => Some("us"),
        "m" | "mins" | "minute" | "minutes" | "min" => Some("min"),
        "hour" | "hours" | "hr" | "h" => Some("h"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, nanos) in [
            ("50ms", 50_000_000),
            ("1.5s", 1_500_000_000),
            ("2 min", 120_000_000_000),
            ("0s", 0),
            ("250us", 250_000),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn a_wrong_time_says_what_to_write() {
        for (text, wanted) in [
            ("50", "write \"50ms\""),
            ("50msec", "write \"50ms\""),
            ("5m", "write \"5min\""),
            ("5parsec", "us, ms, s, min or h"),
            ("fast", "not a time"),
            ("-1s", "not a time"),
            ("1.2.3s", "not a number"),
            ("25h", "at most \"24h\""),
            ("99999999999999999999s", "not a number"),
        ] {
            let error = parse_time(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read_and_a_wrong_one_says_what_to_write() {
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("0B"), Ok(0));
        assert!(parse_size("512").expect_err("no unit").contains("write it as in \"512MiB\""));
        assert!(parse_size("512M").expect_err("no unit").contains("B, KiB, MiB or GiB"));
        assert!(parse_size("99999999999999GiB").is_err());
        assert!(parse_size("GiB").is_err());
    }

    #[test]
    fn a_written_time_is_read_as_no_less() {
        for nanos in [0, 1, 999, 1_001, 250_000_000, 66_100_001, 2_400_000_000, 3_600_000_000_001] {
            let span = Duration::from_nanos(nanos);
            let again = parse_time(&time(span)).expect("own format");
            assert!(again >= span, "{span:?} became {again:?}");
        }
        assert_eq!(time(Duration::from_millis(2400)), "2.4s");
        assert_eq!(time(Duration::from_millis(250)), "250ms");
    }
}
