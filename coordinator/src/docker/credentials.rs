//! Logins at registries, as the `docker` command keeps them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::engine::Login;
use crate::config::{Secret, Vars};

/// How long a credential helper may take.
const HELPER: Duration = Duration::from_secs(10);
/// The registry of names that name none, as the `docker` command keeps it.
const HUB: &str = "https://index.docker.io/v1/";

/// `config.json` of the `docker` command, as far as it is about logins.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<Secret>,
    identitytoken: Option<Secret>,
}

/// Where a login comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The file itself.
    File(Login),
    /// A program that is asked for it.
    Helper(String),
    /// Nowhere.
    None,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// Where the `docker` command keeps its settings.
#[must_use]
pub fn config_file(vars: &dyn Vars) -> Option<PathBuf> {
    let dir = vars.non_empty("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(vars.non_empty("HOME")?).join(".docker"));
    Some(dir.or_else(home)?.join("config.json"))
}

/// The login for the registry of `image`; `None` = without.
///
/// # Errors
///
/// What is wrong with the file or the helper; never what they hold.
pub async fn login(config: Option<&PathBuf>, image: &str) -> Result<Option<Login>, String> {
    let Some(path) = config else { return Ok(None) };
    let Ok(text) = tokio::fs::read(path).await else { return Ok(None) };
    let config: DockerConfig = serde_json::from_slice(&text)
        .map_err(|_| format!("{} is not what the docker command writes", path.display()))?;
    let registry = registry(image);
    match source(&config, registry) {
        Source::None => Ok(None),
        Source::File(login) => Ok(Some(login)),
        Source::Helper(name) => ask(&name, registry).await,
    }
}

/// The registry that the name of an image begins with.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => HUB,
    }
}

fn source(config: &DockerConfig, registry: &str) -> Source {
    if let Some(helper) = config.cred_helpers.get(registry).or(config.creds_store.as_ref()) {
        return Source::Helper(helper.clone());
    }
    let bare = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        key.split('/').next().unwrap_or_default().to_owned()
    };
    let is_it = |key: &&String| *key == registry || bare(key) == bare(registry);
    let Some(auth) = config.auths.keys().find(is_it).and_then(|key| config.auths.get(key)) else {
        return Source::None;
    };
    let server = registry.to_owned();
    if let Some(token) = auth.identitytoken.clone().filter(|token| !token.reveal().is_empty()) {
        return Source::File(Login { server, user: "<token>".to_owned(), secret: token });
    }
    let decoded = auth.auth.as_ref().and_then(|auth| {
        let bytes = data_encoding::BASE64.decode(auth.reveal().as_bytes()).ok()?;
        String::from_utf8(bytes).ok()
    });
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, secret)) => {
            Source::File(Login { server, user: user.to_owned(), secret: Secret::new(secret) })
        }
        None => Source::None,
    }
}

async fn ask(helper: &str, registry: &str) -> Result<Option<Login>, String> {
    // A name, never a path: it comes from a file that other programs write.
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err("the name of the credential helper makes no sense".to_owned());
    }
    let program = format!("docker-credential-{helper}");
    let failed = |reason: &str| format!("the credential helper {program} {reason}");
    let run = async {
        let mut command = Command::new(&program);
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(registry.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let done = match timeout(HELPER, run).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Err(failed(&format!("cannot be run: {error}"))),
        Err(_) => return Err(failed("does not answer within 10 s")),
    };
    if !done.status.success() {
        // It says so, too, when it knows no login: the image may need none.
        return Ok(None);
    }
    let answer: Answer = serde_json::from_slice(&done.stdout)
        .map_err(|_| failed("answers what nobody understands"))?;
    Ok(Some(Login { server: registry.to_owned(), user: answer.username, secret: answer.secret }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vars::vars;

    fn config(text: &str) -> DockerConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_login_is_that_of_the_images_registry() {
        let text = r#"{"auths": {"ghcr.io": {"auth": "bWU6aHVzaA=="}, "https://index.docker.io/v1/":
            {"identitytoken": "hush"}}, "credHelpers": {"r.example:5000": "box"}}"#;
        let login = |server: &str, user: &str| {
            let secret = Secret::new("hush");
            Source::File(Login { server: server.to_owned(), user: user.to_owned(), secret })
        };
        for (image, expected) in [
            ("ghcr.io/a/b:main", login("ghcr.io", "me")),
            ("a/b", login(HUB, "<token>")),
            ("busybox", login(HUB, "<token>")),
            ("r.example:5000/x", Source::Helper("box".to_owned())),
            ("localhost/x", Source::None),
        ] {
            assert_eq!(source(&config(text), registry(image)), expected, "{image}");
        }
        let all = config(r#"{"credsStore": "desktop"}"#);
        assert_eq!(source(&all, "x"), Source::Helper("desktop".to_owned()));
    }

    #[test]
    fn the_file_is_where_the_docker_command_keeps_it() {
        assert_eq!(config_file(&vars(&[("HOME", "/h")])), Some("/h/.docker/config.json".into()));
        let both = vars(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]);
        assert_eq!(config_file(&both), Some("/d/config.json".into()));
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_without_what_it_holds() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("config.json");
        assert_eq!(login(Some(&path), "a").await, Ok(None), "no file, no login");
        for (text, rule) in [
            ("hush", "is not what the docker command writes"),
            (r#"{"credsStore": "../hush"}"#, "makes no sense"),
            (r#"{"credsStore": "none-of-that-name"}"#, "cannot be run"),
        ] {
            std::fs::write(&path, text)?;
            let error = login(Some(&path), "a").await.unwrap_err();
            assert!(error.contains(rule) && !error.contains("hush"), "{error}");
        }
        Ok(())
    }
}
