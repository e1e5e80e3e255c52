//! Takes subtitles out of a container: one run of ffmpeg for all of them, because it has to read the
//! whole file for each run.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::stream::{Format, Stream, Way};

/// A subtitle that is larger is not taken, in bytes; whole series fit into it.
pub const MAX_TEXT: u64 = 16 * 1024 * 1024;

/// A subtitle that can be made, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The subtitle.
    pub stream: &'a Stream,
    /// What it becomes.
    pub format: Format,
    codec: &'static str,
}

impl Job<'_> {
    /// The file that ffmpeg writes for it.
    #[must_use]
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{}", self.stream.number, self.format.extension()))
    }
}

/// How a subtitle is made.
///
/// # Errors
///
/// Why it is not.
pub fn job(stream: &Stream) -> Result<Job<'_>, &'static str> {
    let (format, codec) = Way::of(&stream.codec).target()?;
    Ok(Job { stream, format, codec })
}

/// What is asked of ffmpeg: each subtitle in a file of its own in `folder`, bounded in size.
#[must_use]
pub fn arguments(input: Vec<OsString>, jobs: &[Job<'_>], folder: &Path) -> Vec<OsString> {
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut arguments = words(&["-nostdin", "-hide_banner", "-v", "error", "-threads", "1", "-y"]);
    arguments.extend(input);
    // What goes beyond it is cut by ffmpeg after the packet.
    let most = (MAX_TEXT + 1).to_string();
    for job in jobs {
        let map = format!("0:s:{}", job.stream.number);
        arguments.extend(words(&["-map", &map, "-c:s", job.codec, "-fs", &most]));
        arguments.extend(words(&["-fflags", "+bitexact", "-f", job.format.muxer()]));
        let mut output = OsString::from("file:");
        output.push(job.path(folder));
        arguments.push(output);
    }
    arguments
}

/// What became of a subtitle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A whole subtitle file.
    Whole(Vec<u8>),
    /// There is no cue in it.
    Empty,
    /// It is larger than [`MAX_TEXT`].
    TooLarge,
}

/// Reads what ffmpeg has written.
///
/// # Errors
///
/// When the file cannot be read.
pub fn text(path: &Path, format: Format) -> io::Result<Text> {
    let file = match File::open(path) {
        Ok(file) => file,
        // Nothing was there to write.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Text::Empty),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_TEXT + 1).read_to_end(&mut text)?;
    Ok(if text.len() as u64 > MAX_TEXT {
        Text::TooLarge
    } else if format.has_cues(&text) {
        Text::Whole(text)
    } else {
        Text::Empty
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: usize, codec: &str) -> Stream {
        let codec = codec.to_owned();
        Stream { number, codec, language: None, is_forced: false, is_sdh: false }
    }

    #[test]
    fn one_run_makes_all_files() {
        let (first, second) = (stream(0, "mov_text"), stream(3, "ass"));
        let jobs = [job(&first).unwrap(), job(&second).unwrap()];

        let arguments = arguments(vec!["-i".into(), "file:-x".into()], &jobs, Path::new("/t"));

        let line: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
        let line = line.join(" ");
        for part in [
            "-y -i file:-x -map 0:s:0 -c:s srt -fs 16777217 ",
            " -f srt file:/t/0.srt -map 0:s:3 -c:s copy -fs 16777217 ",
            " -f ass file:/t/3.ass",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(job(&stream(1, "xsub")).is_err());
    }

    #[test]
    fn what_was_written_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.srt");
        let cue = b"1\n00:00:00,000 --> 00:00:01,000\nx\n".to_vec();
        let large = cue.repeat(600_000);
        for (written, expected) in [
            (None, Text::Empty),
            (Some(&[][..]), Text::Empty),
            (Some(&cue), Text::Whole(cue.clone())),
            (Some(&large), Text::TooLarge),
        ] {
            if let Some(written) = written {
                std::fs::write(&path, written).unwrap();
            }
            assert_eq!(text(&path, Format::Srt).unwrap(), expected);
        }
    }
}
