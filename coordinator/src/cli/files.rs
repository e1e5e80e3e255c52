//! Where workers on other machines get files that they do not see.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::files::FilesOptions;
use crate::files::url::FilesUrl;

/// Where bytes of the libraries are offered.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilesArgs {
    /// Offer the files of the libraries to workers that do not see them, e.g. 10.0.0.2:9310; off
    /// unless it is given
    #[arg(long, value_name = "ADDRESS", env = "METAFLEET_FILES_LISTEN")]
    pub(crate) files_listen: Option<SocketAddr>,
    /// What workers are told instead of --files-listen, e.g. `http://nas:9310`
    #[arg(long, value_name = "URL", env = "METAFLEET_FILES_URL")]
    pub(crate) files_url: Option<FilesUrl>,
}

impl FilesArgs {
    /// What is offered, if anything.
    pub(crate) fn options(&self, roots: Vec<PathBuf>) -> Option<FilesOptions> {
        let listen = self.files_listen?;
        Some(FilesOptions { listen, url: self.files_url.clone(), roots })
    }
}
