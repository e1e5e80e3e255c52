//! What is known of a file before any plugin has looked at it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A path that survives JSON even if it is not UTF-8; flattened into messages as two fields.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct FilePath {
    /// The absolute path as the worker sees it; where it is not UTF-8, a readable approximation.
    pub file_path: String,
    /// The exact bytes in base64, only where `filePath` is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path_bytes: Option<String>,
}

impl FilePath {
    /// Keeps a path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self { file_path: text.to_owned(), file_path_bytes: None },
            None => Self {
                file_path: path.to_string_lossy().into_owned(),
                file_path_bytes: Some(data_encoding::BASE64.encode(path.as_os_str().as_bytes())),
            },
        }
    }

    /// The exact path; where the bytes do not decode, the approximation.
    #[must_use]
    pub fn to_path(&self) -> PathBuf {
        let bytes = self
            .file_path_bytes
            .as_ref()
            .and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok());
        match bytes {
            Some(bytes) => PathBuf::from(OsStr::from_bytes(&bytes)),
            None => PathBuf::from(&self.file_path),
        }
    }
}

/// What the finder of a file says about it; filters decide on these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct FileFacts {
    /// Size in bytes.
    pub size: u64,
    /// Media type by content, then by extension; `application/octet-stream` when unknown.
    pub mime: String,
    /// The last component of the path, readable.
    pub name: String,
    /// What follows the last dot of the name, lower case, without the dot; empty when there is none.
    pub extension: String,
    /// Modification time, RFC 3339; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub modified: String,
    /// Files beside it that belong to it, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<Sidecar>,
}

/// A file beside another one that describes or completes it: subtitles, `.nfo`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(default, rename_all = "camelCase")]
pub struct Sidecar {
    /// File name, in the folder of the file it belongs to; `../tvshow.nfo` for the show of an
    /// episode in the folder of a season.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, RFC 3339.
    pub modified: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_json() {
        for bytes in [b"/a/b".as_slice(), "/é \u{1F600}".as_bytes(), b"/bad\xff\xfe/x"] {
            let path = PathBuf::from(OsStr::from_bytes(bytes));
            let json = serde_json::to_string(&FilePath::new(&path)).unwrap();
            assert_eq!(serde_json::from_str::<FilePath>(&json).unwrap().to_path(), path, "{json}");
        }
    }
}
