//! Where the files of tasks are: on this machine, perhaps in another folder, or elsewhere.
//!
//! The file that is here counts; else its bytes come from the coordinator by HTTP, if it offers
//! them. Handlers do not see the difference: [`Context::open`](crate::Context::open).

mod client;
mod copy;
mod door;
mod endpoint;
mod open;
mod place;
mod reader;
mod remote;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use broker_config::{FilesOffer, PathMap};
use tracing::warn;

pub use self::client::FetchError;
pub use self::copy::LocalFile;
pub use self::door::Door;
pub use self::endpoint::{Endpoint, InvalidEndpoint};
pub use self::open::OpenError;
pub use self::reader::{BlockingReader, FileReader};

/// What the environment says of files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FilesOptions {
    /// Where libraries lie on this machine.
    pub paths: PathMap,
    /// Where bytes are got; goes before what the coordinator says.
    pub url: Option<Endpoint>,
    /// What is shown there; goes before what the coordinator says.
    pub token: Option<String>,
}

impl std::fmt::Debug for FilesOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("FilesOptions");
        shown.field("paths", &self.paths).field("url", &self.url);
        shown.field("token", &self.token.as_ref().map(|_| "***")).finish()
    }
}

/// Where the files of tasks are, for the whole worker.
#[derive(Debug, Default)]
pub(crate) struct Files {
    options: FilesOptions,
    offered: Mutex<Option<Arc<Source>>>,
    fetched: AtomicU64,
}

/// Somebody who sends bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Source {
    endpoint: Endpoint,
    token: String,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(options: FilesOptions) -> Self {
        let files = Self { options, ..Self::default() };
        files.take_offer(None);
        files
    }

    /// What the coordinator says now; the environment goes before it.
    pub(crate) fn take_offer(&self, offer: Option<&FilesOffer>) {
        let source = source(&self.options, offer).unwrap_or_else(|error| {
            warn!(%error, "files cannot be got from where the coordinator says");
            None
        });
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = source.map(Arc::new);
    }

    pub(crate) fn paths(&self) -> &PathMap {
        &self.options.paths
    }

    /// Bytes that came from elsewhere so far.
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched.load(Relaxed)
    }

    fn source(&self) -> Option<Arc<Source>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, bytes: usize) {
        self.fetched.fetch_add(bytes as u64, Relaxed);
    }
}

/// Who is asked, and with what; both must be known from somewhere.
fn source(
    options: &FilesOptions,
    offer: Option<&FilesOffer>,
) -> Result<Option<Source>, InvalidEndpoint> {
    let endpoint = match (&options.url, offer) {
        (Some(url), _) => url.clone(),
        (None, Some(offer)) => offer.url.parse()?,
        (None, None) => return Ok(None),
    };
    let token = options.token.clone().or_else(|| offer.map(|offer| offer.token.clone()));
    Ok(token.map(|token| Source { endpoint, token }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_the_offer() {
        let offer = FilesOffer { url: "http://nas:9310/files".into(), token: "theirs".into() };
        for (url, token, offer, expected) in [
            (None, None, None, None),
            (None, None, Some(&offer), Some(("http://nas:9310/files", "theirs"))),
            (Some("http://me:1/f"), None, Some(&offer), Some(("http://me:1/f", "theirs"))),
            (None, Some("mine"), Some(&offer), Some(("http://nas:9310/files", "mine"))),
            (Some("http://me:1/f"), Some("mine"), None, Some(("http://me:1/f", "mine"))),
            (Some("http://me:1/f"), None, None, None),
            (None, Some("mine"), None, None),
        ] {
            let options = FilesOptions {
                url: url.map(|url| url.parse().unwrap()),
                token: token.map(str::to_owned),
                ..FilesOptions::default()
            };
            let found = source(&options, offer).unwrap();
            let expected = expected.map(|(url, token)| (url.to_owned(), token.to_owned()));
            let found = found.map(|found| (found.endpoint.to_string(), found.token));
            assert_eq!(found, expected, "{url:?} {token:?}");
        }
        let bad = FilesOffer { url: "nas".into(), token: "t".into() };
        assert!(source(&FilesOptions::default(), Some(&bad)).is_err());
    }

    #[test]
    fn tokens_are_not_printed() {
        let options = FilesOptions { token: Some("hush".into()), ..FilesOptions::default() };
        let source = Source { endpoint: "http://nas/f".parse().unwrap(), token: "hush".into() };
        let shown = format!("{options:?} {source:?}");
        assert!(shown.contains("nas") && !shown.contains("hush"), "{shown}");
    }
}
