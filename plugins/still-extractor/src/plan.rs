//! PURE  What the operator wants, and at which times of a video.

use std::ffi::OsString;
use std::ops::RangeInclusive;

use worker_sdk::Settings;

/// How many stills may be asked for.
const COUNT: RangeInclusive<u32> = 1..=20;
/// How wide they may be, in pixels.
const WIDTH: RangeInclusive<u32> = 64..=1920;
/// How good JPEG may be.
const QUALITY: RangeInclusive<u32> = 1..=100;

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Stills of one video.
    pub count: u32,
    /// The width of each in pixels, unless the video is narrower.
    pub width: u32,
    /// From 1 to 100.
    pub quality: u32,
    /// The program.
    pub ffmpeg: OsString,
}

/// A setting is not what it must be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{name}` must be a whole number from {} to {}", allowed.start(), allowed.end())]
pub struct OutOfBounds {
    name: &'static str,
    allowed: RangeInclusive<u32>,
}

impl Wanted {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] for the first that is not what it must be.
    pub fn of(settings: &Settings) -> Result<Self, OutOfBounds> {
        let number = |name, default, allowed: RangeInclusive<u32>| {
            let given = settings.get(name).map_or(Some(default), |value| whole(value.as_f64()?));
            let fits = given.filter(|number| allowed.contains(number));
            fits.ok_or(OutOfBounds { name, allowed })
        };
        Ok(Self {
            count: number("count", 3, COUNT)?,
            width: number("width", 640, WIDTH)?,
            quality: number("quality", 80, QUALITY)?,
            ffmpeg: program(settings),
        })
    }
}

/// A JSON number that has no fraction, also written as `3.0`; forms and tools write either.
fn whole(number: f64) -> Option<u32> {
    if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { None }
}

fn program(settings: &Settings) -> OsString {
    let given = settings.get("ffmpeg").and_then(|value| value.as_str()).unwrap_or_default().trim();
    if given.is_empty() { "ffmpeg".into() } else { given.into() }
}

/// The times to look at, in seconds: the middles of equal parts, one for each second of video at
/// most. A video whose length is not known is looked at where it begins.
#[must_use]
pub fn times(seconds: Option<f64>, count: u32) -> Vec<f64> {
    let Some(length) = seconds.filter(|length| length.is_finite() && *length > 0.0) else {
        return vec![0.0];
    };
    let parts = (1..=count).rev().find(|parts| f64::from(*parts) <= length).unwrap_or(1);
    (0..parts).map(|n| length * (f64::from(n) + 0.5) / f64::from(parts)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_spread_over_the_video() {
        for (seconds, count, expected) in [
            (None, 3, &[0.0] as &[f64]),
            (Some(0.0), 3, &[0.0]),
            (Some(-1.0), 3, &[0.0]),
            (Some(f64::NAN), 3, &[0.0]),
            (Some(f64::INFINITY), 3, &[0.0]),
            (Some(0.04), 3, &[0.02]),
            (Some(2.5), 3, &[0.625, 1.875]),
            (Some(6.0), 3, &[1.0, 3.0, 5.0]),
            (Some(7200.0), 2, &[1800.0, 5400.0]),
            (Some(f64::MAX), 1, &[f64::MAX / 2.0]),
        ] {
            assert_eq!(times(seconds, count), expected, "{seconds:?} {count}");
        }
        assert_eq!(times(Some(1e9), 20).len(), 20);
    }

    #[test]
    fn settings_have_bounds() {
        let wanted = |settings: serde_json::Value| {
            Wanted::of(settings.as_object().unwrap()).map_err(|error| error.to_string())
        };
        let standard = Wanted { count: 3, width: 640, quality: 80, ffmpeg: "ffmpeg".into() };
        assert_eq!(wanted(json!({})), Ok(standard.clone()));
        assert_eq!(wanted(json!({"count": 3.0, "ffmpeg": " "})), Ok(standard));
        let given = json!({"count": 20, "width": 64, "quality": 1, "ffmpeg": "/opt/ffmpeg"});
        let other = Wanted { count: 20, width: 64, quality: 1, ffmpeg: "/opt/ffmpeg".into() };
        assert_eq!(wanted(given), Ok(other));
        for (settings, words) in [
            (json!({"count": 0}), "`count` must be a whole number from 1 to 20"),
            (json!({"count": 21}), "`count`"),
            (json!({"count": 2.5}), "`count`"),
            (json!({"count": -1}), "`count`"),
            (json!({"count": 1e300}), "`count`"),
            (json!({"count": "3"}), "`count`"),
            (json!({"width": 63}), "`width` must be a whole number from 64 to 1920"),
            (json!({"width": 4_294_967_360_u64}), "`width`"),
            (json!({"quality": 101}), "`quality` must be a whole number from 1 to 100"),
            (json!({"quality": null}), "`quality`"),
        ] {
            let refused = wanted(settings.clone()).unwrap_err();
            assert!(refused.contains(words), "{settings}: {refused}");
        }
    }
}
