//! Where the fleet's API listens: always while it is up, on this machine unless told otherwise.

use std::net::SocketAddr;

use axum::Router;

use super::FleetError;
use crate::bridge::url_of;
use crate::config::data_dir::DataDirError;
use crate::config::{DataDir, Secret, private_file};
use crate::http::api::token::Token;
use crate::http::{HttpOptions, Server};

/// Random bytes of a salt.
const SALT_BYTES: usize = 16;

/// The token of the data folder.
///
/// # Errors
///
/// [`DataDirError::Io`] when it can be neither read nor made.
pub(super) fn token(data_dir: &DataDir) -> Result<Token, DataDirError> {
    let path = data_dir.api_token();
    Token::read_or_make(&path).map_err(|source| DataDirError::Io { path, source })
}

/// A text that nobody else ever knows.
///
/// # Errors
///
/// [`DataDirError::Io`] when the system has no random bytes.
pub(super) fn salt() -> Result<Secret, DataDirError> {
    let failed = |source| DataDirError::Io { path: "/dev/urandom".into(), source };
    private_file::random_hex(SALT_BYTES).map(Secret::new).map_err(failed)
}

/// Listens, unless the bridge does so already, which answers these routes as well.
///
/// # Errors
///
/// [`FleetError::Http`] when the address cannot be listened on.
pub(super) async fn listen(
    options: &HttpOptions,
    of_bridge: Option<SocketAddr>,
    routes: Option<Router>,
) -> Result<Listening, FleetError> {
    let is_served = routes.is_some();
    let server = match (of_bridge, routes) {
        (None, Some(routes)) => Some(Server::bind(options, routes).await?),
        (Some(_), _) | (None, None) => None,
    };
    let address = server.as_ref().map(Server::address).or(of_bridge);
    let wanted = options.listen.port();
    let moved = address.filter(|address| wanted != 0 && address.port() != wanted);
    let problem = moved.map(|address| {
        format!(
            "another program listens on port {wanted}; the API is at {} instead (--api-listen \
             names an address)",
            url_of(address)
        )
    });
    Ok(Listening { server, url: address.filter(|_| is_served).map(url_of), problem })
}

/// What comes of listening.
#[derive(Debug)]
pub(super) struct Listening {
    /// What is to be run.
    pub(super) server: Option<Server>,
    /// Where the API is.
    pub(super) url: Option<String>,
    /// For people.
    pub(super) problem: Option<String>,
}
