//! A file handed in; it stays in its stream until every plugin is done with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::{FileFacts, FilePath};
use crate::id::{Cid, PluginId};

super::message_type!(
    /// `metafleet.submission.v1`
    SubmissionType = "metafleet.submission.v1"
);

/// How often a file may be made from a file that was made from a file…
pub const MAX_DEPTH: u32 = 8;

/// The body of a message on `mf.submit.<queue>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    /// `metafleet.submission.v1`
    #[serde(rename = "type")]
    pub kind: SubmissionType,
    /// The file's content id.
    pub cid: Cid,
    /// Where it is, as the workers see it.
    #[serde(flatten)]
    pub path: FilePath,
    /// Size, media type, name.
    #[serde(default)]
    pub file: FileFacts,
    /// Run these plugins and what they depend on; empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<PluginId>,
    /// Run again what is up to date: all of `only`, or all plugins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Run these again even if they are up to date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rerun: Vec<PluginId>,
    /// Use the queue of the subject for every task, whatever the manifests say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub override_queue: bool,
    /// The scan that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_id: Option<String>,
    /// The plugin that made or forwarded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<PluginId>,
    /// How many plugins made files from files on the way here; over [`MAX_DEPTH`] it is refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Submission {
    /// Hands in a file for all plugins.
    #[must_use]
    pub fn new(cid: Cid, path: FilePath, file: FileFacts) -> Self {
        Self {
            kind: SubmissionType::V1,
            cid,
            path,
            file,
            only: Vec::new(),
            force: false,
            rerun: Vec::new(),
            override_queue: false,
            scan_id: None,
            origin: None,
            depth: 0,
        }
    }
}
