//! How a command ends: its exit code, and the words for a person when it fails.

use std::error::Error;
use std::process::ExitCode;

use broker_config::Chain;

/// Exit codes of every command; scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed in a way that has no code of its own.
    Failure = 1,
    /// The command line or a configuration file is wrong.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// No broker, or none that answers.
    Unreachable = 4,
    /// Somebody else holds it or has changed it meanwhile.
    Conflict = 5,
    /// Done, but some of it failed.
    Partial = 6,
    /// The time given with `--timeout` ran out.
    TimedOut = 124,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The list for `metafleet --help`.
    pub(crate) const HELP: &'static str = "\
Exit codes: 0 done, 1 failure, 2 wrong usage or configuration, 3 not found,
4 broker unreachable, 5 conflict, 6 partly failed, 124 timed out, 130 interrupted";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// What failed and where, on one line.
    pub(crate) what: String,
    /// What to do about it; empty when there is nothing to add.
    pub(crate) advice: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), advice: String::new() }
    }

    /// A failure with an error behind it; its whole chain is shown.
    pub(crate) fn because(exit: Exit, what: &str, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, format!("{what}: {}", Chain(error)))
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, what)
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_the_documented_ones() {
        for (exit, code) in [
            (Exit::Ok, 0),
            (Exit::Failure, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Unreachable, 4),
            (Exit::Conflict, 5),
            (Exit::Partial, 6),
            (Exit::TimedOut, 124),
            (Exit::Interrupted, 130),
        ] {
            assert_eq!(exit as u8, code, "{exit:?}");
            assert!(Exit::HELP.contains(&format!("{code} ")), "{exit:?} is in the help");
        }
    }
}
