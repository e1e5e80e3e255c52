//! The data folder: all that a fleet on this machine keeps.
//!
//! ```text
//! lock         held by the process that runs the fleet
//! fleet.json   how other commands reach it; means nothing while nobody holds the lock
//! node-id      the name of this machine in the fleet
//! nats/        the broker: configuration, passwords, port, store
//! log/         what the broker and the plugins print
//! bin/         programs that were fetched
//! api-token    what whoever uses the API must know
//! overrides.json   what was changed of plugins through the API
//! plugins/     plugins that were installed, as ID/vVERSION
//! login/       how plugin processes log in at the broker, while a fleet runs
//! scratch/     temporary files of plugin processes, while they run
//! ```
//!
//! The operating system drops the lock with its holder, however that ends, so what `fleet.json`
//! says is true exactly while the lock is held.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::Prefix;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::private_file;
use super::vars::Vars;

/// Somebody who only looks holds the lock for less than this.
const LOOKING: Duration = Duration::from_millis(300);
/// Pause between two attempts to get the lock.
const PAUSE: Duration = Duration::from_millis(20);

/// A data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// How other commands reach a running fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetFile {
    /// Its broker, with the login that may do everything.
    pub connection: Connection,
    /// The process that runs it.
    pub pid: u32,
    /// Its prefix.
    pub prefix: Prefix,
    /// Since when.
    pub started: Timestamp,
    /// Whether it ends with the command that runs it; what outlives it needs another fleet.
    #[serde(default)]
    pub temporary: bool,
    /// Where its API is, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// What its plugin processes read of people's files; empty = everywhere.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
}

/// The right to run a fleet over a data folder; dropping it gives the right back.
#[derive(Debug)]
pub struct FleetLock {
    path: PathBuf,
    _file: File,
}

/// The data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is no home to put it in.
    #[error("no data folder: set --data-dir, METAFLEET_DATA_DIR or HOME")]
    NoHome,
    /// Another fleet runs over it.
    #[error("another fleet runs over {path}{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The process, when it said so.
        pid: Option<u32>,
    },
    /// The operating system refuses.
    #[error("could not use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DataDir {
    /// The folder at `root`; nothing is made yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// PURE: decides where it is: `flag`, `METAFLEET_DATA_DIR`, `$XDG_DATA_HOME/metafleet`,
    /// `~/.local/share/metafleet`.
    ///
    /// # Errors
    ///
    /// [`DataDirError::NoHome`] when none of them is known.
    pub fn resolve(flag: Option<&Path>, vars: &dyn Vars) -> Result<Self, DataDirError> {
        if let Some(flag) = flag {
            return Ok(Self::new(flag));
        }
        if let Some(path) = vars.non_empty("METAFLEET_DATA_DIR") {
            return Ok(Self::new(path));
        }
        // The rules of XDG: a relative path there does not count.
        let xdg = vars.non_empty("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        let base = xdg.or_else(|| Some(Path::new(&vars.non_empty("HOME")?).join(".local/share")));
        base.map(|base| Self::new(base.join("metafleet"))).ok_or(DataDirError::NoHome)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the broker keeps.
    #[must_use]
    pub fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    /// One empty file for each plugin that somebody runs besides those that the fleet knows of: it is
    /// let in to the fleet's own broker.
    #[must_use]
    pub fn asked_logins(&self) -> PathBuf {
        self.nats().join("asked")
    }

    /// What the broker and the plugins print.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Programs that were fetched.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// What was changed of plugins through the API.
    #[must_use]
    pub fn overrides(&self) -> PathBuf {
        self.root.join("overrides.json")
    }

    /// Plugins that were installed.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Whether a fleet has ever kept its broker's data here.
    #[must_use]
    pub fn has_broker(&self) -> bool {
        self.nats().join("users.json").exists()
    }

    /// What whoever uses the API must know.
    #[must_use]
    pub fn api_token(&self) -> PathBuf {
        self.root.join("api-token")
    }

    /// Makes the folder and takes the right to run a fleet over it.
    ///
    /// # Errors
    ///
    /// [`DataDirError::InUse`] while another process has that right, [`DataDirError::Io`] when the
    /// folder cannot be made.
    pub async fn lock(&self) -> Result<FleetLock, DataDirError> {
        for dir in [&self.root, &self.log()] {
            private_file::make_dir(dir).map_err(self.failed(dir))?;
        }
        let path = self.root.join("lock");
        let file = open_lock(&path).map_err(self.failed(&path))?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(FleetLock { path: self.fleet_file(), _file: file }),
                Err(TryLockError::WouldBlock) if since.elapsed() < LOOKING => sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    let pid = self.read_fleet().ok().flatten().map(|fleet| fleet.pid);
                    return Err(DataDirError::InUse { path: self.root.clone(), pid });
                }
                Err(TryLockError::Error(source)) => return Err(self.failed(&path)(source)),
            }
        }
    }

    /// The fleet that runs over this folder; `None` when none does, or it has not said so yet.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Io`] when there is one but it cannot be read, e.g. because it is another
    /// person's.
    pub fn running(&self) -> Result<Option<FleetFile>, DataDirError> {
        let path = self.root.join("lock");
        let lock = match OpenOptions::new().read(true).open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed(&path)(source)),
        };
        match lock.try_lock_shared() {
            // Nobody holds it: whatever the file says, its fleet is gone.
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => self.read_fleet(),
            Err(TryLockError::Error(source)) => Err(self.failed(&path)(source)),
        }
    }

    /// The name of this machine in the fleet: made once, then the same for ever.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Io`] when it can be neither read nor made.
    pub fn node_id(&self) -> Result<String, DataDirError> {
        let path = self.root.join("node-id");
        match std::fs::read_to_string(&path) {
            Ok(id) if is_node_id(id.trim()) => return Ok(id.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(self.failed(&path)(source)),
        }
        private_file::make_dir(&self.root).map_err(self.failed(&self.root))?;
        let id = private_file::random_hex(4).map_err(self.failed(&path))?;
        private_file::write(&path, format!("{id}\n").as_bytes()).map_err(self.failed(&path))?;
        Ok(id)
    }

    fn fleet_file(&self) -> PathBuf {
        self.root.join("fleet.json")
    }

    fn read_fleet(&self) -> Result<Option<FleetFile>, DataDirError> {
        let path = self.fleet_file();
        match std::fs::read(&path) {
            // A file of an earlier version that does not fit says as much as none.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed(&path)(source)),
        }
    }

    #[expect(clippy::unused_self, reason = "reads better at the calls")]
    fn failed(&self, path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
        let path = path.to_owned();
        move |source| DataDirError::Io { path, source }
    }
}

impl FleetLock {
    /// Tells other commands how to reach the fleet.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Io`] when the file cannot be written.
    pub fn publish(&self, fleet: &FleetFile) -> Result<(), DataDirError> {
        let failed = |source| DataDirError::Io { path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(fleet).map_err(|error| failed(error.into()))?;
        private_file::write(&self.path, &text).map_err(failed)
    }

    /// Tells it no longer. A file that cannot be removed means nothing once the lock is gone.
    pub fn withdraw(&self) {
        std::fs::remove_file(&self.path).ok();
    }
}

impl Drop for FleetLock {
    fn drop(&mut self) {
        // Only tidiness: without the lock the file means nothing.
        self.withdraw();
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_node_id(text: &str) -> bool {
    (4..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::connection::{Login, Origin, Tls};
    use super::super::secret::Secret;
    use super::super::vars::vars;
    use super::*;

    fn fleet() -> FleetFile {
        let password = Secret::new("hush");
        FleetFile {
            connection: Connection {
                url: "nats://127.0.0.1:1".to_owned(),
                login: Login::User { name: "coordinator".to_owned(), password },
                tls: Tls::default(),
                origin: Origin::Fleet,
            },
            pid: 42,
            prefix: Prefix::default(),
            started: Timestamp::UNIX_EPOCH,
            temporary: false,
            api: Some("http://127.0.0.1:8180".to_owned()),
            roots: Vec::new(),
        }
    }

    #[test]
    fn where_it_is_follows_the_table() {
        for (flag, env, expected) in [
            (Some("/f"), &[("METAFLEET_DATA_DIR", "/e"), ("HOME", "/h")] as &[_], "/f"),
            (None, &[("METAFLEET_DATA_DIR", "/e"), ("XDG_DATA_HOME", "/x")], "/e"),
            (None, &[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], "/x/metafleet"),
            (None, &[("XDG_DATA_HOME", "x"), ("HOME", "/h")], "/h/.local/share/metafleet"),
        ] {
            let dir = DataDir::resolve(flag.map(Path::new), &vars(env)).unwrap();
            assert_eq!(dir.root(), Path::new(expected));
        }
        assert!(matches!(DataDir::resolve(None, &vars(&[])), Err(DataDirError::NoHome)));
    }

    #[tokio::test]
    async fn a_fleet_is_found_while_it_runs_and_not_after() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let dir = DataDir::new(home.path().join("data"));
        assert_eq!(dir.running()?, None);

        let lock = dir.lock().await?;
        assert_eq!(dir.running()?, None, "it has not said so yet");
        lock.publish(&fleet())?;

        assert_eq!(dir.running()?, Some(fleet()));
        let path = dir.root().join("fleet.json");
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        drop(lock);
        assert_eq!(dir.running()?, None);
        assert!(!path.exists());
        Ok(())
    }

    #[tokio::test]
    async fn what_a_killed_fleet_left_is_not_believed() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let dir = DataDir::new(home.path());
        drop(dir.lock().await?);

        std::fs::write(dir.root().join("fleet.json"), serde_json::to_vec(&fleet())?)?;

        assert_eq!(dir.running()?, None);
        Ok(())
    }

    #[tokio::test]
    async fn only_one_fleet_runs_over_a_folder() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let dir = DataDir::new(home.path());
        let first = dir.lock().await?;
        first.publish(&fleet())?;

        let error = dir.lock().await.unwrap_err();

        assert!(error.to_string().contains("(process 42)"), "{error}");
        drop(first);
        drop(dir.lock().await?);
        Ok(())
    }

    #[test]
    fn the_node_keeps_its_name() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let dir = DataDir::new(home.path().join("new"));
        let id = dir.node_id()?;
        assert!(is_node_id(&id));
        assert_eq!(dir.node_id()?, id);
        Ok(())
    }
}
