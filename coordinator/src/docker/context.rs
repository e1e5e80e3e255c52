//! The context of the `docker` command: which engine it means where `DOCKER_HOST` says nothing.

use serde::Deserialize;

use super::credentials::config_file;
use super::naming::hash;
use crate::config::Vars;

/// The context that is the usual socket.
const DEFAULT: &str = "default";
/// Contexts are kept under the whole hash of their name.
const HASH_BYTES: usize = 32;

/// `config.json` of the `docker` command, as far as it is about contexts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    current_context: Option<String>,
}

/// What is kept of a context, as far as it is about the engine.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
}

/// Where the engine of the chosen context listens; `None` = none is chosen, or the usual one. One
/// that cannot be read leads to no engine, and never to another one than is meant.
#[must_use]
pub fn host(vars: &dyn Vars) -> Option<String> {
    let config = config_file(vars);
    let current = || {
        let text = std::fs::read(config.as_ref()?).ok()?;
        serde_json::from_slice::<DockerConfig>(&text).ok()?.current_context
    };
    let name = vars.non_empty("DOCKER_CONTEXT").or_else(current);
    let name = name.filter(|name| !name.is_empty() && name != DEFAULT)?;
    let read = || {
        let kept = config.as_ref()?.parent()?.join("contexts/meta");
        let meta = kept.join(hash(name.as_bytes(), HASH_BYTES)).join("meta.json");
        Some(serde_json::from_slice::<Meta>(&std::fs::read(meta).ok()?).ok()?.endpoints.docker.host)
    };
    Some(read().unwrap_or_else(|| format!("context {name}, which cannot be read")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::vars::vars;

    #[test]
    fn the_context_is_the_one_of_the_docker_command() {
        let home = tempfile::tempdir().unwrap();
        let of = |more: &[(&str, &str)]| {
            let dir = home.path().to_string_lossy().into_owned();
            host(&vars(&[&[("DOCKER_CONFIG", dir.as_str())], more].concat()))
        };
        assert_eq!(of(&[]), None, "there is no config.json");
        // `printf far | sha256sum`
        let kept = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868";
        let meta = home.path().join("contexts/meta").join(kept);
        fs::create_dir_all(&meta).unwrap();
        let said = r#"{"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:1"}}}"#;
        fs::write(meta.join("meta.json"), said).unwrap();
        fs::write(home.path().join("config.json"), r#"{"currentContext": "far"}"#).unwrap();

        assert_eq!(of(&[]).as_deref(), Some("tcp://far:1"));
        assert_eq!(of(&[("DOCKER_CONTEXT", "default")]), None);
        let gone = of(&[("DOCKER_CONTEXT", "gone")]).unwrap();
        assert_eq!(gone, "context gone, which cannot be read");
    }
}
