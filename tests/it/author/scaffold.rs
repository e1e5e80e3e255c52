//! `metafleet plugin new`: what it makes passes its own tests and the conformance kit at once, in every
//! language.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use integration_tests::cli::{Home, staged};
use integration_tests::heavy;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::conformance::plugins::{LEAST, command};
use crate::conformance::{finished, program};
use crate::protocol::python::interpreter;

/// How long building and testing a template may take on a busy machine, the first time.
const PATIENCE: Duration = Duration::from_secs(1500);

fn repository() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?.to_owned())
}

/// Makes a plugin with the SDK of this checkout; returns its folder.
async fn make(home: &Home, lang: &str) -> anyhow::Result<PathBuf> {
    let sdk = repository()?.join("worker-sdk").display().to_string();
    let arguments = ["plugin", "new", "--lang", lang, "text-stats", "--sdk", &sdk];
    let made = home.run(&arguments).await?.ok()?;
    for next in ["cd text-stats && ./test", "metafleet plugin test sample.txt", "./build &&"] {
        assert!(made.out.contains(next), "{made:?}");
    }
    Ok(home.root().join("text-stats"))
}

/// Runs its tests, as its author does.
async fn passes(folder: &Path, variables: &[(&str, PathBuf)]) -> anyhow::Result<()> {
    runs("./test", folder, variables).await
}

/// Lays out the folder that is installed, and tries what lies there with the kit.
async fn built_conforms(folder: &Path, variables: &[(&str, PathBuf)]) -> anyhow::Result<()> {
    runs("./build", folder, variables).await?;
    let dist = folder.join("dist");
    let manifest: Value = serde_json::from_slice(&std::fs::read(dist.join("manifest.json"))?)?;
    conforms(folder, &dist, &command(&dist, &manifest)?, variables).await
}

/// Tries a command, which is run in `place`, with the kit.
async fn conforms(
    folder: &Path,
    place: &Path,
    command: &[String],
    variables: &[(&str, PathBuf)],
) -> anyhow::Result<()> {
    let sample = folder.join("sample.txt").display().to_string();
    let mut kit = program(&["--format", "json", "--jobs", "4", "--file", &sample], command)?;
    kit.current_dir(place).envs(variables.iter().cloned());
    let done = finished(kit).await?;
    anyhow::ensure!(done.code == Some(0), "{}", done.err);
    let passed = done.with("passed")?;
    anyhow::ensure!(passed.len() >= LEAST, "{passed:?}: {}", done.err);
    Ok(())
}

async fn runs(program: &str, folder: &Path, variables: &[(&str, PathBuf)]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.current_dir(folder).envs(variables.iter().cloned()).stdin(Stdio::null());
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{out}\n{err}");
    Ok(())
}

/// `plugin check` finds nothing but, where there is something to build, that it is not built.
async fn holds(home: &Home, folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display().to_string();
    let done = home.run(&["plugin", "check", &shown, "--output", "json"]).await?.ok()?;
    let found: Vec<Value> = done.json()?;
    let unbuilt = found.iter().filter(|row| row["pointer"] == "/entryPoint/main").count();
    anyhow::ensure!(found.len() == unbuilt && unbuilt <= 1, "{found:#?}");
    Ok(())
}

/// The SDK in TypeScript is used as it is built.
async fn build_typescript_sdk() -> anyhow::Result<()> {
    let folder = repository()?.join("worker-sdk/typescript");
    if folder.join("dist/src/index.js").exists() {
        return Ok(());
    }
    for arguments in [vec!["ci", "--ignore-scripts"], vec!["run", "build"]] {
        let mut npm = Command::new("npm");
        npm.args(&arguments).current_dir(&folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, npm.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "npm {arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn every_template_is_tried_here() -> anyhow::Result<()> {
    let templates = repository()?.join("coordinator/src/scaffold/templates");
    let mut names = crate::conformance::plugins::names(&templates)?;
    names.retain(|name| name != "common");
    assert_eq!(names, ["go", "python", "rust", "shell", "typescript"]);
    Ok(())
}

#[tokio::test]
async fn a_shell_plugin_passes_its_tests_at_once() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::new()?;
    let folder = make(&home, "shell").await?;
    holds(&home, &folder).await?;
    passes(&folder, &[]).await?;
    let shim = staged("bin/metafleet")?.with_file_name("metafleet-shim");
    built_conforms(&folder, &[("METAFLEET_SHIM", shim)]).await
}

#[tokio::test]
async fn a_rust_plugin_passes_its_tests_at_once() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::new()?;
    let folder = make(&home, "rust").await?;
    holds(&home, &folder).await?;
    // Built once and kept; what is locked here is there already.
    let target = repository()?.join("target/tmp/scaffold-rust");
    std::fs::copy(repository()?.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let variables =
        [("CARGO_TARGET_DIR", target.clone()), ("CARGO_PROFILE_DEV_DEBUG", "none".into())];
    passes(&folder, &variables).await?;
    // `./build` would build all that it leans on once more, for release.
    let program = target.join("debug/plugin-text-stats").display().to_string();
    conforms(&folder, &folder, &[program], &[]).await
}

#[tokio::test]
async fn a_python_plugin_passes_its_tests_at_once() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::new()?;
    let folder = make(&home, "python").await?;
    holds(&home, &folder).await?;
    let (python, sdk) = (interpreter().await?, repository()?.join("worker-sdk/python/src"));
    let variables = [("PYTHON", python.clone()), ("PYTHONPATH", sdk)];
    passes(&folder, &variables).await?;
    // `./build` would fetch what the interpreter of the tests has already.
    let command = [python.display().to_string(), "main.py".to_owned()];
    conforms(&folder, &folder, &command, &variables).await
}

#[tokio::test]
async fn a_typescript_plugin_passes_its_tests_at_once() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::new()?;
    build_typescript_sdk().await?;
    let folder = make(&home, "typescript").await?;
    holds(&home, &folder).await?;
    passes(&folder, &[]).await?;
    built_conforms(&folder, &[]).await
}

#[tokio::test]
async fn a_go_plugin_passes_its_tests_at_once() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::new()?;
    let folder = make(&home, "go").await?;
    holds(&home, &folder).await?;
    passes(&folder, &[]).await?;
    built_conforms(&folder, &[]).await
}

#[tokio::test]
async fn nothing_is_written_over_and_what_cannot_be_made_says_why() -> anyhow::Result<()> {
    let home = Home::new()?;
    make(&home, "shell").await?;
    let mine = home.root().join("text-stats/README.md");
    std::fs::write(&mine, "mine")?;
    for (arguments, code, words) in [
        (vec!["--lang", "shell", "text-stats"], 5, "is there already, nothing was written"),
        (vec!["--lang", "shell", "Text Stats"], 2, "plugin id `Text Stats`"),
        (vec!["--lang", "shell", "user"], 2, "kept for the person"),
        (vec!["--lang", "go", "coordinator"], 2, "kept for the coordinator's login"),
        (vec!["--lang", "cobol", "a"], 2, "possible values: rust, python, typescript, go, shell"),
        (vec!["--lang", "rust", "a", "--sdk", "none"], 3, "there is no SDK in none"),
        (vec!["--lang", "go", "a", "--sdk", "text-stats"], 3, "it holds no go/go.mod"),
    ] {
        let done = home.run(&[&["plugin", "new"], &arguments[..]].concat()).await?.ended(code)?;
        done.says(words)?;
    }
    assert_eq!(std::fs::read_to_string(mine)?, "mine");
    assert!(!home.root().join("a").exists());
    Ok(())
}
