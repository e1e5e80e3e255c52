//! Where plugins keep what they make of files beside metadata.

use super::{Lane, Names};
use crate::codec;
use crate::id::{ArtifactName, Cid, PluginId};

impl Names {
    /// The bucket of what plugins make beside metadata: pictures, texts.
    #[must_use]
    pub fn artifacts_bucket(&self) -> String {
        self.bucket("artifacts")
    }

    /// `$KV.mf-artifacts.<cid>.<plugin>.<name>`: where a plugin keeps something that it made of a file.
    ///
    /// What a version on trial makes lies under `<plugin>_next`.
    #[must_use]
    pub fn artifact(
        &self,
        cid: &Cid,
        plugin: &PluginId,
        lane: Lane,
        name: &ArtifactName,
    ) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        let name = codec::encode(name.as_str().as_bytes());
        let key = format!("{cid}.{}.{name}", lane.token(plugin));
        Self::key_subject(&self.artifacts_bucket(), &key)
    }
}
