//! The bytes of files for workers that do not see the libraries, by HTTP.
//!
//! Off unless an address is given. Whoever asks shows the token of a plugin, which comes with the
//! answer to its announcement; it reads regular files below the libraries and nothing else of this
//! machine. Tokens follow from a secret in the broker, so that every coordinator of the fleet knows
//! the same ones. Transfers are bounded in number and in memory, and their logs hold no paths.

pub mod ask;
pub mod key;
pub mod library;
mod route;
mod transfer;
pub mod url;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_config::{FilesOffer, PluginId};

use self::key::Key;
use self::library::Libraries;
pub use self::route::routes;
use self::url::FilesUrl;
use crate::config::private_file;
use crate::http::{BindError, HttpOptions, Limits, Server};
use crate::store::{Store, StoreError};

/// The route, and the end of what workers are told.
pub const ROUTE: &str = "/files";
/// Connections at once; more wait to be taken.
const CONNECTIONS: usize = 256;

/// Where bytes are offered, and of which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What workers are told instead of the address.
    pub url: Option<FilesUrl>,
    /// Folders whose files are offered.
    pub roots: Vec<PathBuf>,
}

/// What the answer to an announcement says of files.
#[derive(Clone, Debug)]
pub struct Offers {
    url: String,
    key: Arc<Key>,
}

/// Bytes cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The secret that tokens follow from.
    #[error("could not get the secret of the files' tokens")]
    Key(#[from] StoreError),
    /// The system has no random bytes.
    #[error("could not make a secret")]
    Random(#[from] std::io::Error),
    /// Listening everywhere is no address that a worker could ask.
    #[error("{0} is every address of this machine, and workers need to be told one")]
    NoUrl(SocketAddr),
}

/// Listens, and says what workers are to be told; nobody is answered until the server runs.
///
/// # Errors
///
/// [`FilesError`].
pub async fn start(options: FilesOptions, store: &Store) -> Result<(Server, Offers), FilesError> {
    let FilesOptions { listen, url, roots } = options;
    if url.is_none() && listen.ip().is_unspecified() {
        return Err(FilesError::NoUrl(listen));
    }
    let secret = store.files_secret(&private_file::random_hex(key::BYTES)?).await?;
    let key = Arc::new(Key::new(secret));
    let routes = routes(key.clone(), Libraries::new(roots));
    let http = HttpOptions {
        listen,
        // Each worker may know this machine by another name, and no page can show a token.
        any_host: true,
        limits: Limits {
            connections: CONNECTIONS,
            // Nobody sends us a body.
            body_bytes: 0,
            stall: Duration::from_secs(20),
            ..Limits::default()
        },
        ..HttpOptions::default()
    };
    let server = Server::bind(&http, routes).await?;
    let url = url.unwrap_or_else(|| FilesUrl::at(server.address()));
    Ok((server, Offers { url: url.to_string(), key }))
}

impl Offers {
    /// Where workers ask.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the workers of a plugin are told.
    #[must_use]
    pub fn offer(&self, plugin: &PluginId) -> FilesOffer {
        FilesOffer { url: self.url.clone(), token: self.key.token(plugin) }
    }
}
