//! What a command may use, and how a process takes these limits upon itself.

use std::ffi::OsString;

use rustix::process::{Resource, Rlimit};

/// What a command may use; what is absent is limited by nobody but the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that a process may write to.
    pub memory: Option<u64>,
    /// Seconds of processor time of a process.
    pub cpu_seconds: Option<u64>,
    /// Files that a process has open at once.
    pub open_files: Option<u64>,
    /// Bytes of a file that a process writes.
    pub file_size: Option<u64>,
    /// How far it stands back behind others, 0 to 19.
    pub nice: u8,
}

/// Stands for a limit that is not there.
const NONE: &str = "-";

impl Limits {
    /// The same as arguments of a program.
    pub(crate) fn to_args(self) -> [OsString; 5] {
        let text = |limit: Option<u64>| limit.map_or_else(|| NONE.into(), |n| n.to_string().into());
        [
            text(self.memory),
            text(self.cpu_seconds),
            text(self.open_files),
            text(self.file_size),
            self.nice.to_string().into(),
        ]
    }

    /// Reads what [`to_args`](Self::to_args) writes.
    pub(crate) fn from_args(args: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let mut limit = || {
            let text = args.next()?.into_string().ok()?;
            if text == NONE { Some(None) } else { Some(Some(text.parse().ok()?)) }
        };
        Some(Self {
            memory: limit()?,
            cpu_seconds: limit()?,
            open_files: limit()?,
            file_size: limit()?,
            nice: u8::try_from(limit()??).ok()?,
        })
    }

    /// Makes them those of this process, and of the program that it becomes.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub(crate) fn enter(self) -> std::io::Result<()> {
        // Not the address space: runtimes reserve far more of it than they use.
        let wanted = [
            (Resource::Data, self.memory),
            (Resource::Cpu, self.cpu_seconds),
            (Resource::Nofile, self.open_files),
            (Resource::Fsize, self.file_size),
            // A program that crashes leaves no file behind.
            (Resource::Core, Some(0)),
        ];
        for (resource, limit) in wanted {
            let Some(limit) = limit else { continue };
            // Whoever started us may have set less, which cannot be raised.
            let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let limit = Some(limit.min(most));
            rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
        }
        if self.nice > 0 {
            rustix::process::nice(self.nice.into())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_being_arguments() {
        let some = Limits {
            memory: Some(1 << 40),
            cpu_seconds: Some(0),
            open_files: None,
            file_size: Some(7),
            nice: 19,
        };
        for limits in [Limits::default(), some] {
            let mut args = limits.to_args().into_iter();
            assert_eq!(Limits::from_args(&mut args), Some(limits));
        }
        for text in ["", "- - - -", "- - - - -", "- - - - 300", "x - - - 0", "-1 - - - 0"] {
            let mut args = text.split_whitespace().map(OsString::from);
            assert_eq!(Limits::from_args(&mut args), None, "{text}");
        }
    }
}
