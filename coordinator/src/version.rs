//! Which version of MetaFleet this is.

use semver::Version;

/// The version of this program, which manifests may limit (`minEngineVersion`, `maxEngineVersion`).
#[must_use]
pub fn ours() -> Version {
    // Cargo takes nothing else for a version.
    Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or_else(|_| Version::new(0, 0, 0))
}
