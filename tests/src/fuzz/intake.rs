//! What people and programs hand us: `plugins.yml`, packages, the words of ffprobe.

use std::collections::BTreeMap;
use std::path::Path;

use coordinator::config::PluginsFile;
use coordinator::config::substitute::{asks, substitute};
use coordinator::package::{CHANGED, InstallOptions, Limits, stage};
use plugin_ffmpeg::{describe, ffprobe as probe};
use tempfile::TempDir;

use super::archive::gzip;

/// The value of a variable; nothing that is told of a file may hold it.
const HUSHED: &str = "hush-4711-hush";
/// Bytes of metadata that may come of one file; the broker refuses more in a record.
const MOST_METADATA: usize = 1 << 20;

/// `plugins.yml`, with variables.
pub fn plugins_yml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let vars: BTreeMap<String, String> =
        [("A", "1"), ("EMPTY", ""), ("TRAP", "${A}"), ("KEY", HUSHED)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    match substitute(text, &vars) {
        Ok(filled) => assert!(asks(text) || filled == text, "it asks for nothing and is changed"),
        Err(error) => assert!(asks(text) && !error.to_string().contains(HUSHED)),
    }
    let escaped = text.replace("${", "$${");
    assert_eq!(substitute(&escaped, &vars).ok().as_deref(), Some(text), "escaped, it is itself");

    let file = Path::new("/home/somebody/plugins.yml");
    match PluginsFile::parse(file, text, &vars) {
        Ok(read) => {
            for (id, entry) in &read.entries {
                assert!(
                    id.kept_for().is_none() && !read.is_broken(id),
                    "{id} is broken and counts"
                );
                drop(entry.may_run());
                // Settings are the place of secrets.
                assert!(!format!("{:?}", entry.config).contains(HUSHED), "{id}");
            }
            for problem in &read.problems {
                assert!(!problem.to_string().contains(HUSHED), "{problem}");
            }
        }
        Err(problem) => assert!(!problem.to_string().contains(HUSHED), "{problem}"),
    }
}

/// A package: as it is where it is compressed, else the archive in it.
pub fn package(data: &[u8]) {
    let installed = install(data);
    assert!(installed.is_ok(), "{:?}", installed.err());
}

fn install(data: &[u8]) -> anyhow::Result<()> {
    // Where there is one, a disk that needs no waiting for.
    let memory = Path::new("/dev/shm");
    let home = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }?;
    let (archive, plugins) = (home.path().join("a.mfp"), home.path().join("plugins"));
    std::fs::create_dir(&plugins)?;
    let packed = if data.starts_with(&[0x1f, 0x8b]) { data.to_vec() } else { gzip(data) };
    std::fs::write(&archive, packed)?;
    let limits = Limits { total: 1 << 20, file: 1 << 19, files: 64, ..Limits::default() };
    let options = InstallOptions { limits, ..InstallOptions::default() };
    match stage(&archive, &plugins, &options) {
        Ok(staged) => {
            let total: u64 = staged.listing.files.iter().map(|file| file.size).sum();
            anyhow::ensure!(total <= limits.total, "{total} bytes were laid out");
            anyhow::ensure!(staged.listing.id == staged.manifest.id, "another plugin than listed");
        }
        Err(error) => anyhow::ensure!(!error.to_string().is_empty(), "nothing is said"),
    }
    let names = |folder: &Path| -> anyhow::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        let text = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        Ok(entries.iter().map(text).collect())
    };
    let mut outside = names(home.path())?;
    outside.sort();
    anyhow::ensure!(outside == ["a.mfp", "plugins"], "something is outside: {outside:?}");
    let kept = |name: &String| name == ".lock" || name == CHANGED;
    let left: Vec<String> = names(&plugins)?.into_iter().filter(|name| !kept(name)).collect();
    anyhow::ensure!(left.is_empty(), "something was left behind: {left:?}");
    Ok(())
}

/// What ffprobe writes about a file that somebody made to mislead it.
pub fn ffprobe(data: &[u8]) {
    let words = probe::words(data);
    assert!(words.chars().count() <= 601 && !words.contains(char::is_control), "{words}");
    let _passes: bool = probe::may_pass(&words);
    let Ok(probe) = probe::parse(data) else { return };
    for mime in ["video/mp4", "audio/webm", ""] {
        let meta = describe::describe(&probe, mime);
        // The same again, and no more of it than came in, with room for names of keys.
        assert_eq!(meta, describe::describe(&probe, mime));
        let shown = format!("{meta:?}").len();
        assert!(shown < MOST_METADATA.max(64 * data.len()), "{shown} bytes");
    }
}
