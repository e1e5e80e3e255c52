//! Takes installed plugins away again.

use std::path::Path;

use broker_config::PluginId;
use semver::Version;

use super::PackageError;
use super::disk::PluginFolder;

/// How much of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All versions.
    All,
    /// This version.
    Version(Version),
}

/// Whether so much of a plugin is there.
#[must_use]
pub fn is_installed(plugins: &Path, id: &PluginId, which: &Which) -> bool {
    let folder = plugins.join(id.as_str());
    match which {
        Which::All => folder.is_dir(),
        Which::Version(version) => folder.join(format!("v{version}")).is_dir(),
    }
}

/// Removes the files of a plugin from the folder; says whether a version of it is left there.
///
/// # Errors
///
/// [`PackageError::Missing`] when they are not there; [`PackageError::Busy`]; [`PackageError::Io`].
pub fn remove(plugins: &Path, id: &PluginId, which: &Which) -> Result<bool, PackageError> {
    let missing = |what: String| PackageError::Missing { what, path: plugins.to_owned() };
    if !is_installed(plugins, id, which) {
        return Err(missing(match which {
            Which::All => id.to_string(),
            Which::Version(version) => format!("{id} {version}"),
        }));
    }
    let folder = PluginFolder::open(plugins)?;
    let version = match which {
        Which::All => None,
        Which::Version(version) => Some(version),
    };
    folder.take(id, version).map_err(PackageError::io(plugins))?;
    Ok(folder.has(id))
}
