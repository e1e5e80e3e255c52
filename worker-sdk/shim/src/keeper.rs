//! A process between the shim and each command, so that nothing of a command is left behind.
//!
//! The shim starts itself as `__keep`. That process adopts whatever the command leaves behind (it is
//! the *subreaper* of all that descends from it, also of what has a session of its own), waits until
//! the command has ended, kills the rest, and ends with the command's exit code. It starts the command
//! by way of `__enter`, which takes the limits upon itself, asks to die with the keeper, and becomes
//! the command.
//!
//! SIGTERM ends the command in good order: SIGTERM to its process group, and SIGKILL to everything when
//! the grace period is over. SIGHUP, which the kernel also sends when the shim itself is gone, kills
//! everything at once.

mod family;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::limits::Limits;

const KEEP: &str = "__keep";
const ENTER: &str = "__enter";

/// Exit code when the command could not be started, as shells have it; standard error says why.
pub(crate) const NOT_STARTED: u8 = 127;
/// Exit code of a keeper that was called in the wrong way.
const MISUSED: u8 = 125;
/// What is added to the number of a signal to make it an exit code, as shells have it.
const SIGNALLED: i32 = 128;
/// Pauses while what was killed goes away; the sum bounds how long a keeper outlives its command.
const SWEEPS: [u64; 12] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

/// A command that runs `command` under a keeper, which is `program` (normally the shim itself).
///
/// Start it from async code: the kernel watches the *thread* that started the keeper.
pub(crate) fn command(
    program: &Path,
    limits: Limits,
    grace: Duration,
    command: &[OsString],
) -> tokio::process::Command {
    let mut keeper = tokio::process::Command::new(program);
    keeper.arg(KEEP).arg(std::process::id().to_string()).arg(grace.as_millis().to_string());
    keeper.args(limits.to_args()).args(command).process_group(0);
    keeper
}

/// What this process was started for, if not to be the shim.
pub fn run_if_asked(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let role = args.next()?;
    if role == KEEP {
        Some(keep_main(&mut args))
    } else if role == ENTER {
        Some(enter_main(&mut args))
    } else {
        None
    }
}

fn number(args: &mut impl Iterator<Item = OsString>) -> Option<u64> {
    args.next()?.into_string().ok()?.parse().ok()
}

fn fail(code: u8, message: &str) -> ExitCode {
    // Whoever reads our standard error is all there is to tell.
    writeln!(io::stderr(), "{message}").ok();
    ExitCode::from(code)
}

/// Becomes the command; comes back only if that is not possible.
fn enter_main(args: &mut impl Iterator<Item = OsString>) -> ExitCode {
    let parent = number(args).and_then(|pid| u32::try_from(pid).ok());
    let (Some(parent), Some(limits), Some(program)) =
        (parent, Limits::from_args(args), args.next())
    else {
        return fail(MISUSED, &format!("{ENTER} is not for people"));
    };
    let prepared = worker_sdk::die_with_parent(parent).and_then(|()| limits.enter());
    let error = match prepared {
        Ok(()) => std::process::Command::new(&program).args(args).exec(),
        Err(error) => error,
    };
    fail(NOT_STARTED, &format!("could not start {}: {error}", program.display()))
}

fn keep_main(args: &mut impl Iterator<Item = OsString>) -> ExitCode {
    let (parent, grace) = (number(args), number(args).map(Duration::from_millis));
    let limits = Limits::from_args(args);
    let command: Vec<OsString> = args.collect();
    let (Some(parent), Some(grace), Some(limits), false) =
        (parent, grace, limits, command.is_empty())
    else {
        return fail(MISUSED, &format!("{KEEP} is not for people"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = runtime.and_then(|runtime| runtime.block_on(keep(parent, grace, limits, &command)));
    match kept {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(NOT_STARTED, &format!("could not start a process: {error}")),
    }
}

/// Runs the command to its end and sees that nothing of it is left.
async fn keep(
    parent: u64,
    grace: Duration,
    limits: Limits,
    command: &[OsString],
) -> io::Result<u8> {
    let mut ended = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut at_once = signal(SignalKind::hangup())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::HUP))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if now.map(u64::from) != Some(parent) {
        return Err(io::Error::other("the shim is gone already"));
    }
    let mut family = Family { command: start(limits, command)?, status: None };
    let_go_of_pipes()?;

    let mut kill_at: Option<Instant> = None;
    while !family.reap().command_is_over() {
        let out_of_patience = async {
            match kill_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = at_once.recv() => break,
            () = out_of_patience => break,
            _ = terminate.recv() => {
                kill_at.get_or_insert_with(|| Instant::now() + grace);
                // An error says that nobody is left.
                rustix::process::kill_process_group(family.command, Signal::TERM).unwrap_or_default();
            }
            _ = ended.recv() => {}
        }
    }
    family.sweep().await;
    Ok(family.exit_code())
}

fn start(limits: Limits, command: &[OsString]) -> io::Result<Pid> {
    let mut child = std::process::Command::new("/proc/self/exe");
    child.arg(ENTER).arg(std::process::id().to_string()).args(limits.to_args()).args(command);
    // A group of its own: a script that signals its group must not hit the keeper.
    let child = child.process_group(0).spawn()?;
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("a process without a number"))
}

/// The pipes to the shim are the command's alone: when it closes one, the shim sees that.
fn let_go_of_pipes() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// The command and all that descends from it.
struct Family {
    command: Pid,
    status: Option<WaitStatus>,
}

/// What is left of a family.
enum Left {
    Nobody,
    Somebody { command: bool },
}

impl Left {
    fn command_is_over(&self) -> bool {
        !matches!(self, Self::Somebody { command: true })
    }
}

impl Family {
    /// Collects everybody who has ended.
    fn reap(&mut self) -> Left {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.command => self.status = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Left::Somebody { command: self.status.is_none() },
                // There is no child at all.
                Err(_) => return Left::Nobody,
            }
        }
    }

    /// Kills everybody, also those who are born meanwhile.
    async fn sweep(&mut self) {
        for pause in SWEEPS {
            if self.status.is_none() {
                // An error says that nobody is left.
                rustix::process::kill_process_group(self.command, Signal::KILL).unwrap_or_default();
            }
            if matches!(self.reap(), Left::Nobody) {
                return;
            }
            family::kill_descendants();
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn exit_code(&self) -> u8 {
        let code = self.status.and_then(|status| {
            status.exit_status().or_else(|| Some(SIGNALLED + status.terminating_signal()?))
        });
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}

/// What a command's exit code says about a signal that ended it.
pub(crate) fn signal_of(code: i32) -> Option<i32> {
    // 255 is what `exit -1` makes.
    (SIGNALLED + 1..=SIGNALLED + 64).contains(&code).then(|| code - SIGNALLED)
}

/// Whether the name alone says which file is the program.
pub(crate) fn is_path(program: &OsStr) -> bool {
    program.as_encoded_bytes().contains(&b'/')
}
