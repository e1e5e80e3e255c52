//! The plugins of this repository pass the kit, whatever they are written in.
//!
//! What a plugin needs for that lies in its folder: `tests/sample.*`, where the demo library has no
//! file for it, and `tests/stand_in.py`, where it asks somebody else: that prints its settings and
//! serves until its standard input ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use integration_tests::cli::{demo_library, staged};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{finished, program, repository};

/// Cases that say something of any worker, less those for which a plugin has no record.
pub(crate) const LEAST: usize = 36;

/// A plugin, laid out as it is installed, passes every case that is about it.
pub(super) async fn passes(plugin: &str, kind: &str) -> anyhow::Result<()> {
    let versions = staged(&format!("{kind}/{plugin}"))
        .context("the plugins in other languages are built by `make other-plugins`")?;
    let version = names(&versions)?.pop().context("a version")?;
    let folder = std::fs::canonicalize(versions.join(version))?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let file = file_for(plugin, &manifest).await?.to_string_lossy().into_owned();
    let mut options: Vec<String> =
        ["--format", "json", "--jobs", "4", "--file", &file].map(str::to_owned).to_vec();
    let (_stand_in, settings) = stand_in(plugin).await?;
    for (name, value) in settings {
        options.extend(["--set".to_owned(), format!("{name}={value}")]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();

    let mut kit = program(&options, &command(&folder, &manifest)?)?;
    kit.current_dir(&folder);
    let done = finished(kit).await?;

    assert_eq!(done.code, Some(0), "{plugin}: {}", done.err);
    let passed = done.with("passed")?;
    assert!(passed.len() >= LEAST, "{plugin}: {passed:?}: {}", done.err);
    Ok(())
}

/// What starts an installed plugin.
pub(crate) fn command(folder: &Path, manifest: &Value) -> anyhow::Result<Vec<String>> {
    let entry = &manifest["entryPoint"];
    let main = folder.join(entry["main"].as_str().context("a program")?);
    let arguments = entry["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let main = main.to_string_lossy().into_owned();
    Ok(std::iter::once(main).chain(arguments.map(str::to_owned)).collect())
}

/// Starts what a plugin asks instead of the world; with it the settings that name it.
async fn stand_in(plugin: &str) -> anyhow::Result<(Option<Child>, Map<String, Value>)> {
    let script = repository().join("plugins").join(plugin).join("tests/stand_in.py");
    if !script.exists() {
        return Ok((None, Map::new()));
    }
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = python.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let settings = lines.next_line().await?.context("the settings of the stand-in")?;
    Ok((Some(child), serde_json::from_str(&settings)?))
}

/// A file that a plugin can do something with: its own sample, else the first of the demo library
/// that its filter takes.
async fn file_for(plugin: &str, manifest: &Value) -> anyhow::Result<PathBuf> {
    let own = files(&repository().join("plugins").join(plugin).join("tests"));
    if let Some(sample) = own.into_iter().find(|path| path.file_stem() == Some("sample".as_ref())) {
        return Ok(std::fs::canonicalize(sample)?);
    }
    let wanted: broker_config::Filter = match &manifest["filter"] {
        Value::Null => broker_config::Filter::default(),
        filter => serde_json::from_value(filter.clone())?,
    };
    let fits = |path: &PathBuf| {
        let head = std::fs::File::open(path).and_then(|file| broker_config::mime::read_head(&file));
        let facts = broker_config::FileFacts {
            size: std::fs::metadata(path).map_or(0, |it| it.len()),
            mime: broker_config::mime::mime_of(path, &head.unwrap_or_default()).to_owned(),
            extension: path.extension().unwrap_or_default().to_string_lossy().to_lowercase(),
            ..broker_config::FileFacts::default()
        };
        facts.size > 0 && wanted.mismatch(&facts).is_none()
    };
    let found = files(&demo_library().await?).into_iter().find(fits);
    found
        .with_context(|| format!("no file for {plugin}: put plugins/{plugin}/tests/sample.* there"))
}

/// All files in a folder and below, in order; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The names of the folders in a folder, in order.
pub(crate) fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
