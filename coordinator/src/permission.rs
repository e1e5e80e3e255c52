//! PURE: what plugins may be granted, and the one rule by which it counts.
//!
//! Containers and processes are kept apart by different means and by this same rule.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Something that a plugin is not allowed unless the person says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Permission {
    /// Connections to the outside.
    #[serde(rename = "network.http")]
    NetworkHttp,
    /// Writing into mounts that are given with `:rw`.
    #[serde(rename = "filesystem.write")]
    FilesystemWrite,
    /// Graphics processors.
    #[serde(rename = "gpu.access")]
    GpuAccess,
    /// No limit for memory.
    #[serde(rename = "memory.unlimited")]
    MemoryUnlimited,
    /// Running programs that it has written into its folder for temporary files.
    #[serde(rename = "system.exec")]
    SystemExec,
    /// Of a container: the user that the image names, root if it names none. Of a process: what root
    /// may do beyond reading, where the fleet runs as root.
    #[serde(rename = "root")]
    Root,
}

impl Permission {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::NetworkHttp,
        Self::FilesystemWrite,
        Self::GpuAccess,
        Self::MemoryUnlimited,
        Self::SystemExec,
        Self::Root,
    ];

    /// As it stands in manifests and `plugins.yml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkHttp => "network.http",
            Self::FilesystemWrite => "filesystem.write",
            Self::GpuAccess => "gpu.access",
            Self::MemoryUnlimited => "memory.unlimited",
            Self::SystemExec => "system.exec",
            Self::Root => "root",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|permission| permission.as_str()).collect();
            let text: String = text.escape_debug().take(64).collect();
            format!("unknown permission `{text}`; known are {}", known.join(", "))
        })
    }
}

/// Who wants what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What the plugin wants; `None` = it says nothing, which a manifest or a label would.
    pub declared: Option<&'a [String]>,
    /// What the person grants.
    pub granted: &'a [String],
    /// Whether a mount is given that may be written to.
    pub has_writable_mount: bool,
}

/// What a plugin is allowed.
///
/// A grant counts only for what the plugin wants, unless it does not say what it wants.
///
/// # Errors
///
/// Why the plugin must not be started: it wants what it is not granted, or something unknown is
/// named.
pub fn effective(asked: &Asked<'_>) -> Result<BTreeSet<Permission>, String> {
    let granted = parse(asked.granted)?;
    let effective = match asked.declared {
        None => granted,
        Some(declared) => wanted(parse(declared)?, &granted)?,
    };
    if asked.has_writable_mount && !effective.contains(&Permission::FilesystemWrite) {
        return Err("a mount with `:rw` needs the permission `filesystem.write`".to_owned());
    }
    Ok(effective)
}

fn wanted(
    declared: BTreeSet<Permission>,
    granted: &BTreeSet<Permission>,
) -> Result<BTreeSet<Permission>, String> {
    let missing: Vec<&str> =
        declared.difference(granted).map(|permission| permission.as_str()).collect();
    if missing.is_empty() {
        return Ok(declared);
    }
    let missing = missing.join("`, `");
    Err(format!("it wants `{missing}`, which plugins.yml does not grant it (`permissions`)"))
}

fn parse(texts: &[String]) -> Result<BTreeSet<Permission>, String> {
    texts.iter().map(|text| text.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_wanted_and_granted() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (http, root) = (Permission::NetworkHttp, Permission::Root);
        for (declared, granted, expected) in [
            (None, &[] as &[&str], Ok(vec![])),
            (None, &["root"], Ok(vec![root])),
            (Some(&[] as &[&str]), &["root"], Ok(vec![])),
            (Some(&["network.http"]), &["root", "network.http"], Ok(vec![http])),
            (Some(&["network.http", "root"]), &["root"], Err("it wants `network.http`, which")),
            (Some(&["all"]), &[], Err("unknown permission `all`; known are network.http")),
            (None, &["all"], Err("unknown permission `all`")),
        ] {
            let (declared, granted) = (declared.map(texts), texts(granted));
            let found = effective(&Asked {
                declared: declared.as_deref(),
                granted: &granted,
                has_writable_mount: false,
            });
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected.into_iter().collect())),
                Err(words) => assert!(found.clone().unwrap_err().contains(words), "{found:?}"),
            }
        }
    }
}
