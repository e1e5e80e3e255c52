//! The conformance kit: workers of this repository pass it, and each that does one thing wrong fails
//! just that.

pub(crate) mod plugins;
mod sabotage;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use integration_tests::cli::staged;
use integration_tests::heavy;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::protocol::python::interpreter;

/// A whole run takes half a minute on an idle machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the kit said.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Tried {
    pub(crate) fn report(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{}{}", self.out, self.err))
    }

    /// The names of the cases with this result.
    pub(crate) fn with(&self, result: &str) -> anyhow::Result<Vec<String>> {
        let report = self.report()?;
        let cases = report["cases"].as_array().context("cases")?;
        let such = cases.iter().filter(|case| case["result"] == result);
        Ok(such.filter_map(|case| Some(case["name"].as_str()?.to_owned())).collect())
    }
}

/// Runs the kit; the command of the worker comes after `--`.
pub(crate) async fn kit(options: &[&str], command: &[String]) -> anyhow::Result<Tried> {
    finished(program(options, command)?).await
}

/// The kit before it is started.
pub(crate) fn program(options: &[&str], command: &[String]) -> anyhow::Result<Command> {
    let mut kit = Command::new(staged("bin/metafleet")?);
    kit.args(["plugin", "conformance"]).args(options).arg("--").args(command);
    kit.stdin(Stdio::null()).kill_on_drop(true);
    Ok(kit)
}

/// Runs the kit to its end.
pub(crate) async fn finished(mut kit: Command) -> anyhow::Result<Tried> {
    let output = timeout(PATIENCE, kit.output()).await.context("the kit does not end")??;
    Ok(Tried {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Words of a command.
fn words<const N: usize>(words: [&Path; N]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn manifest() -> PathBuf {
    repository().join("worker-sdk/conformance/manifest.json")
}

/// A worker in Python, of `tests/protocol`.
async fn python(program: &str) -> anyhow::Result<Vec<String>> {
    let program = repository().join("tests/protocol").join(program);
    Ok(words([&interpreter().await?, Path::new("-B"), &program]))
}

/// An example that cargo builds beside the tests.
pub(crate) fn example(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let built = test.parent().and_then(Path::parent).context("the target folder")?;
    let example = built.join("examples").join(name);
    ensure!(example.exists(), "{} is not there: `cargo build --examples`", example.display());
    Ok(example)
}

/// Every case of a worker that follows the script is passed.
async fn passes_everything(command: &[String]) -> anyhow::Result<()> {
    passed_everything(&kit(&["--format", "json"], command).await?)
}

/// That a run of a worker that follows the script has passed every case.
pub(crate) fn passed_everything(tried: &Tried) -> anyhow::Result<()> {
    assert_eq!(tried.code, Some(0), "{}", tried.err);
    let report = tried.report()?;
    assert_eq!(report["version"], 1);
    assert_eq!((&report["plugin"], &report["failed"]), (&"conformance".into(), &0.into()));
    assert_eq!(report["notApplicable"], 0, "{}", tried.err);
    assert!(report["passed"].as_u64().context("a number")? >= 70, "{}", report["passed"]);
    Ok(())
}

#[tokio::test]
async fn the_sdk_for_rust_passes_every_case() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    passes_everything(&words([&example("conformance")?, &manifest()])).await
}

#[tokio::test]
async fn the_worker_that_knows_only_the_protocol_passes_every_case() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    let mut command = python("scripted.py").await?;
    command.extend(words([&manifest()]));
    passes_everything(&command).await
}

#[tokio::test]
async fn every_plugin_of_the_repository_passes() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    let mut tried = 0;
    for plugin in plugins::names(&staged("plugins")?)? {
        plugins::passes(&plugin, "plugins").await?;
        tried += 1;
    }
    assert!(tried >= 8, "{tried} plugins");
    Ok(())
}

#[tokio::test]
async fn every_plugin_in_another_language_passes() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    let folder = repository().join("plugins");
    // Those that are not built by cargo have a script for it.
    let mut others = plugins::names(&folder)?;
    others.retain(|name| folder.join(name).join("build").exists());
    ensure!(others.len() >= 4, "{others:?}");
    for plugin in others {
        plugins::passes(&plugin, "other-plugins").await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_tried_is_said() -> anyhow::Result<()> {
    let none: &[String] = &[];
    let unknown = kit(&["--case", "dance"], &["true".to_owned()]).await?;
    assert_eq!(unknown.code, Some(2), "{}", unknown.err);
    assert!(unknown.err.contains("there is no case `dance`"), "{}", unknown.err);
    assert_eq!(kit(&[], none).await?.code, Some(2));
    let lost = kit(&["--file", "/no/such/file"], &["true".to_owned()]).await?;
    assert_eq!(lost.code, Some(2), "{}", lost.err);

    // Where no engine is, no image can be tried.
    let mut lost = program(&["--image", "any:1"], none)?;
    lost.env("DOCKER_HOST", "unix:///no/such.sock");
    let lost = finished(lost).await?;
    assert_eq!(lost.code, Some(1), "{}", lost.err);
    for words in ["unix:///no/such.sock", "start Docker, or say with DOCKER_HOST"] {
        assert!(lost.err.contains(words), "{words}: {}", lost.err);
    }

    let listed = kit(&["--list"], none).await?;
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    assert!(listed.out.starts_with("conformance version 1\n"), "{}", listed.out);
    assert!(listed.out.lines().count() >= 70, "{}", listed.out);

    // A program that is no worker.
    let silent = kit(&["--case", "fence", "--format", "json"], &["true".to_owned()]).await?;
    assert_eq!(silent.code, Some(1), "{}", silent.err);
    let report = silent.report()?;
    let why = report["cases"][0]["why"].as_str().context("a reason")?;
    assert!(why.contains("ended with exit status: 0"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_report_is_written_in_the_form_that_is_asked_for() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("report.xml");
    let path = file.to_string_lossy().into_owned();
    let command = words([&example("conformance")?, &manifest()]);
    let cases = ["--case", "fence", "--case", "skips"];
    let options = [["--format", "junit"], ["--report", &path]].concat();

    let tried = kit(&[&cases[..], &options].concat(), &command).await?;

    assert_eq!(tried.code, Some(0), "{}", tried.err);
    let written = std::fs::read_to_string(&file)?;
    assert!(written.contains("tests=\"2\" failures=\"0\" skipped=\"0\""), "{written}");
    assert!(written.contains("name=\"fence\""), "{written}");
    let text = kit(&cases, &command).await?;
    assert!(text.out.contains("2 passed, 0 failed, 0 not applicable"), "{}", text.out);
    Ok(())
}
