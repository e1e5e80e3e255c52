//! The image that is tried: the same isolation as in a fleet, which grants it all that it wants,
//! but in the machine's network, where the broker is.
//!
//! Containers carry the folder of their kit in a label, and the kit holds a lock there while it
//! lives. So the next kit knows those that a killed one has left, and removes them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::PluginId;
use tokio::time::{Instant, sleep};

use super::worker::Start;
use crate::config::plugins::{Mount, Resources};
use crate::docker::describe::{Description, Image, permissions_of};
use crate::docker::engine::{Engine, EngineError};
use crate::docker::isolation::{Asked, Isolation, isolate};
use crate::docker::naming::{FleetId, hash};

/// Label of a container: the folder of its kit.
pub const FOLDER: &str = "metafleet.conformance.folder";
/// Label of a container: the machine on which that folder is.
pub const HOST: &str = "metafleet.conformance.host";
/// What the kit holds while it lives.
pub const LOCK: &str = "lock";
const NETWORK: &str = "host";
/// How long the engine may take to remove what is left at the end, and how often it is asked.
const GONE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// An image cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The engine does not answer, or says no.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine has none that is called so.
    #[error("there is no image {image} on the Docker engine at {address}")]
    Missing {
        /// Its name.
        image: String,
        /// Where the engine listens.
        address: String,
    },
    /// What it says of itself is wrong.
    #[error("the image {image}: {reason}")]
    Wrong {
        /// Its name.
        image: String,
        /// What.
        reason: String,
    },
    /// The kit's folder cannot be used.
    #[error("lock the folder {}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An image and the engine that has it.
#[derive(Debug)]
pub struct Tried {
    engine: Engine,
    fleet: FleetId,
    plugin: PluginId,
    name: String,
    image: Image,
    arguments: Option<Vec<String>>,
    isolation: Isolation,
    labels: BTreeMap<String, String>,
    _lock: File,
}

impl Tried {
    /// Looks for the image, and removes containers that killed kits have left.
    ///
    /// `arguments`: those of its containers in place of the image's own; `folder`: where the kit puts
    /// everything, which nobody else uses.
    ///
    /// # Errors
    ///
    /// [`ImageError`].
    pub async fn open(
        address: &str,
        name: &str,
        arguments: Option<Vec<String>>,
        folder: &Path,
        user: (u32, u32),
    ) -> Result<Self, ImageError> {
        let wrong = |reason| ImageError::Wrong { image: name.to_owned(), reason };
        let failed = |source| ImageError::Folder { folder: folder.to_owned(), source };
        let engine = Engine::connect(address).await?;
        let image = engine.image(name).await?.ok_or_else(|| ImageError::Missing {
            image: name.to_owned(),
            address: address.to_owned(),
        })?;
        let wanted = permissions_of(&image).map_err(wrong)?.unwrap_or_default();
        let asked = Asked { declared: Some(&wanted), granted: &wanted, has_writable_mount: false };
        let isolation = isolate(&asked, Resources::default(), user).map_err(wrong)?;
        let lock = lock(folder).map_err(failed)?;
        let host = host();
        let labels = BTreeMap::from([
            (FOLDER.to_owned(), folder.to_string_lossy().into_owned()),
            (HOST.to_owned(), host.clone()),
        ]);
        let whose = |text: &str| wrong(format!("{text} is no name"));
        let prefix = "conformance".parse().map_err(|_| whose("the prefix"))?;
        let plugin = "conformance".parse().map_err(|_| whose("the plugin"))?;
        let fleet = FleetId::new(&prefix, &hash(folder.as_os_str().as_encoded_bytes(), 4));
        // In a network that leads outside, as that of the machine does.
        let isolation = Isolation { is_open: true, ..isolation };
        let name = name.to_owned();
        let tried =
            Self { engine, fleet, plugin, name, image, arguments, isolation, labels, _lock: lock };
        tried.remove(|labels| is_left(labels, &host)).await?;
        Ok(tried)
    }

    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes a container that can be started.
    pub(super) async fn create(&self, start: &Start) -> Result<String, EngineError> {
        if let Err(error) = std::fs::set_permissions(&start.folder, Permissions::from_mode(0o777)) {
            // Then the worker says what it cannot write.
            tracing::debug!(%error, "the folder of a case stays closed");
        }
        self.engine.create(&self.describe(start)?, &self.fleet).await
    }

    fn describe(&self, start: &Start) -> Result<Description, EngineError> {
        let case = start.folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{}-{case}-{}", self.fleet, start.instance);
        let name = name.parse().map_err(|_| EngineError::Refused {
            what: format!("make {name}"),
            status: 400,
            message: "this is no name of a container".to_owned(),
        })?;
        let folder = start.folder.clone();
        Ok(Description {
            name,
            plugin: self.plugin.clone(),
            image: self.name.clone(),
            image_id: self.image.id.clone(),
            image_digest: self.image.digest.clone(),
            command: self.arguments.clone(),
            env: start.variables.clone(),
            mounts: vec![Mount { source: folder.clone(), target: folder, writable: true }],
            volumes: self.image.volumes.clone(),
            labels: self.labels.clone(),
            hosts: BTreeMap::new(),
            network: NETWORK.to_owned(),
            network_id: NETWORK.to_owned(),
            isolation: self.isolation.clone(),
            bridge: None,
        })
    }

    /// Removes all containers of this kit that are still there, and waits until they are gone: the
    /// engine may say that it is about to.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; the next kit removes the others.
    pub async fn close(&self) -> Result<(), EngineError> {
        let until = Instant::now() + GONE;
        let ours =
            |labels: &BTreeMap<String, String>| labels.get(FOLDER) == self.labels.get(FOLDER);
        while self.remove(ours).await? > 0 {
            if Instant::now() > until {
                let reason = format!("they are there after {} s", GONE.as_secs());
                return Err(EngineError::Away { what: "remove its containers".to_owned(), reason });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Asks for such containers to be removed; how many there were.
    async fn remove(
        &self,
        such: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<usize, EngineError> {
        let mut found = self.engine.labelled(FOLDER).await?;
        found.retain(|(_, labels)| such(labels));
        for (id, _) in &found {
            self.engine.remove(id).await?;
        }
        Ok(found.len())
    }
}

/// Takes the lock of the kit in this folder.
fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// The name of this machine; that of another one says nothing about our folders.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Whether a container with these labels belongs to a kit that does not live any more.
fn is_left(labels: &BTreeMap<String, String>, host: &str) -> bool {
    let (Some(folder), Some(of)) = (labels.get(FOLDER), labels.get(HOST)) else { return false };
    if of != host {
        return false;
    }
    match OpenOptions::new().read(true).open(Path::new(folder).join(LOCK)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        // Another user's folder cannot be looked into.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(folder: &Path, host: &str) -> BTreeMap<String, String> {
        let folder = folder.to_string_lossy().into_owned();
        [(FOLDER.to_owned(), folder), (HOST.to_owned(), host.to_owned())].into()
    }

    #[test]
    fn only_what_a_dead_kit_of_this_machine_has_made_is_left_over() {
        let home = tempfile::tempdir().unwrap();
        let (dead, alive) = (home.path().join("dead"), home.path().join("alive"));
        std::fs::create_dir(&dead).unwrap();
        std::fs::create_dir(&alive).unwrap();
        drop(lock(&dead).unwrap());
        let held = lock(&alive).unwrap();

        for (what, labels, expected) in [
            ("its folder is gone", labels(&home.path().join("gone"), "here"), true),
            ("nobody holds its lock", labels(&dead, "here"), true),
            ("its kit lives", labels(&alive, "here"), false),
            ("another machine", labels(&dead, "there"), false),
            ("no label", BTreeMap::new(), false),
        ] {
            assert_eq!(is_left(&labels, "here"), expected, "{what}");
        }
        drop(held);
    }
}
