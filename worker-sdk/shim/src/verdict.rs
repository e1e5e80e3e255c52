//! PURE. What an exit code means.

use std::collections::BTreeSet;

use crate::keeper::{NOT_STARTED, signal_of};

/// Exit code of a command that has nothing to say about the file.
pub(crate) const SKIPPED: i32 = 80;
/// Exit code of a command that wants to be asked again later, which costs no attempt.
pub(crate) const LATER: i32 = 81;
/// `EX_USAGE`, `EX_DATAERR` and `EX_CONFIG` of sysexits.h: trying again cannot help.
pub(crate) const PERMANENT: [i32; 3] = [64, 65, 78];
/// A file that may not be executed, as shells have it.
const NOT_EXECUTABLE: i32 = 126;

/// What the codes of a command mean beyond those that are documented.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// Codes that mean `SKIPPED`, too.
    pub skipped: BTreeSet<i32>,
    /// Codes that mean a permanent failure, too.
    pub permanent: BTreeSet<i32>,
    /// Codes that end the worker with the same code.
    pub fatal: BTreeSet<i32>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With 0: its output says what it found.
    Completed,
    /// It has nothing to say about the file.
    Skipped,
    /// It wants to be asked again later.
    Later,
    /// It would fail every time.
    Permanent,
    /// It said that it failed, or crashed in a way of its own.
    Failed(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It could not be started.
    NotStarted,
}

/// What `code` means.
#[must_use]
pub(crate) fn of(code: i32, codes: &Codes) -> Verdict {
    if codes.skipped.contains(&code) {
        return Verdict::Skipped;
    }
    if codes.permanent.contains(&code) {
        return Verdict::Permanent;
    }
    match code {
        0 => Verdict::Completed,
        SKIPPED => Verdict::Skipped,
        LATER => Verdict::Later,
        NOT_EXECUTABLE => Verdict::NotStarted,
        code if code == i32::from(NOT_STARTED) => Verdict::NotStarted,
        code if PERMANENT.contains(&code) => Verdict::Permanent,
        code => signal_of(code).map_or(Verdict::Failed(code), Verdict::Signalled),
    }
}

/// The error or reason of a command that ended so: its own words where it said any.
#[must_use]
pub(crate) fn text(verdict: Verdict, words: &str) -> String {
    let (fallback, always) = match verdict {
        Verdict::Completed => ("exit code 0".to_owned(), false),
        Verdict::Skipped => ("the command has nothing to say about this file".to_owned(), false),
        Verdict::Later => ("the command asks to wait".to_owned(), false),
        Verdict::Permanent => ("the command says that trying again cannot help".to_owned(), false),
        Verdict::Failed(code) => (format!("exit code {code}"), false),
        Verdict::Signalled(signal) => (format!("ended by signal {signal}"), true),
        Verdict::NotStarted => ("the command could not be started".to_owned(), true),
    };
    match (words.is_empty(), always) {
        (true, _) => fallback,
        (false, true) => format!("{fallback}: {words}"),
        (false, false) => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_readme_says() {
        let codes = Codes { skipped: [1, 65].into(), permanent: [2].into(), ..Codes::default() };
        for (code, plain, changed) in [
            (0, Verdict::Completed, Verdict::Completed),
            (1, Verdict::Failed(1), Verdict::Skipped),
            (2, Verdict::Failed(2), Verdict::Permanent),
            (64, Verdict::Permanent, Verdict::Permanent),
            (65, Verdict::Permanent, Verdict::Skipped),
            (66, Verdict::Failed(66), Verdict::Failed(66)),
            (70, Verdict::Failed(70), Verdict::Failed(70)),
            (75, Verdict::Failed(75), Verdict::Failed(75)),
            (78, Verdict::Permanent, Verdict::Permanent),
            (80, Verdict::Skipped, Verdict::Skipped),
            (81, Verdict::Later, Verdict::Later),
            (126, Verdict::NotStarted, Verdict::NotStarted),
            (127, Verdict::NotStarted, Verdict::NotStarted),
            (128, Verdict::Failed(128), Verdict::Failed(128)),
            (137, Verdict::Signalled(9), Verdict::Signalled(9)),
            (192, Verdict::Signalled(64), Verdict::Signalled(64)),
            (193, Verdict::Failed(193), Verdict::Failed(193)),
            (255, Verdict::Failed(255), Verdict::Failed(255)),
        ] {
            assert_eq!(of(code, &Codes::default()), plain, "{code}");
            assert_eq!(of(code, &codes), changed, "{code}");
        }
    }

    #[test]
    fn a_text_is_never_empty_and_has_the_words() {
        for (verdict, silent, said) in [
            (Verdict::Skipped, "the command has nothing to say about this file", "why"),
            (Verdict::Failed(3), "exit code 3", "why"),
            (Verdict::Signalled(9), "ended by signal 9", "ended by signal 9: why"),
            (
                Verdict::NotStarted,
                "the command could not be started",
                "the command could not be started: why",
            ),
        ] {
            assert_eq!(text(verdict, ""), silent);
            assert_eq!(text(verdict, "why"), said);
        }
    }
}
