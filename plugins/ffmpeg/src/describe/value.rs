//! PURE  single values of ffprobe as metadata text; what is unknown or nonsense is `None`.

/// The longest short text, e.g. a title or the name of a codec, in bytes.
pub const MAX_TEXT: usize = 200;

/// Seconds with at most three decimals: `6.021000` becomes `6.021`.
#[must_use]
pub fn seconds(text: &str) -> Option<String> {
    number(text).filter(|seconds| *seconds >= 0.0).map(decimal)
}

/// A finite number, rounded to three decimals.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    (number.abs() < 1e12).then(|| (number * 1000.0).round() / 1000.0)
}

/// A number without needless zeros.
#[must_use]
pub fn decimal(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Seconds of a clock: `00:00:06.021000000` becomes `6.021`.
#[must_use]
pub fn clock(text: &str) -> Option<String> {
    let mut parts = text.trim().splitn(3, ':');
    let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
    let seconds = number(parts.next()?)?;
    let total = hours.mul_add(3600.0, minutes.mul_add(60.0, seconds));
    (total >= 0.0).then(|| decimal(total))
}

/// A fraction as a number: `24000/1001` becomes `23.976`; `0/0` is unknown.
#[must_use]
pub fn fraction(text: &str) -> Option<String> {
    let (above, below) = text.split_once('/')?;
    let value = number(above)? / number(below)?;
    (value.is_finite() && value > 0.0).then(|| decimal(value))
}

/// A whole number over zero.
#[must_use]
pub fn whole(text: &str) -> Option<String> {
    text.trim().parse().ok().filter(|number: &u64| *number > 0).map(|number| number.to_string())
}

/// A short text; `unknown`, as ffprobe says, and nothing are nothing.
#[must_use]
pub fn text_opt(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty() && text != "unknown").then(|| cut(text, MAX_TEXT))
}

/// The first `most` bytes or a little less, so that no character is cut; without control
/// characters but for line ends.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    let text = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Convert = fn(&str) -> Option<String>;

    #[test]
    fn values_are_written_as_documented() {
        let table: &[(Convert, &str, Option<&str>)] = &[
            (seconds, "6.021000", Some("6.021")),
            (seconds, "7200.000000", Some("7200")),
            (seconds, "0", Some("0")),
            (seconds, "-1", None),
            (seconds, "N/A", None),
            (seconds, "nan", None),
            (seconds, "inf", None),
            (seconds, "1e300", None),
            (clock, "00:00:06.021000000", Some("6.021")),
            (clock, "01:02:03", Some("3723")),
            (clock, "06.021", None),
            (clock, "a:b:c", None),
            (fraction, "24000/1001", Some("23.976")),
            (fraction, "25/1", Some("25")),
            (fraction, "0/0", None),
            (fraction, "1/0", None),
            (fraction, "25", None),
            (whole, "48000", Some("48000")),
            (whole, "0", None),
            (whole, "-5", None),
            (whole, "99999999999999999999999", None),
        ];
        for (convert, text, expected) in table {
            assert_eq!(convert(text).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        for (text, expected) in [
            ("short", "short"),
            ("123456789", "12345678"),
            ("1234567é", "1234567"),
            ("a\0b\n", "a b\n"),
        ] {
            assert_eq!(cut(text, 8), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_converted_without_a_panic(text in ".*") {
            for convert in [seconds, clock, fraction, whole] {
                prop_assert!(convert(&text).is_none_or(|value| value.len() < 30));
            }
        }
    }
}
