//! Programs that a plugin starts, and that die with it, however it dies.
//!
//! A program is started as `<this plugin> __exec <our pid> <seconds> program args…`. That process
//! asks the kernel to be killed when its parent goes, looks whether the parent is still there (it
//! may have gone before it asked), bounds its processor time, and then becomes the program. So also
//! a kill -9 of the plugin, which runs no code of ours, leaves nothing behind that works on.
//!
//! The kernel watches the *thread* that started the program: start it from async code, whose threads
//! live as long as the process, and not from `spawn_blocking`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};

/// The first argument that makes a plugin a guard.
const ARGUMENT: &str = "__exec";
/// Exit code of a guard that was called in the wrong way.
const MISUSED: u8 = 125;

/// Starts programs that do not outlive the plugin.
#[derive(Clone, Debug)]
pub struct Guard {
    program: PathBuf,
}

impl Default for Guard {
    /// The plugin that runs; its `main` must be [`run`](crate::run).
    ///
    /// The kernel is asked for the program, not a path: the file may have been replaced by a newer
    /// version in the meantime.
    fn default() -> Self {
        Self { program: PathBuf::from("/proc/self/exe") }
    }
}

impl Guard {
    /// Exit code when the program could not be started, as shells have it; standard error says why.
    pub const NOT_STARTED: i32 = 127;

    /// Another program whose `main` is [`run`](crate::run); for tests, which are programs of their
    /// own.
    #[must_use]
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// A command that runs `program`, which may use as much processor time as all processors
    /// together have in `limit`; how long it is waited for is the caller's matter.
    ///
    /// Arguments that are added are the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>, limit: Duration) -> tokio::process::Command {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let seconds = limit.as_secs().saturating_add(1).saturating_mul(processors as u64);
        let mut command = tokio::process::Command::new(&self.program);
        command.arg(ARGUMENT).arg(std::process::id().to_string()).arg(seconds.to_string());
        command.arg(program).kill_on_drop(true);
        command
    }
}

/// Becomes the program that the arguments of this process name, if they are those of a guard; comes
/// back only if they are not, or when that is not possible.
pub(crate) fn exec_if_asked(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    let mut number = || args.next()?.into_string().ok();
    let parent = number().and_then(|text| text.parse().ok());
    let seconds = number().and_then(|text| text.parse().ok());
    let (Some(parent), Some(seconds), Some(program)) = (parent, seconds, args.next()) else {
        return Some(fail(MISUSED, &format_args!("{ARGUMENT} PID SECONDS PROGRAM [ARGUMENT..]")));
    };
    let error = match prepare(parent, seconds) {
        Ok(()) => std::process::Command::new(program).args(args).exec(),
        Err(error) => error,
    };
    // 127 fits, whatever the type of an exit code is.
    Some(fail(u8::try_from(Guard::NOT_STARTED).unwrap_or(u8::MAX), &error))
}

/// Asks the kernel to kill this process when `parent`, the process that started it, goes; it stays so
/// when the process becomes another program.
///
/// The kernel watches the *thread* that started this process.
///
/// # Errors
///
/// When the parent has gone before it could be asked, or the kernel refuses.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if now != Some(parent) {
        return Err(io::Error::other("the parent is gone already"));
    }
    Ok(())
}

fn prepare(parent: u32, seconds: u64) -> io::Result<()> {
    die_with_parent(parent)?;
    // Whoever started the plugin may have set less, which cannot be raised.
    let most = rustix::process::getrlimit(Resource::Cpu).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(seconds.min(most)),
        maximum: Some(most.min(seconds.saturating_add(1))),
    };
    Ok(rustix::process::setrlimit(Resource::Cpu, limit)?)
}

fn fail(code: u8, message: &dyn std::fmt::Display) -> ExitCode {
    // Whoever reads our standard error is all there is to tell.
    writeln!(io::stderr(), "{message}").ok();
    ExitCode::from(code)
}
