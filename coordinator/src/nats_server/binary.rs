//! Which nats-server is run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use semver::Version;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::{DataDir, Vars};

/// The oldest minor version that can do what we need: scheduled messages came with it.
pub const OLDEST: (u64, u64) = (2, 12);
/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// A nats-server that is new enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The program.
    pub path: PathBuf,
    /// What it says it is.
    pub version: Version,
}

/// There is no nats-server to run.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// `NATS_SERVER_BIN` names something that cannot be used.
    #[error("NATS_SERVER_BIN: {0}")]
    Named(Unfit),
    /// There is one, but none that can be used.
    #[error("no nats-server {}.{} or newer: {}", OLDEST.0, OLDEST.1, list(.0))]
    Unfit(Vec<Unfit>),
    /// There is none.
    #[error(
        "no nats-server found: install {}.{} or newer on PATH, set NATS_SERVER_BIN to one, or use \
         a broker that runs with --nats",
        OLDEST.0, OLDEST.1
    )]
    None,
}

/// Why a program is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It does not run.
    #[error("{path} does not run: {reason}")]
    Broken {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is too old.
    #[error("{path} is version {version}")]
    Old {
        /// The program.
        path: PathBuf,
        /// What it says it is.
        version: Version,
    },
}

fn list(unfit: &[Unfit]) -> String {
    unfit.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Binary {
    /// Finds the first that is new enough: `NATS_SERVER_BIN` (then no other is tried), `PATH`,
    /// the data folder, `.tools` beside the checkout this program was built in.
    ///
    /// # Errors
    ///
    /// [`BinaryError`] says what was found and why it will not do.
    pub async fn find(vars: &dyn Vars, data_dir: &DataDir) -> Result<Self, BinaryError> {
        if let Some(path) = vars.non_empty("NATS_SERVER_BIN") {
            return Self::check(Path::new(&path)).await.map_err(BinaryError::Named);
        }
        let mut unfit = Vec::new();
        for path in candidates(vars, data_dir) {
            match Self::check(&path).await {
                Ok(binary) => return Ok(binary),
                Err(reason) => unfit.push(reason),
            }
        }
        Err(if unfit.is_empty() { BinaryError::None } else { BinaryError::Unfit(unfit) })
    }

    async fn check(path: &Path) -> Result<Self, Unfit> {
        let broken = |reason: String| Unfit::Broken { path: path.to_owned(), reason };
        let said = ask(path).await.map_err(|error| broken(error.to_string()))?;
        let version = parse(&said).ok_or_else(|| broken("it does not say its version".into()))?;
        if (version.major, version.minor) < OLDEST {
            return Err(Unfit::Old { path: path.to_owned(), version });
        }
        Ok(Self { path: path.to_owned(), version })
    }
}

async fn ask(path: &Path) -> io::Result<String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.map_err(io::Error::from)??;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads `nats-server: v2.15.1`.
fn parse(said: &str) -> Option<Version> {
    Version::parse(said.trim().strip_prefix("nats-server:")?.trim().trim_start_matches('v')).ok()
}

fn candidates(vars: &dyn Vars, data_dir: &DataDir) -> Vec<PathBuf> {
    let path = vars.get("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("nats-server"));
    let beside = std::env::current_exe().map(|exe| fetched(&exe)).unwrap_or_default();
    on_path
        .chain([data_dir.bin().join("nats-server")])
        .chain(beside)
        .filter(|p| p.is_file())
        .collect()
}

/// Those in the `.tools` of the folders above `exe`, newest first.
fn fetched(exe: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(Option<Version>, PathBuf)> = exe
        .ancestors()
        .filter_map(|dir| std::fs::read_dir(dir.join(".tools")).ok())
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix("nats-server")?.trim_start_matches('-');
            Some((Version::parse(version).ok(), entry.path().join("nats-server")))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::vars::vars;

    /// A program that says it is nats-server of some version.
    fn pretend(dir: &Path, says: &str) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("nats-server");
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n"))?;
        Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?)
    }

    #[tokio::test]
    async fn one_that_is_too_old_is_passed_over_and_named_when_it_is_all_there_is()
    -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let (old, junk) = (home.path().join("old"), home.path().join("junk"));
        pretend(&old, "nats-server: v2.9.10")?;
        pretend(&junk, "hello")?;
        let path = format!("{}:{}", old.display(), junk.display());
        let data = DataDir::new(home.path().join("data"));
        let vars = vars(&[("PATH", &path)]);

        pretend(&data.bin(), "nats-server: v2.12.0-RC.1")?;
        let found = Binary::find(&vars, &data).await?;
        std::fs::remove_dir_all(data.bin())?;
        let none: Vec<_> = candidates(&vars, &data);

        assert_eq!(found.version.to_string(), "2.12.0-RC.1");
        assert!(none.starts_with(&[old.join("nats-server"), junk.join("nats-server")]));
        let unfit = Binary::check(&none[0]).await.unwrap_err();
        let error = BinaryError::Unfit(vec![unfit]).to_string();
        assert!(error.contains("no nats-server 2.12 or newer"), "{error}");
        assert!(error.contains("old/nats-server is version 2.9.10"), "{error}");
        Ok(())
    }

    #[tokio::test]
    async fn the_one_that_is_named_is_used_or_an_error() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        pretend(home.path(), "nats-server: v2.13.1")?;
        let named = home.path().join("nats-server").display().to_string();
        let data = DataDir::new(home.path());

        let found = Binary::find(&vars(&[("NATS_SERVER_BIN", &named)]), &data).await?;
        let error = Binary::find(&vars(&[("NATS_SERVER_BIN", "/none")]), &data).await.unwrap_err();

        assert_eq!(found.version, Version::new(2, 13, 1));
        assert!(error.to_string().starts_with("NATS_SERVER_BIN: /none does not run"), "{error}");
        Ok(())
    }

    #[test]
    fn the_newest_that_was_fetched_goes_first() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        for version in ["2.9.1", "2.15.1", "2.14.0"] {
            let dir = home.path().join(format!(".tools/nats-server-{version}"));
            std::fs::create_dir_all(&dir)?;
        }
        std::fs::create_dir_all(home.path().join(".tools/other"))?;
        let found = fetched(&home.path().join("target/debug/metafleet"));
        let names: Vec<_> =
            found.iter().filter_map(|path| path.parent()?.file_name()?.to_str()).take(3).collect();
        assert_eq!(names, ["nats-server-2.15.1", "nats-server-2.14.0", "nats-server-2.9.1"]);
        Ok(())
    }
}
