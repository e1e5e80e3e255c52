//! PURE: whose task a file is: that of the version that is tried, of a route, or of all others.

use std::sync::Arc;

use broker_config::{Lane, Submission};
use semver::Version;

use super::{Node, PluginSpec};
use crate::route::route;
use crate::transition::share::takes;

/// A version that is tried.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The plugin in that version.
    pub spec: Arc<PluginSpec>,
    /// What it gets to do.
    pub tries: Tries,
}

/// What a version that is tried gets to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// The work on this share of the files, in percent.
    Share(u8),
    /// What the current version gets as well; nothing follows from what it says.
    Shadow,
}

impl Node {
    /// Which version does the work on a file, and in which lane its task goes.
    #[must_use]
    pub fn side(&self, file: &Submission) -> (&Arc<PluginSpec>, Lane) {
        match &self.candidate {
            Some(Candidate { spec, tries: Tries::Share(percent) })
                if takes(*percent, &file.cid) =>
            {
                (spec, Lane::Next)
            }
            Some(_) | None => (&self.spec, route(&file.file, &file.path, &self.spec.routes)),
        }
    }

    /// Whether a task for this version in this lane still has somebody to do it.
    #[must_use]
    pub fn serves(&self, version: &Version, lane: Lane) -> bool {
        match (lane, &self.candidate) {
            (Lane::Main, _) => self.spec.manifest.version == *version,
            (Lane::Route(name), _) => {
                let is_there = self.spec.routes.iter().any(|route| route.name == name);
                is_there && self.spec.manifest.version == *version
            }
            (Lane::Next, Some(Candidate { spec, tries: Tries::Share(_) })) => {
                spec.manifest.version == *version
            }
            (Lane::Next, Some(_) | None) => false,
        }
    }

    /// The plugin in the version that a task is for, as far as that is still there.
    #[must_use]
    pub fn of_version(&self, version: Option<&str>) -> &Arc<PluginSpec> {
        let is_it = |spec: &&Arc<PluginSpec>| {
            version.is_some_and(|version| spec.manifest.version.to_string() == version)
        };
        let tried = self.candidate.as_ref().map(|candidate| &candidate.spec);
        tried.filter(is_it).unwrap_or(&self.spec)
    }

    /// The version that gets the same work, to be compared.
    #[must_use]
    pub fn shadow(&self) -> Option<&Arc<PluginSpec>> {
        match &self.candidate {
            Some(Candidate { spec, tries: Tries::Shadow }) => Some(spec),
            Some(Candidate { tries: Tries::Share(_), .. }) | None => None,
        }
    }

    /// Whether the outcomes of two versions are to be counted.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(&self.candidate, Some(Candidate { tries: Tries::Share(_), .. }))
    }
}
