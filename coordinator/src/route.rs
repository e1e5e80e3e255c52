//! PURE: which of a plugin's workers get a file: those of a route, or all others.
//!
//! A route is a lane with tasks of its own (see [`Lane`]), served by the workers that say its name.
//! It changes who does a task and nothing else: neither fingerprint nor record knows of it.

use std::path::PathBuf;

use broker_config::filter::Filter;
use broker_config::wire::file::FilePath;
use broker_config::{FileFacts, Lane, RouteName};

/// Some of a plugin's files, which go to workers of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What workers call it.
    pub name: RouteName,
    /// Which files.
    pub when: When,
}

/// Criteria that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// What the file is.
    pub filter: Filter,
    /// Folders in one of which it must be; `None` = anywhere.
    pub folders: Option<Vec<PathBuf>>,
}

impl When {
    fn holds(&self, file: &FileFacts, path: &FilePath) -> bool {
        let is_there = |folders: &Vec<PathBuf>| {
            let path = path.to_path();
            folders.iter().any(|folder| path.starts_with(folder))
        };
        self.filter.mismatch(file).is_none() && self.folders.as_ref().is_none_or(is_there)
    }
}

/// The lane of a file's task: that of the first route that it fits, else the main one.
#[must_use]
pub fn route(file: &FileFacts, path: &FilePath, routes: &[Route]) -> Lane {
    let fits = routes.iter().find(|route| route.when.holds(file, path));
    fits.map_or(Lane::Main, |route| Lane::Route(route.name))
}

/// What a worker that says a route pulls, and whether it may, where its version pulls from `lane`.
///
/// It was started for the files of its route only; without it, it waits.
#[must_use]
pub fn seat(says: Option<RouteName>, routes: &[Route], lane: Lane, serves: bool) -> (Lane, bool) {
    let Some(name) = says else { return (lane, serves) };
    let is_there = routes.iter().any(|route| route.name == name);
    match lane {
        Lane::Main if is_there => (Lane::Route(name), serves),
        Lane::Main | Lane::Next | Lane::Route(_) => (lane, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, filter: Filter, folders: Option<&[&str]>) -> Route {
        let folders = folders.map(|list| list.iter().map(PathBuf::from).collect());
        Route { name: name.parse().unwrap(), when: When { filter, folders } }
    }

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    #[test]
    fn the_first_route_that_fits_gets_the_file_and_the_main_lane_the_others() {
        let any = Filter::default;
        let routes = [
            of(
                "gpu",
                Filter { min_size: Some(100), mime_types: Some(list(&["video/*"])), ..any() },
                Some(&["/media/movies", "/media/more"]),
            ),
            of("big", Filter { min_size: Some(1_000), ..any() }, None),
            of(
                "subs",
                Filter { extensions: Some(list(&["srt"])), max_size: Some(50), ..any() },
                None,
            ),
            of("disk", any(), Some(&["/disk"])),
            of("never", any(), Some(&[])),
        ];
        for (case, path, mime, size, expected) in [
            ("all that is asked for", "/media/movies/a.mkv", "video/x-matroska", 100, "gpu"),
            ("the second folder", "/media/more/x/a.mkv", "video/mp4", 5_000, "gpu"),
            ("a byte too small", "/media/movies/a.mkv", "video/x-matroska", 99, "main"),
            ("no video", "/media/movies/a.mkv", "audio/flac", 500, "main"),
            ("another folder", "/media/series/a.mkv", "video/x-matroska", 500, "main"),
            ("a folder with a like name", "/media/movies2/a.mkv", "video/mp4", 500, "main"),
            ("the next route in line", "/media/series/a.mkv", "video/mp4", 1_000, "big"),
            ("two fit: the first", "/disk/a.mkv", "video/mp4", 1_000, "big"),
            ("only a folder", "/disk/a.txt", "text/plain", 1, "disk"),
            ("the folder itself", "/disk", "text/plain", 1, "disk"),
            ("a small subtitle", "/a.srt", "text/plain", 50, "subs"),
            ("a large one", "/a.srt", "text/plain", 51, "main"),
            ("nothing of it", "/a.txt", "text/plain", 1, "main"),
        ] {
            let extension = path.rsplit('.').next().unwrap_or_default().to_owned();
            let file = FileFacts { size, mime: mime.to_owned(), extension, ..FileFacts::default() };
            let path = FilePath { file_path: path.to_owned(), file_path_bytes: None };
            assert_eq!(route(&file, &path, &routes).to_string(), expected, "{case}");
        }
        let (file, path) = (FileFacts::default(), FilePath::default());
        assert_eq!(route(&file, &path, &[]), Lane::Main, "without routes");
    }

    #[test]
    fn a_worker_of_a_route_does_the_tasks_of_that_route_or_none() {
        let routes = [of("gpu", Filter::default(), None)];
        let name = |text: &str| Some(text.parse().unwrap());
        let gpu = Lane::Route("gpu".parse().unwrap());
        for (case, says, lane, serves, expected) in [
            ("says none", None, Lane::Main, true, (Lane::Main, true)),
            ("says none, its version waits", None, Lane::Main, false, (Lane::Main, false)),
            ("says none, is tried", None, Lane::Next, true, (Lane::Next, true)),
            ("says it", name("gpu"), Lane::Main, true, (gpu, true)),
            ("says it, its version waits", name("gpu"), Lane::Main, false, (gpu, false)),
            ("says it, is tried", name("gpu"), Lane::Next, true, (Lane::Next, false)),
            ("says one that is not there", name("cpu"), Lane::Main, true, (Lane::Main, false)),
        ] {
            assert_eq!(seat(says, &routes, lane, serves), expected, "{case}");
        }
    }

    #[test]
    fn a_path_that_is_no_text_is_compared_by_its_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = PathBuf::from(std::ffi::OsStr::from_bytes(b"/m\xff"));
        let when = When { folders: Some(vec![folder.clone()]), ..When::default() };
        let routes = [Route { name: "gpu".parse().unwrap(), when }];
        let inside = FilePath::new(&folder.join("a.mkv"));
        let beside = FilePath::new(std::path::Path::new("/m\u{fffd}/a.mkv"));
        let lane = |path| route(&FileFacts::default(), path, &routes).to_string();
        assert_eq!((lane(&inside).as_str(), lane(&beside).as_str()), ("gpu", "main"));
    }
}
