//! A command that runs on a terminal of its own.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::LIMIT;

/// Runs `command` with its output and its errors on a terminal; returns how it ended, and all that
/// was shown.
///
/// # Errors
///
/// There is no terminal to be had, the command does not start, or it goes on for too long.
pub async fn on_terminal(mut command: Command) -> anyhow::Result<(ExitStatus, String)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).context("no terminal")?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?;
    let theirs = File::options().read(true).write(true).open(path.to_str()?)?;
    command.stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs).kill_on_drop(true);
    let mut child = command.spawn()?;
    // What it holds of the terminal keeps a reader waiting.
    drop(command);
    let shown = spawn_blocking(move || read(ours));
    let status = timeout(LIMIT, child.wait()).await.context("it goes on")??;
    Ok((status, timeout(LIMIT, shown).await.context("its terminal stays open")???))
}

/// All that is shown until nobody holds the terminal any more, which Linux tells by an error.
fn read(terminal: OwnedFd) -> anyhow::Result<String> {
    let (mut terminal, mut shown) = (File::from(terminal), Vec::new());
    match terminal.read_to_end(&mut shown) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::IO.raw_os_error()) => {
            Err(error.into())
        }
        Ok(_) | Err(_) => Ok(String::from_utf8_lossy(&shown).into_owned()),
    }
}
