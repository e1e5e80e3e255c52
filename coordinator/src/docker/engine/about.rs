//! What the engine is.

use serde::Serialize;

use super::{CALL, Engine, EngineError, within};

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Its version.
    pub version: String,
    /// The version of the API that is spoken with it.
    pub api: String,
    /// The version of control groups, 1 or 2.
    pub cgroups: String,
    /// What keeps containers apart, e.g. `name=seccomp,profile=default`.
    pub security: Vec<String>,
}

impl About {
    /// Whether it runs without root.
    #[must_use]
    pub fn is_rootless(&self) -> bool {
        self.security.iter().any(|option| option.contains("rootless"))
    }
}

impl Engine {
    /// Asks the engine what it is.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn about(&self) -> Result<About, EngineError> {
        let info = within("ask the engine what it is", CALL, self.docker.info()).await?;
        Ok(About {
            version: info.server_version.unwrap_or_default(),
            api: self.docker.client_version().to_string(),
            cgroups: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            security: info.security_options.unwrap_or_default(),
        })
    }
}
