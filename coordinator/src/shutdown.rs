//! SIGTERM and Ctrl-C: the first asks everything to drain, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code after a Ctrl-C, as shells have it.
pub const INTERRUPTED: i32 = 130;
/// Exit code after a SIGTERM that did not wait for the drain.
const TERMINATED: i32 = 143;

/// The signals that mean "stop".
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl StopSignals {
    /// Begins to listen: from here on a signal no longer ends the process by itself.
    ///
    /// # Errors
    ///
    /// When the operating system does not let us listen.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancels `drain` on the first signal and ends the process on the second one.
    ///
    /// Returns only when `done` is cancelled; says which signal had come, if any. Children die with
    /// the process (see [`crate::exec`]), so ending at once leaves nothing behind.
    pub async fn run(mut self, drain: CancellationToken, done: CancellationToken) -> Option<Stop> {
        let first = done.run_until_cancelled(self.next()).await?;
        info!("asked to stop; a second time stops at once");
        drain.cancel();
        if let Some(second) = done.run_until_cancelled(self.next()).await {
            warn!("stopping at once");
            std::process::exit(match second {
                Stop::Interrupt => INTERRUPTED,
                Stop::Terminate => TERMINATED,
            });
        }
        Some(first)
    }

    /// Waits for the next of them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Stdio;
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::Command;
    use tokio::time::timeout;

    use super::*;
    use crate::config::vars::{Env, Vars as _};

    const PATIENCE: Duration = Duration::from_secs(20);
    const ROLE: &str = "METAFLEET_TEST_SIGNALS";

    #[tokio::test]
    async fn this_binary_can_wait_for_signals() -> anyhow::Result<()> {
        if Env.get(ROLE).is_none() {
            return Ok(());
        }
        let (drain, done) = (CancellationToken::new(), CancellationToken::new());
        let signals = StopSignals::listen()?.run(drain.clone(), done.clone());
        writeln!(io::stderr(), "listening")?;
        let drained = async {
            drain.cancelled().await;
            writeln!(io::stderr(), "draining")?;
            if Env.get(ROLE).as_deref() == Some("stuck") {
                std::future::pending::<()>().await;
            }
            done.cancel();
            io::Result::Ok(())
        };
        let (stop, drained) = tokio::join!(signals, drained);
        drained?;
        writeln!(io::stderr(), "{stop:?}")?;
        Ok(())
    }

    /// Starts the role, sends the signals one by one, returns the exit code and what was said.
    async fn after(role: &str, signals: &[Signal]) -> anyhow::Result<(Option<i32>, String)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["shutdown::tests::this_binary_can_wait_for_signals", "--exact", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let mut signals = signals.iter();
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await?? {
            if matches!(line.as_str(), "listening" | "draining")
                && let Some(signal) = signals.next()
            {
                kill_process(pid, *signal)?;
            }
            said = line;
        }
        Ok((timeout(PATIENCE, child.wait()).await??.code(), said))
    }

    #[tokio::test]
    async fn the_first_signal_drains() -> anyhow::Result<()> {
        let interrupt = after("drains", &[Signal::INT]).await?;
        assert_eq!(interrupt, (Some(0), "Some(Interrupt)".to_owned()));
        let terminate = after("drains", &[Signal::TERM]).await?;
        assert_eq!(terminate, (Some(0), "Some(Terminate)".to_owned()));
        Ok(())
    }

    #[tokio::test]
    async fn the_second_signal_ends_a_drain_that_is_stuck() -> anyhow::Result<()> {
        let twice = after("stuck", &[Signal::INT, Signal::INT]).await?;
        assert_eq!(twice, (Some(INTERRUPTED), "draining".to_owned()));
        let mixed = after("stuck", &[Signal::INT, Signal::TERM]).await?;
        assert_eq!(mixed.0, Some(TERMINATED));
        Ok(())
    }
}
