//! `metafleet plugin check [DIR|MANIFEST..]`

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::Manifest;
use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::launch::other_dirs;
use super::super::output::count;
use super::super::session;
use crate::author::check::rules::Rules;
use crate::author::check::{
    Finding, Main, Severity, Subject, beside, judge_main, judge_permissions,
};
use crate::process::discover;
use crate::store::Store;

/// How long a fleet may take to say which plugins it knows.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folders of plugins, or manifests
    #[arg(value_name = "DIR|MANIFEST", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Where other plugins lie, as ID/vVERSION/manifest.json [default: the folders in which a fleet
    /// looks, and what the fleet knows that runs]
    #[arg(long, value_name = "DIR", env = "METAFLEET_PLUGIN_PATH", value_delimiter = ':')]
    installed: Vec<PathBuf>,
}

/// What is wrong with one plugin.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    file: String,
    #[serde(flatten)]
    finding: Finding,
}

pub(crate) async fn run(app: &App, args: &CheckArgs) -> Result<Exit, Failure> {
    let rules = Rules::new()
        .ok_or_else(|| Failure::new(Exit::Failure, "the schema of manifests cannot be read"))?;
    let mut rows: Vec<Row> = Vec::new();
    let mut subjects: Vec<(String, Subject)> = Vec::new();
    for path in &args.paths {
        let file = manifest_file(path);
        let shown = file.display().to_string();
        let text = read(&file)?;
        let (subject, findings) = rules.judge(&text);
        rows.extend(findings.into_iter().map(|finding| Row { file: shown.clone(), finding }));
        let Some(subject) = subject else { continue };
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        if let Some(entry) = &subject.manifest.entry_point {
            let finding = judge_main(&subject.manifest, program(folder, &entry.main));
            rows.extend(finding.map(|finding| Row { file: shown.clone(), finding }));
        }
        let unknown = judge_permissions(&subject.manifest);
        rows.extend(unknown.map(|finding| Row { file: shown.clone(), finding }));
        subjects.push((shown, subject));
    }
    let (installed, places) = installed(app, args).await?;
    let judged: Vec<Subject> = subjects.iter().map(|(_, subject)| subject.clone()).collect();
    let mut found = beside::judge(&judged, &installed);
    for (file, subject) in &subjects {
        let findings = found.remove(&subject.manifest.id).unwrap_or_default();
        rows.extend(findings.into_iter().map(|finding| Row { file: file.clone(), finding }));
    }
    print(app, &rows, &subjects, &places)?;
    let is_wrong = rows.iter().any(|row| row.finding.severity == Severity::Error);
    Ok(if is_wrong { Exit::Failure } else { Exit::Ok })
}

fn print(
    app: &App,
    rows: &[Row],
    subjects: &[(String, Subject)],
    places: &[String],
) -> Result<(), Failure> {
    app.out.list(rows, |lines| {
        for Row { file, finding } in rows {
            let Finding { severity, pointer, what, advice } = finding;
            let place = if pointer.is_empty() { String::new() } else { format!(" {pointer}") };
            lines.line(&format!("{}: {file}{place}: {what}", severity.as_str()));
            if !advice.is_empty() {
                lines.line(&format!("  {advice}"));
            }
        }
    })?;
    let errors = rows.iter().filter(|row| row.finding.severity == Severity::Error).count() as u64;
    let warnings = rows.len() as u64 - errors;
    let names: Vec<String> = subjects
        .iter()
        .map(|(_, subject)| format!("{} {}", subject.manifest.id, subject.manifest.version))
        .collect();
    let names =
        if names.is_empty() { "no manifest that holds".to_owned() } else { names.join(", ") };
    let beside =
        if places.is_empty() { "no other plugin".to_owned() } else { places.join(" and ") };
    let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
    app.out.say(&format!("{names}, beside {beside}: {errors}, {warnings}"));
    Ok(())
}

fn manifest_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("manifest.json") } else { path.to_owned() }
}

/// Reads a manifest that a person named.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::not_found(format!("{} cannot be read: {error}", file.display()))
            .advise("name a folder with a manifest.json, or the manifest itself")
    })
}

/// Looks for the program of a plugin in its folder, and where `./build` puts it.
fn program(folder: &Path, main: &str) -> Main {
    let look = |path: PathBuf| {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let runs = found.permissions().mode() & 0o111 != 0;
        Some(if runs { Main::Runs } else { Main::NotExecutable })
    };
    let here = look(folder.join(main)).or_else(|| look(folder.join("dist").join(main)));
    match here {
        Some(found) => found,
        None if folder.join("build").is_file() => Main::NotBuilt,
        None => Main::Missing,
    }
}

/// Manifests of other plugins, and the words for where they are from.
async fn installed(app: &App, args: &CheckArgs) -> Result<(Vec<Manifest>, Vec<String>), Failure> {
    let told: Vec<PathBuf> =
        args.installed.iter().filter(|dir| !dir.as_os_str().is_empty()).cloned().collect();
    let dirs = if told.is_empty() {
        let installed = app.data_dir()?.plugins();
        std::iter::once(installed).filter(|dir| dir.is_dir()).chain(other_dirs()).collect()
    } else {
        told
    };
    let mut places = Vec::new();
    let mut all = Vec::new();
    if !dirs.is_empty() {
        let found = discover(&dirs);
        for problem in &found.problems {
            app.out.say(&format!("not looked at: {problem}"));
        }
        let count = count(found.plugins.len() as u64, "installed plugin");
        places.push(count);
        all.extend(found.plugins.into_values().map(|found| found.manifest));
    }
    if let Some(known) = registry(app).await? {
        places.push(format!("{} of the fleet that runs", count(known.len() as u64, "plugin")));
        // What lies on disk is what a fleet starts next.
        all.splice(0..0, known);
    }
    Ok((all, places))
}

/// What the fleet knows that runs, if one does.
async fn registry(app: &App) -> Result<Option<Vec<Manifest>>, Failure> {
    let Some(running) = session::running(app, &app.data_dir()?)? else { return Ok(None) };
    let asked = async {
        let client = session::connect(&running.connection).await?;
        let store = Store::open(client, running.names.clone()).await?;
        let known = store.plugins().await;
        store.close().await;
        Ok::<_, Failure>(known?)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(known)) => Ok(Some(
            known
                .into_values()
                .filter(|known| known.entry.enabled)
                .map(|known| known.entry.manifest)
                .collect(),
        )),
        Ok(Err(failure)) => {
            app.out.say(&format!("the fleet that runs was not asked: {}", failure.what));
            Ok(None)
        }
        Err(_) => {
            app.out.say("the fleet that runs does not answer and was not asked");
            Ok(None)
        }
    }
}
