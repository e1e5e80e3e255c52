//! Another version than the highest: what was decided runs, and what is tried runs beside it.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::PluginId;
use semver::Version;

use super::{Discovered, load};
use crate::transition::Versions;
use crate::transition::pick::{Pick, pick};

impl Discovered {
    /// The versions on disk of a plugin.
    #[must_use]
    pub fn versions_of(&self, id: &PluginId) -> BTreeSet<Version> {
        self.folders.get(id).map(|folders| folders.keys().cloned().collect()).unwrap_or_default()
    }

    /// Takes the versions that were decided on in place of the highest ones. A version that breaks a
    /// rule is told, and the highest stays.
    pub fn choose(&mut self, decided: &BTreeMap<PluginId, Versions>) {
        for (id, versions) in decided {
            let Some(folders) = self.folders.get(id) else { continue };
            let on_disk = folders.keys().cloned().collect();
            let Some(Pick { main, next }) = pick(&on_disk, Some(versions)) else { continue };
            let mut read = |version: &Version| {
                let dir = folders.get(version)?;
                load(dir, id, Some(version)).map_err(|problem| self.problems.push(problem)).ok()
            };
            if self.plugins.get(id).is_none_or(|found| found.manifest.version != main)
                && let Some(found) = read(&main)
            {
                self.plugins.insert(id.clone(), found);
            }
            if let Some(found) = next.as_ref().and_then(&mut read) {
                self.next.insert(id.clone(), found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::discover;
    use super::super::tests::plugin;
    use super::*;
    use crate::transition::state::Moment;
    use crate::transition::{How, Plan};

    #[test]
    fn what_is_tried_is_found_beside_what_is_current() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        for version in ["1.0.0", "2.0.0", "3.0.0"] {
            plugin(home.path(), "a", version, "")?;
        }
        std::fs::remove_file(home.path().join("a/v3.0.0/run.sh"))?;
        let now = Moment { ms: 0, text: String::new() };
        let plan = |how| Plan { how, ..Plan::default() };
        let begin = |to: &str, how| {
            Versions::new("1.0.0".parse().unwrap()).begin(to.parse().unwrap(), &plan(how), &now)
        };
        for (to, how, main, next, problems) in [
            ("2.0.0", How::Gradual, "1.0.0", Some("2.0.0"), 1),
            ("2.0.0", How::Graceful, "2.0.0", None, 1),
            ("3.0.0", How::Gradual, "1.0.0", None, 2),
            ("3.0.0", How::Immediate, "2.0.0", None, 2),
        ] {
            let versions = begin(to, how).unwrap();
            let mut found = discover(&[home.path().to_owned()]);
            assert_eq!(found.plugins[&"a".parse()?].manifest.version.to_string(), "2.0.0");

            found.choose(&[("a".parse()?, versions)].into());

            let version = |found: &super::super::Found| found.manifest.version.to_string();
            let id: PluginId = "a".parse()?;
            assert_eq!(version(&found.plugins[&id]), main, "{how} {to}");
            assert_eq!(found.next.get(&id).map(version).as_deref(), next, "{how} {to}");
            assert_eq!(found.problems.len(), problems, "{how} {to}: {:?}", found.problems);
        }
        Ok(())
    }
}
