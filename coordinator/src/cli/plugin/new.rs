//! `metafleet plugin new --lang LANG NAME`

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use broker_config::PluginId;
use clap::Args;
use serde_json::json;

use super::super::App;
use super::super::exit::{Exit, Failure};
use crate::scaffold::{self, Lang, NewFile, Sdk};

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The language it is written in
    #[arg(long, value_enum)]
    lang: Lang,
    /// The plugin's id: a-z, 0-9 and -
    name: PluginId,
    /// The folder to make [default: one of the plugin's name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take the SDK from a folder like `worker-sdk` of a checkout [default: `sdk` beside the folder
    /// of this program, if it is there, else what is published]
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub(crate) fn run(app: &App, args: &NewArgs) -> Result<Exit, Failure> {
    if let Some(whom) = args.name.kept_for() {
        let rule = format!("`{}` is kept for {whom}", args.name);
        return Err(Failure::usage(rule).advise("choose another name"));
    }
    let sdk = sdk(args.lang, args.sdk.as_deref())?;
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let files = scaffold::files(args.lang, &args.name, &sdk).map_err(|error| {
        Failure::usage(error.to_string()).advise("put the SDK into a folder with a plain name")
    })?;
    write_all(&dir, &files)?;
    let shown = dir.display().to_string();
    let next = next(&args.name, &shown);
    if let Some(command) = before(args.lang, &sdk) {
        app.out.say(&format!("the SDK is not built yet: {command}"));
    }
    let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
    app.out.document(
        &json!({ "id": args.name, "dir": shown, "files": paths, "next": next }),
        |lines| {
            let (language, count) = (args.lang.name(), paths.len());
            lines.line(&format!(
                "made the {language} plugin {} in {shown}, {count} files; next:",
                args.name
            ));
            for command in &next {
                lines.line(&format!("  {command}"));
            }
        },
    )?;
    Ok(Exit::Ok)
}

/// From here to a plugin that runs in a fleet.
fn next(id: &PluginId, dir: &str) -> [String; 3] {
    [
        format!("cd {dir} && ./test"),
        "metafleet plugin test sample.txt --watch".to_owned(),
        format!("./build && metafleet plugin pack dist && metafleet plugin install {id}-0.1.0.mfp"),
    ]
}

/// The SDK: as told, else beside this program, else as published.
fn sdk(lang: Lang, told: Option<&Path>) -> Result<Sdk, Failure> {
    let mark = mark(lang);
    if let Some(folder) = told {
        let found = fs::canonicalize(folder).map_err(|error| no_sdk(folder, &error.to_string()))?;
        return if found.join(mark).exists() {
            Ok(Sdk::Folder(found))
        } else {
            Err(no_sdk(folder, &format!("it holds no {mark}")))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let called = std::env::args_os().next().and_then(|name| called(Path::new(&name), &path));
    let programs = called.into_iter().chain(std::env::current_exe().ok());
    Ok(beside(programs, mark).map_or(Sdk::Published, Sdk::Folder))
}

/// Where this program was found as it was called; the system knows only where links lead in the end.
fn called(name: &Path, path: &OsStr) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return Some(name.to_owned());
    }
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// The SDK beside the folder of one of these.
fn beside(programs: impl Iterator<Item = PathBuf>, mark: &str) -> Option<PathBuf> {
    programs
        .filter_map(|program| fs::canonicalize(program.parent()?.parent()?.join("sdk")).ok())
        .find(|folder| folder.join(mark).exists())
}

/// What is there when a folder has the SDK of a language.
const fn mark(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "Cargo.toml",
        Lang::Python => "python/pyproject.toml",
        Lang::Typescript => "typescript/package.json",
        Lang::Go => "go/go.mod",
        // It needs a program and no sources.
        Lang::Shell => ".",
    }
}

/// What has to be done before the SDK of a folder can be used.
fn before(lang: Lang, sdk: &Sdk) -> Option<String> {
    let Sdk::Folder(folder) = sdk else { return None };
    let folder = folder.join("typescript");
    let is_unbuilt = lang == Lang::Typescript && !folder.join("dist").exists();
    is_unbuilt.then(|| format!("(cd {} && npm ci && npm run build)", folder.display()))
}

fn no_sdk(folder: &Path, why: &str) -> Failure {
    Failure::not_found(format!("there is no SDK in {}: {why}", folder.display()))
        .advise("--sdk names a folder like `worker-sdk` of a checkout")
}

/// Makes the files; none of them may be there, and what was made is taken away again when one fails.
fn write_all(dir: &Path, files: &[NewFile]) -> Result<(), Failure> {
    let there =
        files.iter().map(|file| dir.join(file.path)).find(|path| path.symlink_metadata().is_ok());
    if let Some(path) = there {
        return Err(exists(&path));
    }
    let mut made = Vec::new();
    for file in files {
        let path = dir.join(file.path);
        match write(&path, file) {
            Ok(()) => made.push(path),
            Err(error) => {
                for path in made {
                    // What cannot be removed either is seen by whoever looks.
                    fs::remove_file(path).unwrap_or_default();
                }
                return Err(if error.kind() == ErrorKind::AlreadyExists {
                    exists(&path)
                } else {
                    let what = format!("write {}", path.display());
                    Failure::because(Exit::Failure, &what, &error)
                });
            }
        }
    }
    Ok(())
}

fn write(path: &Path, file: &NewFile) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mode = if file.executable { 0o777 } else { 0o666 };
    let mut made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    made.write_all(file.text.as_bytes())
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Conflict,
        format!("{} is there already, nothing was written", path.display()),
    )
    .advise("name another folder with --dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &'static str, executable: bool) -> NewFile {
        NewFile { path, text: "new\n".to_owned(), executable }
    }

    #[test]
    fn nothing_is_written_over_and_nothing_is_left_behind() -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir()?;
        let dir = home.path().join("p");
        let files = [file("a", false), file("sub/run", true), file("z", false)];
        for there in ["a", "sub/run", "z", "sub"] {
            fs::create_dir_all(dir.join(there).parent().unwrap_or(&dir))?;
            fs::write(dir.join(there), "mine")?;

            let failure = write_all(&dir, &files).unwrap_err();

            assert_eq!(fs::read_to_string(dir.join(there))?, "mine");
            assert!(there == "sub" || failure.exit == Exit::Conflict, "{failure:?}");
            let mut left = fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name());
            assert!(left.all(|name| name == *there || there.starts_with("sub/")), "{there}");
            fs::remove_dir_all(&dir)?;
        }

        write_all(&dir, &files).unwrap();

        assert_eq!(fs::read_to_string(dir.join("z"))?, "new\n");
        assert_ne!(fs::metadata(dir.join("sub/run"))?.permissions().mode() & 0o100, 0);
        assert_eq!(fs::metadata(dir.join("a"))?.permissions().mode() & 0o111, 0);
        Ok(())
    }

    #[test]
    fn the_sdk_is_beside_the_link_that_was_called_or_beside_the_program() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let root = fs::canonicalize(home.path())?;
        for dir in ["stage/bin", "stage/sdk/python", "built/debug", "plain/bin"] {
            fs::create_dir_all(root.join(dir))?;
        }
        let mark = mark(Lang::Python);
        fs::write(root.join("stage/sdk").join(mark), "")?;
        fs::write(root.join("built/debug/metafleet"), "")?;
        for link in ["stage/bin/metafleet", "plain/bin/metafleet"] {
            std::os::unix::fs::symlink(root.join("built/debug/metafleet"), root.join(link))?;
        }
        let sdk = Some(root.join("stage/sdk"));
        for (name, path, expected) in [
            (root.join("stage/bin/metafleet"), "", &sdk),
            (PathBuf::from("metafleet"), "stage/bin", &sdk),
            (PathBuf::from("metafleet"), "empty:stage/bin:plain/bin", &sdk),
            (PathBuf::from("metafleet"), "plain/bin", &None),
            (PathBuf::from("metafleet"), "", &None),
            (root.join("plain/bin/metafleet"), "stage/bin", &None),
        ] {
            let dirs = path.split(':').filter(|dir| !dir.is_empty()).map(|dir| root.join(dir));
            let called = called(&name, &std::env::join_paths(dirs)?);
            assert_eq!(&beside(called.into_iter(), mark), expected, "{name:?} {path}");
        }
        let really = [root.join("plain/bin/metafleet"), root.join("stage/bin/metafleet")];
        assert_eq!(beside(really.into_iter(), mark), sdk);
        Ok(())
    }
}
