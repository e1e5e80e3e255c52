//! Where the broker is and how to log in there.
//!
//! The address comes from the flag, else `NATS_URL`, else a context of the `nats` tool, else the
//! fleet that runs over the data folder. `NATS_USER` and its like apply to any address but that of
//! the fleet, which has a login of its own; the login of a context goes to no other address than
//! the context's.

mod connect;
pub mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_nats::ServerAddr;
use serde::{Deserialize, Serialize};

pub use self::connect::ConnectError;
use super::context::{Context, ContextFiles};
use super::data_dir::FleetFile;
use super::secret::{Secret, write_out};
use super::vars::Vars;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFlags {
    /// `--nats`: address, or several with commas between.
    pub nats: Option<String>,
    /// `--context`: the name of a context.
    pub context: Option<String>,
}

/// A broker that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `nats://host:port`, several with commas between; holds no login.
    pub url: String,
    /// How to log in.
    pub login: Login,
    /// Certificates.
    #[serde(default)]
    pub tls: Tls,
    /// Who said so.
    pub origin: Origin,
}

/// How to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Login {
    /// Without.
    #[default]
    Anonymous,
    /// By name.
    User {
        /// The name.
        name: String,
        /// The password.
        #[serde(serialize_with = "write_out")]
        password: Secret,
    },
    /// By token.
    Token(#[serde(serialize_with = "write_out")] Secret),
    /// By a credentials file: its path.
    Credentials(PathBuf),
    /// By a key: the path of its seed, or the seed itself.
    Nkey(#[serde(serialize_with = "write_out")] Secret),
}

/// Certificates; empty = what the system trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Those who may sign the server's certificate.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where an address came from; for messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The command line.
    Flag,
    /// `NATS_URL`.
    Environment,
    /// A context of the `nats` tool.
    Context(String),
    /// The fleet that runs over the data folder.
    Fleet,
}

/// The configuration does not say where the broker is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The address makes no sense. It is not quoted: it may hold a password.
    #[error("{origin}: the address of the broker must be like `nats://host:4222`")]
    Address {
        /// Where it was read.
        origin: String,
    },
    /// The context does not exist.
    #[error("{origin}: there is no readable nats context `{name}`")]
    NoContext {
        /// Where the name was read.
        origin: &'static str,
        /// The name.
        name: String,
    },
    /// The context is not what it should be.
    #[error("the nats context `{name}` {problem}")]
    BadContext {
        /// The name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Half of a pair is missing.
    #[error("{origin}: a client certificate needs both NATS_CERT (cert) and NATS_KEY (key)")]
    HalfCertificate {
        /// Where it was read.
        origin: String,
    },
}

/// PURE: decides where the broker is; `None` = nothing says so.
///
/// `fleet` is the fleet that runs over the data folder, if one does.
///
/// # Errors
///
/// [`ResolveError`] when what has the say makes no sense; it is never passed over for what has
/// less say.
pub fn resolve(
    flags: &ConnectionFlags,
    vars: &dyn Vars,
    contexts: &ContextFiles,
    fleet: Option<&FleetFile>,
) -> Result<Option<Connection>, ResolveError> {
    if let Some(url) = &flags.nats {
        return of_url(url, Origin::Flag, vars).map(Some);
    }
    if flags.context.is_none()
        && let Some(url) = vars.non_empty("NATS_URL")
    {
        return of_url(&url, Origin::Environment, vars).map(Some);
    }
    let from_vars = vars.non_empty("NATS_CONTEXT");
    let named = [
        (flags.context.as_ref(), "--context"),
        (from_vars.as_ref(), "NATS_CONTEXT"),
        (contexts.selected.as_ref(), "context.txt"),
    ];
    if let Some((name, origin)) = named.into_iter().find_map(|(name, from)| Some((name?, from))) {
        let text = contexts.texts.get(name).ok_or_else(|| {
            let name = name.clone();
            ResolveError::NoContext { origin, name }
        })?;
        return of_context(name, text, vars).map(Some);
    }
    Ok(fleet.map(|fleet| fleet.connection.clone()))
}

fn of_url(url: &str, origin: Origin, vars: &dyn Vars) -> Result<Connection, ResolveError> {
    let (url, in_url) = split(url, &origin)?;
    let login = login_of(vars).or(in_url).unwrap_or_default();
    Ok(Connection { url, login, tls: tls_of(vars)?, origin })
}

fn of_context(name: &str, text: &Secret, vars: &dyn Vars) -> Result<Connection, ResolveError> {
    let bad = |problem| ResolveError::BadContext { name: name.to_owned(), problem };
    let context: Context =
        serde_json::from_str(text.reveal()).map_err(|_| bad("is not a valid JSON object"))?;
    if !context.jetstream_domain.is_empty() || !context.jetstream_api_prefix.is_empty() {
        return Err(bad("sets a JetStream domain or API prefix, which is not supported"));
    }
    if context.user_jwt.is_some_and(|jwt| !jwt.reveal().is_empty()) {
        return Err(bad("sets user_jwt, which is not supported; use a creds file"));
    }
    if context.url.is_empty() {
        return Err(bad("has no url"));
    }
    let origin = Origin::Context(name.to_owned());
    let (url, in_url) = split(&context.url, &origin)?;
    let given = |secret: Option<Secret>| secret.filter(|secret| !secret.reveal().is_empty());
    let uses_scheme = [&context.creds, &context.nkey].iter().any(|text| text.contains("://"))
        || [&context.password, &context.token]
            .iter()
            .any(|secret| secret.as_ref().is_some_and(|text| is_reference(text.reveal())));
    if uses_scheme {
        return Err(bad("keeps a secret elsewhere (env://, op://, …), which is not supported"));
    }
    let own = if !context.creds.is_empty() {
        Some(Login::Credentials(home(&context.creds, vars)))
    } else if !context.nkey.is_empty() {
        let seed = home(&context.nkey, vars).display().to_string();
        Some(Login::Nkey(Secret::new(seed)))
    } else if let Some(token) = given(context.token) {
        Some(Login::Token(token))
    } else if !context.user.is_empty() {
        let password = context.password.unwrap_or_else(|| Secret::new(""));
        Some(Login::User { name: context.user, password })
    } else {
        in_url
    };
    let from_vars = tls_of(vars)?;
    let path = |text: &str| (!text.is_empty()).then(|| home(text, vars));
    let tls = Tls {
        ca: from_vars.ca.or_else(|| path(&context.ca)),
        client: match from_vars.client {
            Some(client) => Some(client),
            None => pair(path(&context.cert), path(&context.key), || {
                format!("the nats context `{name}`")
            })?,
        },
    };
    Ok(Connection { url, login: login_of(vars).or(own).unwrap_or_default(), tls, origin })
}

/// Takes the login out of an address, so that the address can be shown.
fn split(url: &str, origin: &Origin) -> Result<(String, Option<Login>), ResolveError> {
    let invalid = || ResolveError::Address {
        origin: match origin {
            Origin::Flag => "--nats".to_owned(),
            Origin::Environment => "NATS_URL".to_owned(),
            Origin::Context(name) => format!("the nats context `{name}`"),
            Origin::Fleet => "fleet.json".to_owned(),
        },
    };
    let mut login = None;
    let mut urls = Vec::new();
    for part in url.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let address: ServerAddr = part.parse().map_err(|_| invalid())?;
        if address.host().is_empty() {
            return Err(invalid());
        }
        if login.is_none() {
            login = match (address.username(), address.password()) {
                (Some(name), Some(password)) => {
                    Some(Login::User { name: name.to_owned(), password: Secret::new(password) })
                }
                // A name alone is a token, as for the nats tool.
                (Some(token), None) => Some(Login::Token(Secret::new(token))),
                (None, _) => None,
            };
        }
        let (scheme, host, port) = (address.scheme(), address.host(), address.port());
        urls.push(if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        });
    }
    if urls.is_empty() { Err(invalid()) } else { Ok((urls.join(","), login)) }
}

/// The most specific way wins: credentials file, key, token, user. The SDKs do the same.
fn login_of(vars: &dyn Vars) -> Option<Login> {
    if let Some(path) = vars.non_empty("NATS_CREDS") {
        return Some(Login::Credentials(PathBuf::from(path)));
    }
    if let Some(seed) = vars.non_empty("NATS_NKEY") {
        return Some(Login::Nkey(Secret::new(seed)));
    }
    if let Some(token) = vars.non_empty("NATS_TOKEN") {
        return Some(Login::Token(Secret::new(token)));
    }
    let name = vars.non_empty("NATS_USER")?;
    let password = Secret::new(vars.get("NATS_PASSWORD").unwrap_or_default());
    Some(Login::User { name, password })
}

fn tls_of(vars: &dyn Vars) -> Result<Tls, ResolveError> {
    let path = |name| vars.non_empty(name).map(PathBuf::from);
    let client = pair(path("NATS_CERT"), path("NATS_KEY"), || "the environment".to_owned())?;
    Ok(Tls { ca: path("NATS_CA"), client })
}

fn pair(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    origin: impl Fn() -> String,
) -> Result<Option<(PathBuf, PathBuf)>, ResolveError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err(ResolveError::HalfCertificate { origin: origin() })
        }
    }
}

fn is_reference(text: &str) -> bool {
    ["file://", "env://", "op://", "nsc://", "data:"].iter().any(|kind| text.starts_with(kind))
}

/// Contexts may begin a path with `~`.
fn home(path: &str, vars: &dyn Vars) -> PathBuf {
    match (path.strip_prefix("~/"), vars.non_empty("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

impl Connection {
    /// The variables by which a plugin's process finds the broker and logs in.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        let mut vars = BTreeMap::from([("NATS_URL", self.url.clone())]);
        let path = |path: &PathBuf| path.display().to_string();
        match &self.login {
            Login::Anonymous => {}
            Login::User { name, password } => {
                vars.insert("NATS_USER", name.clone());
                vars.insert("NATS_PASSWORD", password.reveal().to_owned());
            }
            Login::Token(token) => {
                vars.insert("NATS_TOKEN", token.reveal().to_owned());
            }
            Login::Credentials(file) => {
                vars.insert("NATS_CREDS", path(file));
            }
            Login::Nkey(seed) => {
                vars.insert("NATS_NKEY", seed.reveal().to_owned());
            }
        }
        if let Some(ca) = &self.tls.ca {
            vars.insert("NATS_CA", path(ca));
        }
        if let Some((cert, key)) = &self.tls.client {
            vars.insert("NATS_CERT", path(cert));
            vars.insert("NATS_KEY", path(key));
        }
        vars
    }
}
