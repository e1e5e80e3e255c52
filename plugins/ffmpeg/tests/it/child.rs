//! How the program is run that the plugin asks, whatever the program does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use plugin_ffmpeg::child::{ChildError, run};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::guard;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn how_a_program_ends_decides_what_its_failure_means() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (script, retryable, words) in [
        ("echo broken file >&2; exit 1", false, "ffprobe: broken file"),
        ("echo file:/a: Input/output error >&2; exit 1", true, "ffprobe: Input/output error"),
        ("exit 3", false, "without a word"),
        ("kill -SEGV $$", true, "ended by signal 11"),
        ("echo before >&2; kill -KILL $$", true, "ended by signal 9 (before)"),
        ("exec cat /dev/zero", false, "more than 4194304 bytes"),
    ] {
        let program = script_in(&folder, script)?;

        let error = started(&program, LIMIT).await.err().context("it succeeded")?;

        assert_eq!(error.is_retryable(), retryable, "{script}: {error}");
        assert!(error.to_string().contains(words), "{script}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn endless_messages_do_not_stop_the_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = script_in(&folder, "head -c 1000000 /dev/zero >&2; echo '{}'")?;

    let output = started(&program, LIMIT).await?;

    assert_eq!(output, b"{}\n");
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() -> Result<()> {
    let error = started(Path::new("/nowhere/ffprobe"), LIMIT).await.err().context("started")?;

    assert!(matches!(error, ChildError::Start { .. }), "{error:?}");
    assert!(error.to_string().starts_with("could not start /nowhere/ffprobe: No such file"));
    Ok(())
}

#[tokio::test]
async fn what_hangs_is_killed_at_the_limit_with_all_that_it_started() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let note = folder.path().join("pids");
    let script = format!("sleep 600 & echo $! $$ > '{}'; wait", note.display());
    let program = script_in(&folder, &script)?;

    let error = started(&program, Duration::from_millis(700)).await.err();

    let error = error.context("it succeeded")?;
    assert_eq!(error.to_string(), "ffprobe did not finish within 700 ms and was killed");
    gone(&note, 2).await
}

/// The variable that makes this test's program a plugin that runs a script, which it names.
const SCRIPT: &str = "METAFLEET_TEST_SCRIPT";

#[tokio::test]
async fn this_program_can_be_the_plugin() -> Result<()> {
    if let Some(script) = std::env::var_os(SCRIPT) {
        started(Path::new(&script), LIMIT).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_killed_takes_its_program_with_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let note = folder.path().join("pids");
    let script = format!("echo $$ > '{}'; exec sleep 600", note.display());
    let script = script_in(&folder, &script)?;
    let mut plugin = Command::new(std::env::current_exe()?)
        .args(["child::this_program_can_be_the_plugin", "--exact"])
        .env(SCRIPT, script)
        .spawn()?;
    until(|| is_noted(&note)).await;

    plugin.kill()?;
    plugin.wait()?;

    gone(&note, 1).await
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let note = folder.path().join("pids");
    let script = format!("sleep 600 & echo $! $$ > '{}'; wait", note.display());
    let program = script_in(&folder, &script)?;

    tokio::select! {
        _ = started(&program, LIMIT) => {}
        () = until(|| is_noted(&note)) => {}
    }

    gone(&note, 2).await
}

async fn started(program: &Path, limit: Duration) -> Result<Vec<u8>, ChildError> {
    run(&guard(), program.as_os_str(), &[], limit).await
}

/// A shell script, written by another process: nobody here ever has it open for writing, which
/// would keep the system from starting it.
fn script_in(folder: &TempDir, text: &str) -> Result<PathBuf> {
    let source = folder.path().join("script.txt");
    std::fs::write(&source, format!("#!/bin/sh\n{text}\n"))?;
    let program = folder.path().join("script");
    let status = Command::new("install").arg("-m755").args([&source, &program]).status()?;
    ensure!(status.success(), "install");
    Ok(program)
}

fn is_noted(note: &Path) -> bool {
    std::fs::read_to_string(note).is_ok_and(|pids| pids.ends_with('\n'))
}

/// Waits until the processes whose ids stand in `note` have ended; so many they must be.
async fn gone(note: &Path, processes: usize) -> Result<()> {
    let pids = std::fs::read_to_string(note)?;
    ensure!(pids.split_whitespace().count() == processes, "the script did not start: {pids}");
    let runs = |pid: &str| {
        // A zombie has ended; who collects it is not our matter.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
    };
    until(|| !pids.split_whitespace().any(runs)).await;
    ensure!(!pids.split_whitespace().any(runs), "still running: {pids}");
    Ok(())
}

async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() && started.elapsed() < LIMIT {
        sleep(Duration::from_millis(10)).await;
    }
}
