//! Packages: a plugin as one file that can be passed on (`.mfp`).
//!
//! A package is a tar archive (ustar), compressed by gzip. Its first entry lists the files with
//! their sizes and sums ([`Listing`]), an optional second one is a signature of the first; what
//! follows are the files. [`pack()`] writes one, the same bytes for the same folder; [`stage`] reads
//! one that anybody may have made: nothing is believed that was not checked, nothing is run, and
//! nothing is visible before all of it was checked.

mod archive;
mod disk;
mod ignore;
mod install;
mod limits;
mod listing;
mod manifest;
mod name;
mod pack;
mod remove;
mod signature;
mod tar;
mod ways;

use std::io;
use std::path::{Path, PathBuf};

use broker_config::PluginId;
use semver::Version;

pub use self::disk::CHANGED;
pub use self::install::{InstallOptions, Installed, Staged, stage};
pub use self::limits::Limits;
pub use self::listing::{ListedFile, Listing, PackageType};
pub use self::name::{EntryName, InvalidName};
pub use self::pack::{Packed, pack};
pub use self::remove::{Which, is_installed, remove};
pub use self::signature::{Key, Signature, SignatureType, Trust};
pub use self::ways::ways;

/// The first entry of a package: what is in it.
pub const LISTING: &str = "metafleet-package.json";
/// The second entry of a package that is signed.
pub const SIGNATURE: &str = "metafleet-package.sig";
/// How the names of packages end.
pub const ENDING: &str = "mfp";
/// What a plugin says about itself.
const MANIFEST: &str = "manifest.json";

/// Something about a package did not work.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The operating system refuses.
    #[error("could not use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It breaks rules.
    #[error("{path}: {}", reasons.join("; "))]
    Refused {
        /// The package or the folder.
        path: PathBuf,
        /// Each with the place inside.
        reasons: Vec<String>,
    },
    /// This version is installed already.
    #[error("{id} {version} is installed already, in {path}")]
    Exists {
        /// The plugin.
        id: PluginId,
        /// The version.
        version: Version,
        /// Where.
        path: PathBuf,
    },
    /// It is not there.
    #[error("{what} is not installed in {path}")]
    Missing {
        /// The plugin, or a version of it.
        what: String,
        /// The plugin folder.
        path: PathBuf,
    },
    /// Somebody else installs or removes.
    #[error("another command installs or removes plugins in {path} at the moment")]
    Busy {
        /// The plugin folder.
        path: PathBuf,
    },
}

impl PackageError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), reasons: vec![reason.into()] }
    }
}

#[cfg(test)]
mod tests;
