//! Tasks of a plugin with routes: where they go, stay, and are counted.

use broker_config::Filter;

use super::*;
use crate::route::{Route, When};

/// The plugin `a` with the routes of these names, all for large files.
fn routed(names: &[&str], most: Option<u32>) -> Graph {
    let mut spec = spec("a", 10, &[]);
    spec.max_in_flight = most.and_then(std::num::NonZeroU32::new);
    spec.routes = names
        .iter()
        .map(|name| {
            let filter = Filter { min_size: Some(100), ..Filter::default() };
            Route { name: name.parse().unwrap(), when: When { filter, folders: None } }
        })
        .collect();
    Graph::build(vec![spec]).0
}

fn of_size(id: u64, cid: &str, size: u64) -> Arc<Opening> {
    let mut opening = Arc::unwrap_or_clone(opening(id, cid));
    opening.submission.file.size = size;
    Arc::new(opening)
}

impl Bench {
    fn open_of_size(&mut self, id: u64, cid: &str, size: u64) -> Vec<Command> {
        self.tell(Event::Opened { opening: of_size(id, cid, size), records: BTreeMap::new() })
    }
}

/// The lanes of the tasks that are to be published.
fn lanes(commands: &[Command]) -> Vec<String> {
    tasks(commands).iter().map(|task| task.lane.to_string()).collect()
}

#[test]
fn each_route_has_places_of_its_own() {
    let mut bench = Bench::new(routed(&["gpu"], Some(1)));
    assert_eq!(lanes(&bench.open_of_size(1, "large", 100)), ["gpu"]);
    assert!(lanes(&bench.open_of_size(2, "large-2", 100)).is_empty());
    let small = bench.open_of_size(3, "small", 1);
    assert_eq!(lanes(&small), ["main"]);
    assert!(lanes(&bench.open_of_size(4, "small-2", 1)).is_empty());
    assert_eq!(lanes(&bench.answer(&tasks(&small)[0])), ["main"], "the next one of its own");
}

#[test]
fn a_task_stays_where_it_is_until_its_route_goes() {
    let mut bench = Bench::new(routed(&["gpu"], None));
    assert_eq!(lanes(&bench.open_of_size(1, "large", 100)), ["gpu"]);
    let graph = |names: &[&str]| Event::GraphChanged(Arc::new(routed(names, None)));
    assert!(bench.tell(graph(&["new", "gpu"])).is_empty(), "somebody is there to do it");
    assert_eq!(lanes(&bench.open_of_size(2, "large-2", 100)), ["new"]);
    assert_eq!(lanes(&bench.tell(graph(&["new"]))), ["new"], "published anew");
    assert_eq!(lanes(&bench.tell(graph(&[]))), ["main", "main"]);
    assert!(bench.tell(graph(&["gpu"])).is_empty(), "what waits in the main lane stays there");
}

#[test]
fn what_an_earlier_leader_published_stays_on_its_route_as_long_as_that_is_there() {
    let key = |cid: &str| ("a".parse().unwrap(), cid.parse().unwrap());
    for (case, routes, lane, expected) in [
        ("the way it would go", vec!["gpu"], "gpu", (true, "gpu")),
        ("another one is first now", vec!["new", "gpu"], "gpu", (true, "gpu")),
        ("there is none any more", vec![], "gpu", (false, "main")),
        ("a route came meanwhile", vec!["gpu"], "main", (true, "main")),
    ] {
        let lane: Lane = lane.parse().unwrap();
        let mut bench = Bench::new(routed(&routes, Some(1)));
        bench.tell(Event::Inherited { tasks: [(key("x"), lane)].into() });
        let opened = bench.open_of_size(1, "x", 100);
        let [Command::Publish { inherited, task, .. }] = &opened[..] else { panic!("{case}") };
        assert_eq!((*inherited, task.lane.to_string().as_str()), expected, "{case}");

        // The same for one that waits for its time: it is not published, or where it belongs now.
        let mut bench = Bench::new(routed(&routes, Some(1)));
        bench.tell(Event::Scheduled { tasks: [(key("x"), lane)].into() });
        let opened = bench.open_of_size(1, "x", 100);
        assert_eq!(opened.is_empty(), expected.0, "{case}");
    }
}
