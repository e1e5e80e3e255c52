//! PURE  One still: how ffmpeg is asked for it, and what it answers.

use std::ffi::OsString;

use crate::plan::Wanted;

/// For so long after its time a frame is looked for that is not dark, in seconds.
const WINDOW: &str = "2";
/// From this average on a frame is not dark; black is 16, white 235.
const DARK: &str = "32";
/// A still is so many times as high as it is wide at most.
const STEEPEST: u32 = 4;

/// Which frame is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first that is not dark, of those that come soon after the time.
    Bright,
    /// The first at or after the time.
    Any,
}

/// What is asked of ffmpeg: one JPEG on its standard output, or nothing.
///
/// Jumping to the time comes before the input, so that what lies before it is not read.
#[must_use]
pub fn arguments(input: Vec<OsString>, at: f64, pick: Pick, wanted: &Wanted) -> Vec<OsString> {
    let at = format!("{at:.3}");
    let mut arguments = words(&["-nostdin", "-hide_banner", "-v", "error", "-threads", "2"]);
    arguments.extend(words(&["-ss", &at]));
    if pick == Pick::Bright {
        arguments.extend(words(&["-t", WINDOW]));
    }
    arguments.extend(input);
    // `V` is a video stream that is no cover.
    arguments.extend(words(&["-map", "0:V:0", "-an", "-sn", "-dn", "-vf", &filter(pick, wanted)]));
    arguments.extend(words(&[
        "-frames:v",
        "1",
        "-c:v",
        "mjpeg",
        "-q:v",
        &scale_of(wanted.quality),
    ]));
    arguments.extend(words(&["-flags", "+bitexact", "-f", "image2pipe", "pipe:1"]));
    arguments
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Makes pixels square and the picture small, leaves out what is dark, and says which frame is left.
fn filter(pick: Pick, wanted: &Wanted) -> String {
    let width = wanted.width;
    let highest = width * STEEPEST;
    let dark = match pick {
        Pick::Bright => {
            format!(
                ",metadata=mode=select:key=lavfi.signalstats.YAVG:value={DARK}:function=greater"
            )
        }
        Pick::Any => String::new(),
    };
    format!(
        "scale=w='max(2,2*trunc(min({width},iw*sar)/2))':h='max(2,2*trunc(min({highest},ow/dar)/2))',\
         setsar=1,format=yuv420p,signalstats{dark},\
         metadata=mode=print:key=lavfi.signalstats.YAVG:file='pipe\\:2'"
    )
}

/// The scale of ffmpeg's encoder, on which 2 is best and 31 worst.
fn scale_of(quality: u32) -> String {
    (31 - (quality.clamp(1, 100) - 1) * 29 / 99).to_string()
}

/// How long after the time that was asked for the frame is, in seconds, as the messages say.
#[must_use]
pub fn later_by(messages: &[u8]) -> Option<f64> {
    let text = String::from_utf8_lossy(messages);
    let line = text.lines().find(|line| line.starts_with("frame:0 "))?;
    let seconds: f64 = line.rsplit_once("pts_time:")?.1.trim().parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// Width and height of a whole JPEG; `None` if it is none.
#[must_use]
pub fn size_of(jpeg: &[u8]) -> Option<(u16, u16)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    rest.strip_suffix(&[0xff, 0xd9])?;
    loop {
        let (&[mark, kind, high, low], body) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Frames of all kinds, without the three that share their numbers and are tables.
        let is_frame = matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc);
        if mark != 0xff {
            return None;
        }
        if is_frame {
            let (&[_depth, h1, h0, w1, w0], _) = body.split_first_chunk()?;
            return Some((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0])));
        }
        rest = body.get(length.checked_sub(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wanted() -> Wanted {
        Wanted::of(json!({"width": 320, "quality": 100}).as_object().unwrap()).unwrap()
    }

    #[test]
    fn only_what_is_looked_for_in_a_window_may_be_too_dark() {
        for (pick, window, select) in [(Pick::Bright, true, true), (Pick::Any, false, false)] {
            let arguments = arguments(vec!["-i".into(), "file:-x".into()], 1.5, pick, &wanted());
            let text: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
            let line = text.join(" ");
            assert!(line.contains("-ss 1.500") && line.contains("-q:v 2 "), "{line}");
            assert_eq!(line.contains("-t 2 "), window, "{line}");
            assert_eq!(line.contains("mode=select"), select, "{line}");
            let place = |word| text.iter().position(|other| *other == word);
            assert!(place("-ss") < place("file:-x") && place("file:-x") < place("-vf"), "{line}");
        }
    }

    #[test]
    fn quality_is_turned_round() {
        for (quality, scale) in [(1, "31"), (50, "17"), (80, "8"), (100, "2")] {
            assert_eq!(scale_of(quality), scale, "{quality}");
        }
    }

    #[test]
    fn the_frame_says_how_late_it_is() {
        for (messages, expected) in [
            ("frame:0    pts:1800    pts_time:1.8\nlavfi.signalstats.YAVG=120", Some(1.8)),
            ("frame:0    pts:0       pts_time:0\nframe:1    pts:1  pts_time:9\n", Some(0.0)),
            ("noise\nframe:0 pts:1 pts_time:0.5", Some(0.5)),
            ("frame:0 pts:1 pts_time:-3", None),
            ("frame:0 pts:1 pts_time:nan", None),
            ("frame:0 pts:1", None),
            ("", None),
        ] {
            assert_eq!(later_by(messages.as_bytes()), expected, "{messages}");
        }
    }

    #[test]
    fn the_size_of_a_picture_is_in_its_frame() {
        let begin = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2];
        let frame = [0xff, 0xc0, 0, 11, 8, 0, 112, 0, 200, 3];
        let end = [0xff, 0xd9];
        for (picture, expected) in [
            ([&begin[..], &frame, &end].concat(), Some((200, 112))),
            ([&begin[..2], &frame, &end].concat(), Some((200, 112))),
            ([&begin[..], &frame].concat(), None),
            ([&begin[..], &end].concat(), None),
            ([&frame[..], &end].concat(), None),
            (vec![0xff, 0xd8, 0xff, 0xe0, 0, 1, 0xff, 0xd9], None),
            (vec![], None),
        ] {
            assert_eq!(size_of(&picture), expected, "{picture:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(later_by(&bytes).is_none_or(|seconds| seconds >= 0.0));
            let framed = [&[0xff, 0xd8], &bytes[..], &[0xff, 0xd9]].concat();
            prop_assert!(size_of(&bytes).is_none() || bytes.starts_with(&[0xff, 0xd8]));
            prop_assert!(size_of(&framed).is_none() || framed.len() >= 13);
        }
    }
}
