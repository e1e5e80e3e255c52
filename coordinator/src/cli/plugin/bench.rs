//! What `metafleet plugin test` and `metafleet plugin dev` have in common: the manifest they are
//! about, the command that runs the plugin, and how a person sees what came of a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use broker_config::{Manifest, Record};

use super::super::exit::{Exit, Failure};
use super::super::output::Lines;
use super::check::read;
use crate::author::process::last_lines;

/// How much of a log is shown when something failed.
const LINES: usize = 30;

/// Reads the manifest of the plugin that is worked on.
pub(super) fn manifest(file: &Path) -> Result<Manifest, Failure> {
    let text = read(file)?;
    Manifest::from_json(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}", file.display()))
            .advise("`metafleet plugin check` says what to do about each of these")
    })
}

/// The folder that a manifest lies in, absolute.
pub(super) fn folder(manifest: &Path) -> Result<PathBuf, Failure> {
    let parent = manifest.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    std::fs::canonicalize(parent).map_err(|error| {
        Failure::because(Exit::NotFound, &format!("look at {}", parent.display()), &error)
    })
}

/// What runs the plugin: as told, else built by `./build` and started as its manifest says.
pub(super) fn command(
    told: &[OsString],
    manifest: &Manifest,
    folder: &Path,
) -> Result<Vec<String>, Failure> {
    if !told.is_empty() {
        let texts = told.iter().map(|part| part.to_str().map(str::to_owned));
        return texts
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Failure::usage("the command after `--` must be text"));
    }
    let unclear = |what: String| {
        Failure::usage(what).advise("say what runs the plugin, e.g. `-- python3 src/main.py`")
    };
    let Some(entry) = &manifest.entry_point else {
        return Err(unclear("the manifest has no entryPoint, and no command follows `--`".into()));
    };
    let args = &entry.args;
    if folder.join("build").is_file() {
        // The arguments go past the script as they are.
        let script = r#"./build dist && main=$1 && shift && cd dist && exec "./$main" "$@""#;
        let fixed = ["sh", "-c", script, "sh", &entry.main].map(str::to_owned);
        return Ok(fixed.into_iter().chain(args.iter().cloned()).collect());
    }
    let program = folder.join(&entry.main);
    if !program.is_file() {
        return Err(unclear(format!("there is neither a script `build` nor {}", entry.main)));
    }
    let program = program.to_str().ok_or_else(|| unclear("its path is no text".into()))?;
    Ok(std::iter::once(program.to_owned()).chain(args.iter().cloned()).collect())
}

/// A setting of the command line.
pub(super) fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("must be KEY=VALUE"),
    }
}

/// Shows a record to a person.
pub(super) fn show(lines: &mut Lines, record: &Record) {
    let wide = record.meta.keys().map(|key| key.as_str().chars().count()).max().unwrap_or_default();
    for (key, value) in &record.meta {
        let value = serde_json::to_string(value).unwrap_or_default();
        lines.line(&format!("  {:<wide$}  {value}", key.as_str()));
    }
    for (name, text) in [("reason", &record.reason), ("error", &record.error)] {
        if let Some(text) = text {
            lines.line(&format!("  {name}: {text}"));
        }
    }
}

/// Shows the end of what the plugin has printed.
pub(super) async fn show_log(say: impl Fn(&str), log: Option<PathBuf>) {
    let lines = match &log {
        Some(path) => last_lines(path, LINES).await,
        None => Vec::new(),
    };
    if lines.is_empty() {
        say("the plugin has printed nothing");
        return;
    }
    say("the plugin has printed:");
    for line in lines {
        say(&format!("  | {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_run_as_told_or_built_and_started() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let with = |entry: &str| {
            Manifest::from_json(&format!(
                r#"{{"id":"a","name":"A","version":"1.0.0","priority":50,"queue":"fast",
                    "dataSchema":{{}}{entry}}}"#
            ))
            .unwrap()
        };
        let entry = r#","entryPoint":{"main":"run","args":["-v"]}"#;
        let (none, some) = (with(""), with(entry));
        let told = [OsString::from("python3"), OsString::from("a b.py")];

        assert_eq!(command(&told, &none, home.path()).unwrap(), ["python3", "a b.py"]);
        assert!(command(&[], &none, home.path()).unwrap_err().what.contains("no entryPoint"));
        assert!(command(&[], &some, home.path()).unwrap_err().what.contains("neither"));
        std::fs::write(home.path().join("run"), "")?;
        let program = home.path().join("run").display().to_string();
        assert_eq!(command(&[], &some, home.path()).unwrap(), [program.as_str(), "-v"]);
        std::fs::write(home.path().join("build"), "")?;
        let built = command(&[], &some, home.path()).unwrap();
        assert_eq!(built.first().map(String::as_str), Some("sh"));
        assert_eq!(built.get(3..), Some(&["sh", "run", "-v"].map(str::to_owned)[..]));
        Ok(())
    }
}
