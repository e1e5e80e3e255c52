//! PURE  times in subtitle files, in milliseconds.

/// Hours of more digits than this are nonsense.
const MOST_DIGITS: usize = 5;

/// `00:00:01,000`, `00:01.5`, `0:00:01.50`, `00:00:01:000`.
pub(super) fn clock(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, fraction) = match text.rsplit_once([',', '.']) {
        Some(parts) => parts,
        None if text.matches(':').count() == 3 => text.rsplit_once(':')?,
        None => (text, "0"),
    };
    // One number alone could be anything, and so could more than three.
    if !(1..=2).contains(&whole.matches(':').count()) {
        return None;
    }
    let parts = whole.split(':').map(|part| digits(part.trim()));
    let total = parts.reduce(|total, part| Some(total? * 60 + part?))??;
    Some(total * 1000 + thousandths(fraction.trim())?)
}

/// A clock, or an offset as TTML writes it: `1.5s`, `1500ms`.
pub(super) fn offset(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(number) = text.strip_suffix("ms") {
        return number.parse().ok().filter(|ms| *ms < MOST_MS);
    }
    match text.strip_suffix('s') {
        Some(number) => {
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let whole: u64 = whole.parse().ok().filter(|s| *s < MOST_MS / 1000)?;
            Some(whole * 1000 + thousandths(fraction)?)
        }
        None => clock(text),
    }
}

/// A bit over ten years.
const MOST_MS: u64 = 360_000_000_000;

fn digits(text: &str) -> Option<u64> {
    let valid = (1..=MOST_DIGITS).contains(&text.len()) && is_digits(text);
    valid.then(|| text.parse().ok()).flatten()
}

/// `5` is 500, `50` is 500, `500` is 500, and so is `5009`.
fn thousandths(text: &str) -> Option<u64> {
    if text.is_empty() || !is_digits(text) {
        return None;
    }
    let three: String = text.chars().chain("00".chars()).take(3).collect();
    three.parse().ok()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_however_they_are_written() {
        for (text, expected) in [
            ("00:00:01,000", Some(1000)),
            ("00:00:01.250", Some(1250)),
            ("00:01.5", Some(1500)),
            ("1:02:03,4", Some(3_723_400)),
            ("0:00:01.50", Some(1500)),
            ("00:00:01:007", Some(1007)),
            ("100:00:00.0009", Some(360_000_000)),
            (" 00:00:01,000 ", Some(1000)),
            ("00:00:01", Some(1000)),
            ("99999:00:00,0", Some(359_996_400_000)),
            ("999999:00:00,0", None),
            ("01,000", None),
            ("99999:99999:99999:99999:99999:99999:99999:99999:99999:99999:99999:99999,0", None),
            ("00:00:01,", None),
            ("00:00:-1,000", None),
            ("a:b,c", None),
            ("", None),
        ] {
            assert_eq!(clock(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1.5s", Some(1500)),
            ("2s", Some(2000)),
            ("1500ms", Some(1500)),
            ("99999999999999999999s", None),
            ("999999999999999s", None),
            ("12t", None),
            ("00:00:01.5", Some(1500)),
        ] {
            assert_eq!(offset(text), expected, "{text}");
        }
    }
}
