//! What a plugin makes of a file beside metadata: a picture, a text.
//!
//! Its bytes are a value of the bucket of artefacts; metadata refers to them.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::ArtifactName;

/// What metadata says of an artefact; a JSON value of the plugin's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it is called; with the file and the plugin it is its key.
    pub artifact: ArtifactName,
    /// Its media type, e.g. `image/jpeg`.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}

impl Artifact {
    /// Describes these bytes.
    #[must_use]
    pub fn of(artifact: ArtifactName, media_type: &str, bytes: &[u8]) -> Self {
        Self {
            artifact,
            media_type: media_type.to_owned(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: HEXLOWER.encode(&Sha256::digest(bytes)),
        }
    }

    /// Whether these are its bytes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        *self == Self::of(self.artifact.clone(), &self.media_type, bytes)
    }
}
