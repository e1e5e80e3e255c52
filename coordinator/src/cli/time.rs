//! Times as people write and read them; pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The text is no length of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` must be a number and a unit, e.g. 90s, 5m, 2h or 1d")]
pub(crate) struct InvalidDuration(String);

/// Reads `500ms`, `90s`, `5m`, `2h`, `1d`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(invalid()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(invalid)
}

/// As [`duration`], for what must take some time.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    let length = duration(text).map_err(|error| error.to_string())?;
    if length.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(length) }
}

/// A length of time in two units at most, e.g. `1h 2m` or `1.2s`.
pub(crate) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    if (1..10).contains(&seconds) {
        return format!("{seconds}.{}s", length.subsec_millis() / 100);
    }
    let units = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m")];
    let shown: Vec<String> = units
        .into_iter()
        .chain([(seconds % 60, "s")])
        .skip_while(|(number, _)| *number == 0)
        .take(2)
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if shown.is_empty() { format!("{}ms", length.subsec_millis()) } else { shown.join(" ") }
}

/// How long ago a time on the wire was, as seen at `now`; the text itself if it is none.
pub(crate) fn ago(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => {
            let passed = now.duration_since(at).max(SignedDuration::ZERO);
            format!("{} ago", span(passed.unsigned_abs()))
        }
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written() {
        for (text, seconds, written) in [
            ("90", 90, "1m 30s"),
            ("5m", 300, "5m"),
            ("2h", 7200, "2h"),
            ("1d", 86_400, "1d"),
            ("3600s", 3600, "1h"),
            ("90061s", 90_061, "1d 1h"),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(span(Duration::from_secs(seconds)), written, "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span(Duration::from_millis(250)), "250ms");
        assert_eq!(span(Duration::from_millis(1290)), "1.2s");
        for text in ["", "m", "5 m", "-1s", "1w", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(some_time("0s").is_err() && some_time("1ms").is_ok());
    }

    #[test]
    fn the_past_is_told_from_now() {
        let now: Timestamp = "2026-01-01T00:01:30Z".parse().unwrap();
        for (at, told) in [
            ("2026-01-01T00:00:00Z", "1m 30s ago"),
            ("2026-01-01T00:02:00Z", "0ms ago"),
            ("junk", "junk"),
        ] {
            assert_eq!(ago(at, now), told);
        }
    }
}
