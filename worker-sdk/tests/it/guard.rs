//! Programs that a plugin starts under its guard; the example is the plugin.

use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use worker_sdk::Guard;

use crate::process::example;

#[tokio::test]
async fn arguments_exit_code_and_limit_reach_the_program() -> anyhow::Result<()> {
    let mut command = Guard::of(example("minimal")?).command("sh", Duration::from_secs(1));
    command.args(["-c", "echo \"$1|$(ulimit -t)\"; exit 7", "sh", "a b"]);

    let output = command.output().await?;

    let seconds = 2 * std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    assert_eq!(String::from_utf8(output.stdout)?, format!("a b|{seconds}\n"));
    assert_eq!(output.status.code(), Some(7));
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_not_there_says_so() -> anyhow::Result<()> {
    let mut command =
        Guard::of(example("minimal")?).command("/no/such/program", Duration::from_secs(1));

    let output = command.output().await?;

    assert_eq!(output.status.code(), Some(Guard::NOT_STARTED));
    assert_eq!(String::from_utf8(output.stderr)?, "No such file or directory (os error 2)\n");
    Ok(())
}

#[test]
fn a_guard_whose_plugin_is_gone_or_that_makes_no_sense_starts_nothing() -> anyhow::Result<()> {
    let home = TempDir::new()?;
    for (args, code, words) in [
        (&["__exec", "1", "5", "touch", "made"][..], Guard::NOT_STARTED, "gone already"),
        (&["__exec"], 125, "__exec PID SECONDS"),
        (&["__exec", "1", "soon", "touch", "made"], 125, "__exec PID SECONDS"),
    ] {
        let output =
            Command::new(example("minimal")?).args(args).current_dir(home.path()).output()?;

        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!home.path().join("made").exists(), "{args:?}");
    }
    Ok(())
}
