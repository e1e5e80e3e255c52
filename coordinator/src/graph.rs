//! The graph of all plugins: who needs whom, and who cannot take part; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use broker_config::manifest::OnDependencyFailure;
use broker_config::{Manifest, PluginId, Queue, RetryPolicy};

use crate::route::Route;

mod candidate;

pub use self::candidate::{Candidate, Tries};

/// A plugin as the engine needs it: the manifest with the operator's word on top.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// What it said about itself.
    pub manifest: Manifest,
    /// Where its tasks wait, unless the submission says otherwise.
    pub queue: Queue,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long one attempt may go on without a report of progress, in milliseconds.
    pub progress_timeout_ms: Option<u64>,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// Whether it runs although something it depends on has failed.
    pub on_dependency_failure: OnDependencyFailure,
    /// Tasks at once over the whole fleet.
    pub max_in_flight: Option<NonZeroU32>,
    /// Hash of its settings; a change of them runs it again.
    pub settings_hash: String,
    /// Workers of their own for some of the files; the first that fits counts.
    pub routes: Vec<Route>,
}

/// A plugin in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// The plugin.
    pub spec: Arc<PluginSpec>,
    /// All it depends on, directly or not, in the order in which metadata merges.
    pub inputs: Vec<PluginId>,
    /// Another version of it that is tried.
    pub candidate: Option<Candidate>,
}

/// The plugins that can take part, each after all it depends on.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// In the order in which they are considered: by dependency, then priority, then id.
    pub order: Vec<PluginId>,
    /// By id.
    pub nodes: BTreeMap<PluginId, Node>,
}

/// Why a plugin cannot take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It needs itself, by this way.
    #[error("depends on itself: {}", path(.0))]
    Cycle(Vec<PluginId>),
    /// It needs a plugin that is not there; the way to it.
    #[error("depends on a plugin that is not known: {}", path(.0))]
    Unknown(Vec<PluginId>),
}

fn path(ids: &[PluginId]) -> String {
    ids.iter().map(PluginId::as_str).collect::<Vec<_>>().join(" → ")
}

impl Graph {
    /// Builds the graph of `specs`; plugins that cannot take part are left out and reported, the
    /// others are not affected.
    #[must_use]
    pub fn build(specs: Vec<PluginSpec>) -> (Self, BTreeMap<PluginId, Refusal>) {
        let specs: BTreeMap<PluginId, Arc<PluginSpec>> =
            specs.into_iter().map(|s| (s.manifest.id.clone(), Arc::new(s))).collect();
        let mut refused = BTreeMap::new();
        for id in specs.keys() {
            if let Some(refusal) = refusal(id, &specs) {
                refused.insert(id.clone(), refusal);
            }
        }
        let mut graph = Self::default();
        let mut left: Vec<&Arc<PluginSpec>> =
            specs.values().filter(|s| !refused.contains_key(&s.manifest.id)).collect();
        left.sort_by_key(|s| (s.manifest.priority, s.manifest.id.clone()));
        // Each round places the first plugin whose dependencies are placed; without cycles there
        // always is one.
        while let Some(at) = left.iter().position(|s| {
            s.manifest.dependencies.iter().all(|needed| graph.nodes.contains_key(needed))
        }) {
            let spec = left.remove(at).clone();
            let inputs = graph.inputs_of(&spec);
            let id = spec.manifest.id.clone();
            graph.order.push(id.clone());
            graph.nodes.insert(id, Node { spec, inputs, candidate: None });
        }
        (graph, refused)
    }

    /// All that `spec` depends on, by merge order.
    fn inputs_of(&self, spec: &PluginSpec) -> Vec<PluginId> {
        let mut all: BTreeSet<PluginId> = BTreeSet::new();
        for needed in &spec.manifest.dependencies {
            all.insert(needed.clone());
            if let Some(node) = self.nodes.get(needed) {
                all.extend(node.inputs.iter().cloned());
            }
        }
        let mut inputs: Vec<PluginId> = all.into_iter().collect();
        let priority = |id: &PluginId| self.nodes.get(id).map_or(0, |n| n.spec.manifest.priority);
        inputs.sort_by_key(|id| (priority(id), id.clone()));
        inputs
    }
}

/// Walks what `start` needs, depth first, and returns the first way that leads nowhere or back.
fn refusal(start: &PluginId, specs: &BTreeMap<PluginId, Arc<PluginSpec>>) -> Option<Refusal> {
    let mut visited = BTreeSet::new();
    let mut way = vec![start.clone()];
    walk(specs, &mut way, &mut visited)
}

fn walk(
    specs: &BTreeMap<PluginId, Arc<PluginSpec>>,
    way: &mut Vec<PluginId>,
    visited: &mut BTreeSet<PluginId>,
) -> Option<Refusal> {
    let here = way.last()?.clone();
    let Some(spec) = specs.get(&here) else { return Some(Refusal::Unknown(way.clone())) };
    for needed in &spec.manifest.dependencies {
        let known = way.iter().position(|id| id == needed);
        way.push(needed.clone());
        if let Some(from) = known {
            return Some(Refusal::Cycle(way.split_off(from)));
        }
        if visited.insert(needed.clone())
            && let Some(refusal) = walk(specs, way, visited)
        {
            return Some(refusal);
        }
        way.pop();
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A plugin for tests: `id`, priority, what it depends on.
    pub(crate) fn spec(id: &str, priority: u8, dependencies: &[&str]) -> PluginSpec {
        let manifest = Manifest::from_json(
            &serde_json::json!({
                "id": id, "name": id, "version": "1.0.0", "priority": priority, "queue": "fast",
                "dataSchema": {}, "dependencies": dependencies,
            })
            .to_string(),
        )
        .unwrap();
        PluginSpec {
            queue: manifest.queue,
            timeout_ms: manifest.timeout,
            progress_timeout_ms: manifest.progress_timeout,
            retry: manifest.retry_policy(),
            on_dependency_failure: manifest.on_dependency_failure,
            max_in_flight: manifest.max_in_flight,
            settings_hash: String::new(),
            routes: Vec::new(),
            manifest,
        }
    }

    fn texts(ids: &[PluginId]) -> Vec<&str> {
        ids.iter().map(PluginId::as_str).collect()
    }

    #[test]
    fn plugins_come_after_what_they_need_and_by_priority() {
        let (graph, refused) = Graph::build(vec![
            spec("tmdb", 30, &["anime"]),
            spec("anime", 28, &["parser"]),
            spec("parser", 20, &["info"]),
            spec("ffmpeg", 15, &["info"]),
            spec("info", 10, &[]),
            spec("early", 11, &["tmdb"]),
        ]);
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(texts(&graph.order), ["info", "ffmpeg", "parser", "anime", "tmdb", "early"]);
        let inputs = &graph.nodes[&"tmdb".parse().unwrap()].inputs;
        assert_eq!(texts(inputs), ["info", "parser", "anime"]);
    }

    #[test]
    fn what_cannot_take_part_is_refused_with_the_way_and_the_rest_works() {
        for (case, extra, refusals) in [
            ("itself", vec![spec("a", 20, &["a"])], vec![("a", "depends on itself: a → a")]),
            (
                "two",
                vec![spec("a", 20, &["b"]), spec("b", 20, &["a"])],
                vec![("a", "depends on itself: a → b → a"), ("b", "depends on itself: b → a → b")],
            ),
            (
                "behind a cycle",
                vec![spec("a", 20, &["b"]), spec("b", 20, &["c"]), spec("c", 20, &["b"])],
                vec![
                    ("a", "depends on itself: b → c → b"),
                    ("b", "depends on itself: b → c → b"),
                    ("c", "depends on itself: c → b → c"),
                ],
            ),
            (
                "unknown",
                vec![spec("a", 20, &["b"]), spec("b", 20, &["info", "zz"])],
                vec![
                    ("a", "depends on a plugin that is not known: a → b → zz"),
                    ("b", "depends on a plugin that is not known: b → zz"),
                ],
            ),
        ] {
            let mut all = vec![spec("info", 10, &[]), spec("good", 20, &["info"])];
            all.extend(extra);
            let (graph, refused) = Graph::build(all);
            assert_eq!(texts(&graph.order), ["info", "good"], "{case}");
            let found: Vec<(String, String)> =
                refused.iter().map(|(id, why)| (id.to_string(), why.to_string())).collect();
            let expected: Vec<(String, String)> =
                refusals.iter().map(|&(id, why)| (id.to_owned(), why.to_owned())).collect();
            assert_eq!(found, expected, "{case}");
        }
    }

    /// Plugins `a` to `h` with priorities and dependencies among themselves and on `z`, which is nowhere.
    fn plugins() -> impl Strategy<Value = Vec<PluginSpec>> {
        let one = (10_u8..14, prop::collection::btree_set("[a-hz]", 0..3));
        prop::collection::vec(one, 1..9).prop_map(|all| {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let of = |(id, (priority, needed)): (&str, &(u8, BTreeSet<String>))| {
                spec(id, *priority, &needed.iter().map(String::as_str).collect::<Vec<_>>())
            };
            names.into_iter().zip(&all).map(of).collect()
        })
    }

    proptest! {
        /// Whatever depends on whatever: who can take part does, after all it needs, and the others
        /// are told a way that leads nowhere or back.
        #[test]
        fn who_can_take_part_does_and_in_order(specs in plugins(), seed: u64) {
            let (graph, refused) = Graph::build(specs.clone());

            let mut placed: BTreeSet<PluginId> = BTreeSet::new();
            for id in &graph.order {
                let spec = specs.iter().find(|spec| spec.manifest.id == *id).unwrap();
                prop_assert!(spec.manifest.dependencies.is_subset(&placed), "{} comes too early", id);
                let ready = |other: &&PluginSpec| {
                    let other = &other.manifest;
                    !placed.contains(&other.id) && other.dependencies.is_subset(&placed)
                };
                let first = specs.iter().filter(ready).map(|s| (s.manifest.priority, &s.manifest.id)).min();
                prop_assert_eq!(first, Some((spec.manifest.priority, id)));
                let mut inputs = spec.manifest.dependencies.clone();
                for needed in &spec.manifest.dependencies {
                    inputs.extend(graph.nodes[needed].inputs.iter().cloned());
                }
                prop_assert_eq!(graph.nodes[id].inputs.iter().cloned().collect::<BTreeSet<_>>(), inputs);
                placed.insert(id.clone());
            }
            for spec in &specs {
                let Manifest { id, dependencies, .. } = &spec.manifest;
                prop_assert_ne!(placed.contains(id), refused.contains_key(id), "{}", id);
                prop_assert!(placed.contains(id) || !dependencies.is_subset(&placed), "{} is forgotten", id);
            }
            for refusal in refused.values() {
                let (Refusal::Cycle(way) | Refusal::Unknown(way)) = refusal;
                for step in way.windows(2) {
                    let from = specs.iter().find(|spec| spec.manifest.id == step[0]).unwrap();
                    prop_assert!(from.manifest.dependencies.contains(&step[1]), "{}", refusal);
                }
                let is_cycle = way.first() == way.last();
                prop_assert_eq!(is_cycle, matches!(refusal, Refusal::Cycle(_)), "{}", refusal);
            }

            let mut shuffled = specs;
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let (again, refused_again) = Graph::build(shuffled);
            prop_assert_eq!((again.order, refused_again), (graph.order, refused));
        }
    }
}
