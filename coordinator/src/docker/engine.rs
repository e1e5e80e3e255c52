//! The engine: the only module that speaks to it. Every call has a time limit.

mod about;
mod body;
mod lives;
mod look;
mod network;
mod pull;
mod usage;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::time::timeout;

use super::context;
use super::describe::{Description, Image};
use super::digest::digest_of;
use super::naming::{FLEET_ID, FleetId, IMAGE_MANIFEST, IMAGE_PERMISSIONS};
use crate::config::Vars;

pub use self::about::About;
pub use self::look::Look;
pub use self::network::FoundNetwork;
pub use self::pull::Login;

/// How long a call may take when nothing is said.
const CALL: Duration = Duration::from_secs(30);
/// What a stop may take beyond the time that the container has.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// Lines of a container's output that are read at its end.
const LAST_LINES: &str = "200";
/// Bytes of them.
const LAST_BYTES: usize = 256 << 10;

/// A connection to an engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
}

/// What is wanted of a container's log.
#[derive(Clone, Copy, Debug)]
pub struct LogPart {
    /// Lines from before; `None` = all.
    pub last: Option<usize>,
    /// None from before this second.
    pub since: Option<Timestamp>,
    /// Whether those that come are wanted, too.
    pub follow: bool,
}

/// The engine did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is none, or it does not answer.
    #[error("could not {what}: the Docker engine does not answer ({reason})")]
    Away {
        /// What was asked for.
        what: String,
        /// Why.
        reason: String,
    },
    /// It says no.
    #[error("could not {what}: the Docker engine says: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The status of its answer.
        status: u16,
        /// Its words.
        message: String,
    },
}

impl EngineError {
    /// Whether it says that something is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether what was asked for is so already, or is being done.
    fn is_done(&self) -> bool {
        matches!(self, Self::Refused { status: 304 | 404, .. })
            || matches!(self, Self::Refused { status: 409, message, .. } if message.contains("already in progress"))
    }

    /// Whether there is no engine to be asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    fn new(what: &str, error: Error) -> Self {
        let what = what.to_owned();
        if let Error::DockerResponseServerError { status_code: status, message } = error {
            return Self::Refused { what, status, message };
        }
        if let Error::DockerStreamError { error: message } = error {
            return Self::Refused { what, status: 500, message };
        }
        if matches!(error, Error::JsonDataError { .. }) {
            return Self::Refused { what, status: 500, message: error.to_string() };
        }
        Self::Away { what, reason: broker_config::Chain(&error).to_string() }
    }
}

/// Where the engine listens: `DOCKER_HOST`, else the chosen context of the `docker` command, else the
/// first usual socket that is there.
#[must_use]
pub fn address(vars: &dyn Vars) -> String {
    if let Some(host) = vars.non_empty("DOCKER_HOST").or_else(|| context::host(vars)) {
        return host;
    }
    let of_user = vars.non_empty("XDG_RUNTIME_DIR").unwrap_or_default();
    let usual = "/var/run/docker.sock".to_owned();
    let sockets = [
        usual.clone(),
        format!("{of_user}/docker.sock"),
        format!("{of_user}/podman/podman.sock"),
        "/run/podman/podman.sock".to_owned(),
    ];
    let found = sockets.into_iter().find(|path| Path::new(path).exists());
    format!("unix://{}", found.unwrap_or(usual))
}

async fn within<T>(
    what: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match timeout(limit, call).await {
        Ok(result) => result.map_err(|error| EngineError::new(what, error)),
        Err(_) => Err(EngineError::Away {
            what: what.to_owned(),
            reason: format!("nothing within {} s", limit.as_secs()),
        }),
    }
}

/// Takes it as done when it is done already.
fn idempotent(result: Result<(), EngineError>) -> Result<(), EngineError> {
    match result {
        Err(error) if error.is_done() => Ok(()),
        other => other,
    }
}

impl Engine {
    /// Connects and agrees on a version of the API.
    ///
    /// # Errors
    ///
    /// [`EngineError::Away`] while there is no engine at `address`.
    pub async fn connect(address: &str) -> Result<Self, EngineError> {
        let what = format!("reach the engine at {address}");
        let docker =
            Docker::connect_with_host(address).map_err(|error| EngineError::new(&what, error))?;
        let docker = within(&what, CALL, docker.negotiate_version()).await?;
        Ok(Self { docker })
    }

    /// The image called so, if it is here.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn image(&self, name: &str) -> Result<Option<Image>, EngineError> {
        let what = format!("look at the image {name}");
        let inspected = match within(&what, CALL, self.docker.inspect_image(name)).await {
            Ok(inspected) => inspected,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let config = inspected.config.unwrap_or_default();
        let mut labels = config.labels.unwrap_or_default();
        let mut volumes = config.volumes.unwrap_or_default();
        volumes.sort();
        Ok(Some(Image {
            id: inspected.id.unwrap_or_default(),
            digest: digest_of(name, &inspected.repo_digests.unwrap_or_default()),
            // The others are none of our business and need not change the hash.
            labels: [IMAGE_PERMISSIONS, IMAGE_MANIFEST]
                .into_iter()
                .filter_map(|name| labels.remove_entry(name))
                .collect(),
            volumes,
        }))
    }

    /// Makes a container; returns its identity.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn create(
        &self,
        description: &Description,
        fleet: &FleetId,
    ) -> Result<String, EngineError> {
        let what = format!("make {}", description.name);
        let options = CreateContainerOptionsBuilder::new().name(description.name.as_str()).build();
        let body = body::body(description, fleet);
        let call = self.docker.create_container(Some(options), body);
        within(&what, CALL, call).await.map(|made| made.id)
    }

    /// Starts a container; it may run already.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let what = format!("start the container {id}");
        match within(&what, CALL, self.docker.start_container(id, None)).await {
            Err(EngineError::Refused { status: 304, .. }) => Ok(()),
            other => other,
        }
    }

    /// Asks a container to stop, kills it after `grace`, and returns when it has ended or is gone.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let what = format!("stop the container {id}");
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let call = self.docker.stop_container(id, Some(options));
        idempotent(within(&what, grace + STOP_MARGIN, call).await)
    }

    /// Removes a container with its own volumes; it need not be there.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let what = format!("remove the container {id}");
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        idempotent(within(&what, CALL, self.docker.remove_container(id, Some(options))).await)
    }

    /// Lets a container go on.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn unpause(&self, id: &str) -> Result<(), EngineError> {
        let what = format!("let the container {id} go on");
        within(&what, CALL, self.docker.unpause_container(id)).await
    }

    /// Gives a container another name.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let what = format!("rename the container {id} to {name}");
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        within(&what, CALL, self.docker.rename_container(id, options)).await
    }

    /// The last that a container has printed.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn output(&self, id: &str) -> Result<Vec<u8>, EngineError> {
        let what = format!("read what the container {id} has printed");
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LAST_LINES).build();
        let read = async {
            let mut parts = std::pin::pin!(self.docker.logs(id, Some(options)));
            let mut all = Vec::new();
            while let Some(part) = parts.next().await {
                let part = part?.into_bytes();
                let room = LAST_BYTES.saturating_sub(all.len());
                all.extend(part.iter().take(room));
                if room == 0 {
                    break;
                }
            }
            Ok(all)
        };
        within(&what, CALL, read).await
    }

    /// What a container prints. Ends with the container, or with the first error.
    pub fn follow(
        &self,
        id: &str,
        part: LogPart,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
        let what = format!("read what the container {id} prints");
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(part.follow);
        let options = options.tail(&part.last.map_or_else(|| "all".to_owned(), |n| n.to_string()));
        let since = part.since.and_then(|since| i32::try_from(since.as_second()).ok());
        let options = options.since(since.unwrap_or_default()).build();
        let parts = self.docker.logs(id, Some(options));
        parts.map(move |part| {
            part.map(LogOutput::into_bytes).map_err(|error| EngineError::new(&what, error))
        })
    }

    /// Yields once for everything that happens to a container of the fleet, until the engine goes.
    pub fn events(&self, fleet: &FleetId) -> impl Stream<Item = ()> + use<> {
        let filters = HashMap::from([("label", vec![format!("{FLEET_ID}={fleet}")])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = self.docker.events(Some(options));
        events.take_while(|event| std::future::ready(event.is_ok())).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vars::vars;

    #[test]
    fn the_address_is_the_one_that_is_said_else_a_socket() {
        assert_eq!(address(&vars(&[("DOCKER_HOST", "tcp://h:1")])), "tcp://h:1");
        assert!(address(&vars(&[])).starts_with("unix:///"));
    }

    #[tokio::test]
    async fn where_no_engine_is_that_is_said() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let address = format!("unix://{}/none.sock", home.path().display());
        let error = Engine::connect(&address).await.unwrap_err();
        assert!(error.is_away() && error.to_string().contains(&address), "{error}");
        Ok(())
    }
}
