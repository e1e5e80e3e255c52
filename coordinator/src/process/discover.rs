//! Plugin folders: `<dir>/<id>/v<version>/manifest.json`, the highest version wins.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use broker_config::{Manifest, PluginId};
use semver::Version;

use crate::config::{PluginsFile, Problem};
use crate::version;

mod choose;

/// A plugin on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its folder, absolute.
    pub dir: PathBuf,
}

/// All plugins on disk.
#[derive(Clone, Debug, Default)]
pub struct Discovered {
    /// The best version of each, or the one that was chosen.
    pub plugins: BTreeMap<PluginId, Found>,
    /// Versions that are to be tried beside these.
    pub next: BTreeMap<PluginId, Found>,
    /// Where each version lies.
    folders: BTreeMap<PluginId, BTreeMap<Version, PathBuf>>,
    /// What was passed over, and why.
    pub problems: Vec<Problem>,
}

/// Looks for plugins in `dirs`; a version that is in several of them is taken from the first.
///
/// A version that breaks a rule is told and the next lower one is looked at.
#[must_use]
pub fn discover(dirs: &[PathBuf]) -> Discovered {
    let mut result = Discovered::default();
    let mut versions: BTreeMap<PluginId, Vec<(Version, PathBuf)>> = BTreeMap::new();
    for dir in dirs {
        let problems = &mut result.problems;
        for (name, path) in folders(dir, problems) {
            // The person's own notes and tools may lie beside plugins.
            if name.starts_with('.') {
                continue;
            }
            match name.parse::<PluginId>() {
                Ok(id) => versions.entry(id).or_default().extend(versions_in(&path, problems)),
                Err(error) => {
                    problems.push(problem(&path, None, format!("the folder's name: {error}")));
                }
            }
        }
    }
    for (id, mut versions) in versions {
        // Stable: of the same version, the one from the earlier folder stays first.
        versions.sort_by(|(a, _), (b, _)| b.cmp(a));
        let folders = result.folders.entry(id.clone()).or_default();
        for (version, dir) in &versions {
            folders.entry(version.clone()).or_insert_with(|| dir.clone());
        }
        for (version, dir) in versions {
            match load(&dir, &id, Some(&version)) {
                Ok(found) => {
                    result.plugins.insert(id, found);
                    break;
                }
                Err(problem) => result.problems.push(problem),
            }
        }
    }
    result
}

impl Discovered {
    /// Adds the plugins whose folder `plugins.yml` names; they go before those found elsewhere.
    pub fn add_named(&mut self, file: &PluginsFile) {
        for (id, entry) in &file.entries {
            let Some(dir) = &entry.dir else { continue };
            // There is one version in it, and no other to choose.
            self.folders.remove(id);
            let has_manifest = dir.join("manifest.json").exists();
            if entry.command.is_some() && !has_manifest {
                self.plugins.remove(id);
                continue;
            }
            match load(dir, id, None) {
                Ok(found) => {
                    self.plugins.insert(id.clone(), found);
                }
                Err(problem) => {
                    self.plugins.remove(id);
                    self.problems.push(problem);
                }
            }
        }
    }
}

fn problem(file: &Path, plugin: Option<&PluginId>, rule: String) -> Problem {
    let plugin = plugin.map(ToString::to_string);
    Problem { file: file.to_owned(), line: None, plugin, rule }
}

/// The folders in `dir`, by name.
fn folders(dir: &Path, problems: &mut Vec<Problem>) -> Vec<(String, PathBuf)> {
    let read = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push((name, path));
            }
        }
        found.sort();
        Ok(found)
    };
    read().unwrap_or_else(|error| {
        problems.push(problem(dir, None, format!("could not read the folder: {error}")));
        Vec::new()
    })
}

fn versions_in(dir: &Path, problems: &mut Vec<Problem>) -> Vec<(Version, PathBuf)> {
    let mut versions = Vec::new();
    for (name, path) in folders(dir, problems) {
        // Other folders may lie there, e.g. sources.
        let Some(text) = name.strip_prefix('v') else { continue };
        match Version::parse(text) {
            Ok(version) => versions.push((version, path)),
            Err(_) if !path.join("manifest.json").exists() => {}
            Err(error) => {
                let rule = format!("the folder's name must be `v` and a version: {error}");
                problems.push(problem(&path, None, rule));
            }
        }
    }
    versions
}

/// Reads and checks the plugin in `dir`.
fn load(dir: &Path, id: &PluginId, version: Option<&Version>) -> Result<Found, Problem> {
    let file = dir.join("manifest.json");
    let wrong = |rule: String| problem(&file, Some(id), rule);
    let dir = std::path::absolute(dir).map_err(|error| wrong(error.to_string()))?;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| wrong(format!("could not read it: {error}")))?;
    let manifest = Manifest::from_json(&text).map_err(|error| wrong(error.to_string()))?;
    if manifest.id != *id {
        return Err(wrong(format!("id: `{}` is not the plugin it lies under", manifest.id)));
    }
    if let Some(version) = version.filter(|version| manifest.version != **version) {
        let rule = format!("version: {} is not that of the folder, {version}", manifest.version);
        return Err(wrong(rule));
    }
    if let Some(problem) = manifest.engine_problem(&version::ours()) {
        return Err(wrong(problem));
    }
    let Some(entry) = &manifest.entry_point else {
        return Err(wrong("entryPoint: is required, to start it as a process".to_owned()));
    };
    let inside = Path::new(&entry.main).components().all(|part| match part {
        Component::Normal(_) | Component::CurDir => true,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    });
    if !inside || entry.main.is_empty() {
        let rule = "entryPoint.main: must be a path inside the plugin's folder";
        return Err(wrong(rule.to_owned()));
    }
    if !dir.join(&entry.main).is_file() {
        return Err(wrong(format!("entryPoint.main: there is no file `{}`", entry.main)));
    }
    Ok(Found { manifest, dir })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::vars::vars;

    /// Makes a plugin whose program is the shell script `script`.
    pub(crate) fn plugin(
        dir: &Path,
        id: &str,
        version: &str,
        script: &str,
    ) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = dir.join(id).join(format!("v{version}"));
        std::fs::create_dir_all(&folder)?;
        let manifest = serde_json::json!({
            "id": id, "name": id, "version": version, "priority": 20, "queue": "fast",
            "dataSchema": {}, "entryPoint": { "main": "run.sh", "args": ["--serve"] },
        });
        std::fs::write(folder.join("manifest.json"), manifest.to_string())?;
        let program = folder.join("run.sh");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    fn edit(folder: &Path, from: &str, to: &str) -> anyhow::Result<()> {
        let path = folder.join("manifest.json");
        let text = std::fs::read_to_string(&path)?.replace(from, to);
        Ok(std::fs::write(path, text)?)
    }

    #[test]
    fn the_highest_version_of_all_folders_wins() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let (one, two) = (home.path().join("one"), home.path().join("two"));
        for version in ["1.9.0", "1.10.0", "1.10.0-rc.1"] {
            plugin(&one, "a", version, "")?;
        }
        plugin(&two, "a", "1.10.0", "")?;
        plugin(&two, "b", "0.1.0", "")?;
        std::fs::create_dir_all(one.join(".git"))?;
        std::fs::create_dir_all(one.join("a/src"))?;

        let found = discover(&[one.clone(), two.clone()]);

        assert_eq!(found.problems, []);
        let dirs: Vec<_> = found.plugins.values().map(|found| found.dir.clone()).collect();
        assert_eq!(dirs, [one.join("a/v1.10.0"), two.join("b/v0.1.0")]);
        Ok(())
    }

    #[test]
    fn what_breaks_a_rule_is_told_and_the_next_lower_version_is_taken() -> anyhow::Result<()> {
        for (from, to, rule) in [
            (r#""id":"a""#, r#""id":"b""#, "id: `b` is not the plugin it lies under"),
            ("2.0.0", "2.0.1", "version: 2.0.1 is not that of the folder, 2.0.0"),
            (r#""priority":20"#, r#""priority":5"#, "priority: 5 must be"),
            ("run.sh", "../run.sh", "must be a path inside the plugin's folder"),
            ("run.sh", "/bin/sh", "must be a path inside the plugin's folder"),
            ("run.sh", "gone.sh", "there is no file `gone.sh`"),
            ("entryPoint", "other", "entryPoint: is required"),
            (r#""queue""#, r#""minEngineVersion":"999.0.0","queue""#, "needs MetaFleet 999.0.0"),
            ("{", "", "invalid manifest"),
        ] {
            let home = tempfile::tempdir()?;
            plugin(home.path(), "a", "1.0.0", "")?;
            edit(&plugin(home.path(), "a", "2.0.0", "")?, from, to)?;

            let found = discover(&[home.path().to_owned()]);

            let told: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 1, "{rule}: {told:?}");
            assert!(told[0].contains("v2.0.0/manifest.json: plugin `a`: "), "{told:?}");
            assert!(told[0].contains(rule), "{told:?}");
            let versions: Vec<_> = found.plugins.values().map(|f| &f.manifest.version).collect();
            assert_eq!(versions, [&Version::new(1, 0, 0)], "{rule}");
        }
        Ok(())
    }

    #[test]
    fn folders_that_are_no_plugins_are_told() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let folder = plugin(home.path(), "a", "1.0.0", "")?;
        std::fs::rename(&folder, folder.with_file_name("v1"))?;
        std::fs::create_dir_all(home.path().join("Bad Name"))?;

        let found = discover(&[home.path().to_owned(), home.path().join("none")]);

        assert!(found.plugins.is_empty());
        let told: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|text| text.contains("Bad Name: the folder's name: plugin id")));
        assert!(told.iter().any(|text| text.contains("v1: the folder's name must be `v`")));
        assert!(told.iter().any(|text| text.contains("none: could not read the folder")));
        assert_eq!(told.len(), 3, "{told:?}");
        Ok(())
    }

    #[test]
    fn a_folder_that_is_named_goes_first() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        plugin(&home.path().join("plugins"), "a", "9.0.0", "")?;
        plugin(&home.path().join("mine"), "a", "1.0.0", "")?;
        let text = "plugins:\n  a: {dir: mine/a/v1.0.0}\n  b: {dir: gone}\n  \
                    c: {dir: gone, command: [x]}\n";
        let file = PluginsFile::parse(&home.path().join("plugins.yml"), text, &vars(&[])).unwrap();

        let mut found = discover(&[home.path().join("plugins")]);
        found.add_named(&file);

        assert_eq!(found.plugins.len(), 1);
        assert_eq!(found.plugins[&"a".parse()?].dir, home.path().join("mine/a/v1.0.0"));
        assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
        assert_eq!(found.problems[0].plugin.as_deref(), Some("b"));
        Ok(())
    }
}
