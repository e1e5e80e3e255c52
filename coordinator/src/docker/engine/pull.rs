//! Fetching an image.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::{Engine, EngineError};
use crate::config::Secret;

/// How long a pull may be silent.
const SILENCE: Duration = Duration::from_secs(120);
/// How long it may take.
const LONGEST: Duration = Duration::from_secs(3600);
/// How often its progress is told.
const TELL: Duration = Duration::from_secs(5);

/// How to log in at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The registry.
    pub server: String,
    /// The name; `<token>` says that the secret is a token of identity.
    pub user: String,
    /// The password or token.
    pub secret: Secret,
}

impl Engine {
    /// Fetches an image, telling how far it is; returns when it is here.
    ///
    /// # Errors
    ///
    /// [`EngineError`], also when nothing moves for two minutes.
    pub async fn pull(&self, image: &str, login: Option<Login>) -> Result<(), EngineError> {
        let what = format!("pull the image {image}");
        let (name, tag) = split(image);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let credentials = login.map(|login| {
            let secret = Some(login.secret.reveal().to_owned());
            let is_token = login.user == "<token>";
            DockerCredentials {
                username: (!is_token).then_some(login.user),
                password: secret.clone().filter(|_| !is_token),
                identitytoken: secret.filter(|_| is_token),
                serveraddress: Some(login.server),
                ..DockerCredentials::default()
            }
        });
        let mut steps = std::pin::pin!(self.docker.create_image(Some(options), None, credentials));
        let begin = Instant::now();
        let mut told = begin;
        info!(image, "pulling an image");
        loop {
            let step = timeout(SILENCE, steps.next()).await;
            let (Ok(step), true) = (step, begin.elapsed() < LONGEST) else {
                return Err(EngineError::Refused {
                    what,
                    status: 504,
                    message: "the registry is too slow".to_owned(),
                });
            };
            let Some(step) = step else { break };
            let step = step.map_err(|error| EngineError::new(&what, error))?;
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(EngineError::Refused { what, status: 500, message });
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                let progress = step.progress_detail.unwrap_or_default();
                let status = step.status.unwrap_or_default();
                info!(image, status, bytes = progress.current, of = progress.total, "pulling");
            }
        }
        info!(image, ms = begin.elapsed().as_millis(), "an image was pulled");
        Ok(())
    }
}

/// Name and tag or digest; without one the engine would fetch every tag there is.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        // A port stands before a slash.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_tag_or_get_one() {
        for (image, expected) in [
            ("a", ("a", "latest")),
            ("r:5000/a/b", ("r:5000/a/b", "latest")),
            ("r:5000/a:main", ("r:5000/a", "main")),
            ("a@sha256:12", ("a", "sha256:12")),
        ] {
            assert_eq!(split(image), expected, "{image}");
        }
    }
}
