//! What a worker is told from outside, as written in the environment and as checked.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use broker_config::{InstanceId, PathMap, PluginId, Prefix, RouteName};

use crate::files::{Endpoint, FilesOptions, InvalidEndpoint};
use crate::share::Policy;
use crate::vars;

/// How long a drain may take when nothing else is said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// The variable that says where libraries lie on this machine.
const PATHS: &str = "METAFLEET_PATHS";

/// What a worker is told from outside; see the README for the variables.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The servers, separated by commas.
    pub url: String,
    /// How to prove who connects.
    pub credentials: Credentials,
    /// Certificate authorities to trust besides the system's.
    pub root_certificates: Option<PathBuf>,
    /// Certificate and key of the client.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The fleet's prefix.
    pub prefix: Prefix,
    /// The plugin that whoever started this process expects; another one is an error.
    pub plugin: Option<PluginId>,
    /// The name of this process; made up when absent.
    pub instance: Option<InstanceId>,
    /// The route whose tasks it does; absent = the tasks that go no route.
    pub route: Option<RouteName>,
    /// Tasks at once; absent = what the operator or the manifest says, else the processors.
    pub concurrency: Option<NonZeroUsize>,
    /// How the queues share this instance.
    pub policy: Policy,
    /// How long a drain may take before running tasks are left to other workers.
    pub grace: Duration,
    /// Where the files of tasks are.
    pub files: FilesOptions,
}

/// How a worker proves to the broker who it is.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Not at all, or by the URL.
    #[default]
    None,
    /// User name and password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A credentials file, as `nsc` writes it.
    File(PathBuf),
    /// The seed of an nkey, or a file that holds it.
    Nkey(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::User { .. } => "User(***)",
            Self::Token(_) => "Token(***)",
            Self::File(_) => "File",
            Self::Nkey(_) => "Nkey(***)",
        })
    }
}

/// A variable of the environment has a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct InvalidOptions {
    /// The variable.
    pub name: &'static str,
    /// What is wrong; never holds the value of a secret.
    pub problem: String,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            credentials: Credentials::None,
            root_certificates: None,
            client_certificate: None,
            prefix: Prefix::default(),
            plugin: None,
            instance: None,
            route: None,
            concurrency: None,
            policy: Policy::Share,
            grace: DEFAULT_GRACE,
            files: FilesOptions::default(),
        }
    }
}

impl WorkerOptions {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// [`InvalidOptions`] for the first variable whose value cannot be used.
    pub fn from_environment() -> Result<Self, InvalidOptions> {
        let mut options = Self::from_vars(vars::from_process)?;
        if let Some(paths) = vars::bytes_from_process(PATHS) {
            options.files.paths = paths_of(&paths)?;
        }
        Ok(options)
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidOptions> {
        let default = Self::default();
        let file = |name| var(name).map(PathBuf::from);
        let client_certificate = match (file("NATS_CERT"), file("NATS_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(alone("NATS_CERT", "NATS_KEY")),
            (None, Some(_)) => return Err(alone("NATS_KEY", "NATS_CERT")),
        };
        let concurrency = parsed::<NonZeroUsize>("METAFLEET_CONCURRENCY", &var)?;
        let grace = match var("METAFLEET_GRACE") {
            Some(text) => duration(&text).ok_or_else(|| InvalidOptions {
                name: "METAFLEET_GRACE",
                problem: format!("`{text}` must be seconds, e.g. `30`, `30s` or `500ms`"),
            })?,
            None => default.grace,
        };
        let policy = match var("METAFLEET_QUEUES").as_deref() {
            None | Some("share") => Policy::Share,
            Some("strict") => Policy::Strict,
            Some(other) => {
                let problem = format!("`{other}` must be `share` or `strict`");
                return Err(InvalidOptions { name: "METAFLEET_QUEUES", problem });
            }
        };
        Ok(Self {
            url: var("NATS_URL").unwrap_or(default.url),
            credentials: credentials(&var)?,
            root_certificates: file("NATS_CA"),
            client_certificate,
            prefix: parsed("METAFLEET_PREFIX", &var)?.unwrap_or(default.prefix),
            plugin: parsed("METAFLEET_PLUGIN", &var)?,
            instance: parsed("METAFLEET_INSTANCE", &var)?,
            route: parsed("METAFLEET_ROUTE", &var)?,
            concurrency,
            policy,
            grace,
            files: FilesOptions {
                paths: PathMap::default(),
                url: url_of(&var)?,
                token: secret(&var, "METAFLEET_FILES_TOKEN", "METAFLEET_FILES_TOKEN_FILE")?,
            },
        })
    }
}

/// Where files are got; the error does not repeat a login that somebody put into it.
fn url_of(var: &impl Fn(&str) -> Option<String>) -> Result<Option<Endpoint>, InvalidOptions> {
    let name = "METAFLEET_FILES_URL";
    let invalid = |error: InvalidEndpoint| InvalidOptions { name, problem: error.to_string() };
    var(name).map(|text| text.parse()).transpose().map_err(invalid)
}

/// Reads the pairs of [`PATHS`], which need not be UTF-8.
fn paths_of(pairs: &[u8]) -> Result<PathMap, InvalidOptions> {
    PathMap::parse(pairs)
        .map_err(|error| InvalidOptions { name: PATHS, problem: error.to_string() })
}

fn alone(name: &'static str, missing: &str) -> InvalidOptions {
    InvalidOptions { name, problem: format!("{missing} must be set, too") }
}

/// The most specific way wins: credentials file, nkey, token, user.
fn credentials(var: &impl Fn(&str) -> Option<String>) -> Result<Credentials, InvalidOptions> {
    let token = secret(var, "NATS_TOKEN", "NATS_TOKEN_FILE")?;
    Ok(if let Some(file) = var("NATS_CREDS") {
        Credentials::File(PathBuf::from(file))
    } else if let Some(seed) = var("NATS_NKEY") {
        Credentials::Nkey(seed)
    } else if let Some(token) = token {
        Credentials::Token(token)
    } else if let Some(name) = var("NATS_USER") {
        let password = secret(var, "NATS_PASSWORD", "NATS_PASSWORD_FILE")?;
        Credentials::User { name, password: password.unwrap_or_default() }
    } else {
        Credentials::None
    })
}

/// A secret from the environment, or from the file that it names: who sees the environment of a
/// container does not see that.
fn secret(
    var: &impl Fn(&str) -> Option<String>,
    name: &str,
    in_file: &'static str,
) -> Result<Option<String>, InvalidOptions> {
    if let Some(value) = var(name) {
        return Ok(Some(value));
    }
    let Some(path) = var(in_file) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) => Err(InvalidOptions {
            name: in_file,
            problem: format!("could not read {path}: {error}"),
        }),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    var: &impl Fn(&str) -> Option<String>,
) -> Result<Option<T>, InvalidOptions> {
    let Some(text) = var(name) else { return Ok(None) };
    let value = text
        .trim()
        .parse()
        .map_err(|error: T::Err| InvalidOptions { name, problem: format!("`{text}`: {error}") })?;
    Ok(Some(value))
}

fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(number) = text.strip_suffix("ms") {
        return number.trim().parse().ok().map(Duration::from_millis);
    }
    let number = text.strip_suffix('s').unwrap_or(text);
    Duration::try_from_secs_f64(number.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<WorkerOptions, InvalidOptions> {
        let vars: BTreeMap<&str, &str> = vars.iter().copied().collect();
        WorkerOptions::from_vars(|name| vars.get(name).map(|&text| text.to_owned()))
    }

    #[test]
    fn a_secret_may_be_in_a_file() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("secret");
        std::fs::write(&path, "hush\n")?;
        let path = path.to_str().unwrap();
        let options = read(&[("NATS_USER", "u"), ("NATS_PASSWORD_FILE", path)])?;
        let Credentials::User { password, .. } = options.credentials else { panic!("a user") };
        assert_eq!(password, "hush");
        let options = read(&[("NATS_TOKEN_FILE", path)])?;
        assert!(matches!(options.credentials, Credentials::Token(token) if token == "hush"));
        let error = read(&[("NATS_TOKEN_FILE", "/none/there")]).unwrap_err();
        assert!(error.to_string().contains("could not read /none/there"), "{error}");
        Ok(())
    }

    #[test]
    fn without_variables_the_defaults_hold() {
        let options = read(&[]).unwrap();
        assert_eq!(options.url, "nats://127.0.0.1:4222");
        assert_eq!(options.prefix, Prefix::default());
        assert_eq!(options.grace, Duration::from_secs(30));
        assert!(matches!(options.credentials, Credentials::None));
    }

    #[test]
    fn variables_are_read_as_documented() {
        let options = read(&[
            ("METAFLEET_PREFIX", "x"),
            ("METAFLEET_PLUGIN", "ffmpeg"),
            ("METAFLEET_INSTANCE", "ffmpeg-1"),
            ("METAFLEET_ROUTE", "gpu"),
            ("METAFLEET_CONCURRENCY", "8"),
            ("METAFLEET_GRACE", "1.5s"),
            ("METAFLEET_QUEUES", "strict"),
            ("NATS_USER", "u"),
            ("NATS_PASSWORD", "hush"),
        ])
        .unwrap();
        assert_eq!(options.prefix.as_str(), "x");
        assert_eq!(options.route.map(|it| it.to_string()).as_deref(), Some("gpu"));
        assert_eq!(options.concurrency.map(NonZeroUsize::get), Some(8));
        assert_eq!(options.grace, Duration::from_millis(1500));
        assert_eq!(options.policy, Policy::Strict);
        assert!(!format!("{options:?}").contains("hush"));
    }

    #[test]
    fn wrong_values_name_their_variable() {
        for (name, value) in [
            ("METAFLEET_PREFIX", "A B"),
            ("METAFLEET_PLUGIN", "A"),
            ("METAFLEET_INSTANCE", "a.b"),
            ("METAFLEET_ROUTE", "main"),
            ("METAFLEET_CONCURRENCY", "0"),
            ("METAFLEET_GRACE", "-1"),
            ("METAFLEET_GRACE", "soon"),
            ("METAFLEET_QUEUES", "both"),
            ("NATS_CERT", "/a.pem"),
            ("NATS_KEY", "/a.key"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.name, name, "{value}");
        }
    }
}
