//! The program as a person runs it: the real binary in a folder of its own, with real plugins.

pub mod home;
pub mod look;
pub mod processes;
pub mod up;

pub use home::{Done, Home};
pub use look::Look;
pub use up::Up;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use broker_config::planted;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The repository.
fn root() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?.to_owned())
}

/// Where the installation is staged that was built as these tests were.
const STAGE: &str = if planted::COMPILED_IN { "target/planted/stage" } else { "target/stage" };

/// A file or folder of the staged installation, which must be there.
pub fn staged(path: &str) -> anyhow::Result<PathBuf> {
    let staged = root()?.join(STAGE).join(path);
    if !staged.exists() {
        bail!("{} is not there: run `make build`", staged.display());
    }
    Ok(staged)
}

/// The small library of real media, made once for all tests.
pub async fn demo_library() -> anyhow::Result<PathBuf> {
    static MADE: OnceCell<PathBuf> = OnceCell::const_new();
    let make = || async {
        let folder = root()?.join("target/tmp/demo-library");
        let script = root()?.join("tests/media/make_library.py");
        let done = Command::new("python3").arg(script).arg(&folder).output().await?;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "make the library: {said}");
        Ok(folder)
    };
    MADE.get_or_try_init(make).await.cloned()
}
