//! PURE: the routes of an entry of `plugins.yml`, and where the libraries that they name are.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use broker_config::{Filter, PluginId, RouteName};

use super::super::problem::Problem;
use super::{PluginsFile, Resources};
use crate::route::{Route, When};
use crate::transition::How;

/// The folders of libraries by name.
pub type Libraries = BTreeMap<String, Vec<PathBuf>>;

/// A route as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteEntry {
    /// Its name.
    pub name: RouteName,
    /// Where it stands in the file.
    pub line: u64,
    /// What the files are.
    pub filter: Filter,
    /// Libraries by name, and folders; `None` = files from anywhere.
    pub libraries: Option<Vec<String>>,
    /// Where these are.
    pub folders: Vec<PathBuf>,
    /// How many instances of the fleet's own serve it; `None` = somebody else starts them.
    pub instances: Option<NonZeroU32>,
    /// What one of these may use; `None` = as the plugin's other instances.
    pub resources: Option<Resources>,
}

impl RouteEntry {
    /// What the coordinator decides by.
    #[must_use]
    pub fn route(&self) -> Route {
        let folders = self.libraries.as_ref().map(|_| self.folders.clone());
        Route { name: self.name, when: When { filter: self.filter.clone(), folders } }
    }

    /// Finds the folders of its libraries; returns the names that are none's.
    fn locate(&mut self, known: &Libraries) -> Vec<String> {
        let mut unknown = Vec::new();
        self.folders.clear();
        for place in self.libraries.iter().flatten() {
            match known.get(place) {
                Some(folders) => self.folders.extend(folders.iter().cloned()),
                // Without `/` at the end, and with `/` only where parts end.
                None if place.starts_with('/') => {
                    self.folders.push(Path::new(place).components().collect());
                }
                None => unknown.push(place.clone()),
            }
        }
        unknown
    }
}

impl PluginsFile {
    /// Finds the folders of the libraries that routes name. One that nobody knows is told, and no
    /// file is in it.
    pub fn locate(&mut self, path: &Path, known: &Libraries) {
        let named = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let known_are = if named.is_empty() { "there is none".to_owned() } else { named };
        for (id, entry) in &mut self.entries {
            for route in &mut entry.routes {
                for unknown in route.locate(known) {
                    let rule = format!(
                        "`routes`: `{}`: no library is called `{}`; known by --library NAME=PATH: \
                         {known_are}; a folder begins with `/`",
                        route.name,
                        unknown.escape_debug(),
                    );
                    self.problems.push(Problem {
                        file: path.to_owned(),
                        line: (route.line > 0).then_some(route.line),
                        plugin: Some(id.to_string()),
                        rule,
                    });
                }
            }
        }
    }
}

impl PluginsFile {
    /// Has no routes where two versions of the plugin are at work, and tells it; `how` says of which
    /// plugins that is so.
    pub fn refuse_routes(&mut self, path: &Path, how: impl Fn(&PluginId) -> Option<How>) {
        for (id, entry) in &mut self.entries {
            let how = how(id).filter(|how| how.is_side_by_side());
            let (Some(how), Some(first)) = (how, entry.routes.first()) else { continue };
            self.problems.push(Problem {
                file: path.to_owned(),
                line: (first.line > 0).then_some(first.line),
                plugin: Some(id.to_string()),
                rule: format!(
                    "`routes` and the {how} transition that goes on cannot be had together; wait \
                     for its end, or end it: metafleet plugin rollback {id}"
                ),
            });
            entry.routes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vars::vars;

    #[test]
    fn libraries_are_found_by_name_and_folders_as_they_are() {
        let text = "plugins:\n  p:\n    routes:\n      a: {when: {libraries: [films, /more/x/]}}\n      \
                    b: {when: {libraries: [music]}}\n";
        let path = Path::new("plugins.yml");
        let mut file = PluginsFile::parse(path, text, &vars(&[])).unwrap();
        let known = Libraries::from([("films".to_owned(), vec!["/f".into(), "/g".into()])]);

        file.locate(path, &known);

        let routes: Vec<Route> =
            file.entries[&"p".parse().unwrap()].routes.iter().map(RouteEntry::route).collect();
        let folders = |at: usize| routes[at].when.folders.clone().unwrap();
        assert_eq!(folders(0), [Path::new("/f"), Path::new("/g"), Path::new("/more/x")]);
        assert!(folders(1).is_empty(), "no file is in it");
        let told: Vec<_> = file.problems.iter().map(ToString::to_string).collect();
        let expected = "plugins.yml:5: plugin `p`: `routes`: `b`: no library is called `music`";
        assert!(matches!(&told[..], [one] if one.starts_with(expected)), "{told:?}");
    }

    #[test]
    fn there_are_no_routes_while_two_versions_are_at_work() {
        let text = "plugins:\n  p:\n    routes:\n      a: {when: {minSize: 1}}\n";
        let (path, id) = (Path::new("plugins.yml"), "p".parse().unwrap());
        for (how, is_refused) in [
            (None, false),
            (Some(How::Graceful), false),
            (Some(How::Immediate), false),
            (Some(How::Gradual), true),
            (Some(How::BlueGreen), true),
        ] {
            let mut file = PluginsFile::parse(path, text, &vars(&[])).unwrap();
            file.refuse_routes(path, |of| how.filter(|_| *of == id));
            assert_eq!(file.entries[&id].routes.is_empty(), is_refused, "{how:?}");
            let told: Vec<_> = file.problems.iter().map(ToString::to_string).collect();
            let is_told = matches!(&told[..], [one] if one.starts_with("plugins.yml:4: plugin `p`:")
                && one.contains("transition that goes on cannot be had together"));
            assert_eq!(is_told, is_refused, "{how:?}: {told:?}");
        }
    }
}
