//! The file that the overrides are kept in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::PluginId;
use tokio::time::{Instant, sleep};

use super::{Override, Overrides};
use crate::config::private_file;

/// How long others may take to change it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// The operating system refuses.
    #[error("could not use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else changes it.
    #[error("{path} is being changed by somebody else")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written there.
    #[error(
        "{path}:{line}: not what this version keeps there; mend it, or remove it, and with it all \
         that was changed through the API"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        line: usize,
    },
}

/// The right to read the file and write it again; dropping it gives the right back.
#[derive(Debug)]
pub struct OverridesLock {
    _file: File,
}

impl Overrides {
    /// Takes the right to change the file.
    ///
    /// # Errors
    ///
    /// [`OverridesError::Busy`] while somebody else has it, which is a moment.
    pub fn lock(path: &Path) -> Result<OverridesLock, OverridesError> {
        let failed = |source| OverridesError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let file = options.open(path.with_extension("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(OverridesLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OverridesError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Changes what is kept of a plugin, whatever others change meanwhile. A fleet that runs sees it.
    ///
    /// # Errors
    ///
    /// [`OverridesError`]; nothing is changed then.
    pub async fn change(
        path: &Path,
        id: &PluginId,
        change: impl FnOnce(&mut Override),
    ) -> Result<(), OverridesError> {
        let until = Instant::now() + PATIENCE;
        let lock = loop {
            match Self::lock(path) {
                Err(OverridesError::Busy { .. }) if Instant::now() < until => sleep(PAUSE).await,
                taken => break taken?,
            }
        };
        let mut all = Self::read(path)?;
        let before = all.of(id);
        let mut changed = before.clone();
        change(&mut changed);
        if changed != before {
            all.set(id, changed);
            all.write(path)?;
        }
        drop(lock);
        Ok(())
    }

    /// Reads the file; one that is not there changes nothing.
    ///
    /// # Errors
    ///
    /// [`OverridesError`]; it quotes nothing of the file.
    pub fn read(path: &Path) -> Result<Self, OverridesError> {
        match std::fs::read(path) {
            // The library's message would quote values.
            Ok(text) => serde_json::from_slice(&text).map_err(|error| OverridesError::Unreadable {
                path: path.to_owned(),
                line: error.line(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(OverridesError::Io { path: path.to_owned(), source }),
        }
    }

    /// Replaces the file; it is its owner's alone, because it may hold secrets.
    ///
    /// # Errors
    ///
    /// [`OverridesError::Io`]; the old file is then still there.
    pub fn write(&self, path: &Path) -> Result<(), OverridesError> {
        let failed = |source| OverridesError::Io { path: path.to_owned(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        private_file::write(path, &text).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_what_is_broken_is_not_quoted() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("overrides.json");
        assert_eq!(Overrides::read(&path)?, Overrides::default());
        let overrides: Overrides = serde_json::from_value(
            json!({"plugins": {"a": {"enabled": true, "config": {"k": null, "s": "hush"}}}}),
        )?;

        overrides.write(&path)?;

        assert_eq!(Overrides::read(&path)?, overrides);
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "{\"plugins\":\n{\"a\": \"hush\"}}")?;
        let error = format!("{:?}", anyhow::Error::new(Overrides::read(&path).unwrap_err()));
        assert!(error.contains("overrides.json:2") && !error.contains("hush"), "{error}");
        Ok(())
    }
}
