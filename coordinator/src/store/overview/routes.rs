//! How the routes of a plugin are doing, and what is in the way.

use std::collections::BTreeMap;

use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::{Lane, Names, PluginId, RouteName};
use serde::Serialize;

use crate::store::api::ConsumerState;

/// Numbers of one lane of a plugin that has routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteNumbers {
    /// The route; `main` = the tasks that go no route.
    pub name: String,
    /// Its workers that gave a sign of life lately.
    pub instances: u64,
    /// Those of them that take tasks.
    pub ready: u64,
    /// Tasks not yet delivered.
    pub pending: u64,
    /// Tasks with a worker, or waiting for their next attempt.
    pub running: u64,
    /// Why its tasks wait, where nobody does them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The routes of a plugin and what goes none; empty when it has none.
pub(super) fn routes(
    id: &PluginId,
    consumers: &BTreeMap<String, ConsumerState>,
    instances: &[Instance],
) -> Vec<RouteNumbers> {
    let mut lanes: BTreeMap<Lane, RouteNumbers> = BTreeMap::new();
    for (name, consumer) in consumers {
        let Some((plugin, lane, _)) = Names::parse_consumer(name) else { continue };
        if plugin != *id || lane == Lane::Next {
            continue;
        }
        let of = lanes.entry(lane).or_default();
        of.pending += consumer.num_pending;
        of.running += consumer.num_ack_pending;
    }
    if !lanes.keys().any(|lane| lane.route().is_some()) {
        return Vec::new();
    }
    for instance in instances {
        let lane = instance.route.map_or(Lane::Main, Lane::Route);
        // One that serves what is no route is told by `strangers`.
        let Some(of) = lanes.get_mut(&lane) else { continue };
        of.instances += 1;
        of.ready += u64::from(instance.state == InstanceState::Ready);
    }
    lanes
        .into_iter()
        .map(|(lane, of)| {
            let reason = reason(id, lane, &of);
            RouteNumbers { name: lane.to_string(), reason, ..of }
        })
        .collect()
}

fn reason(id: &PluginId, lane: Lane, of: &RouteNumbers) -> Option<String> {
    if of.ready > 0 || (lane == Lane::Main && of.pending == 0) {
        return None;
    }
    let waiting = match of.pending {
        0 => "tasks would wait".to_owned(),
        1 => "1 task waits".to_owned(),
        many => format!("{many} tasks wait"),
    };
    Some(match (lane.route(), of.instances) {
        (Some(route), 0) => format!(
            "{waiting}: nobody serves the route `{route}`; start a worker of {id} with \
             METAFLEET_ROUTE={route}"
        ),
        (Some(route), _) => {
            format!("{waiting}: no worker that serves the route `{route}` takes tasks")
        }
        (None, 0) => format!("{waiting}: every worker of {id} serves a route; start one without"),
        (None, _) => format!("{waiting}: no worker of {id} that serves no route takes tasks"),
    })
}

/// Workers that say a route which there is not, each with what is to be done.
pub(super) fn strangers(instances: &[Instance], routes: &[RouteNumbers]) -> Vec<String> {
    let is_known = |name: &RouteName| routes.iter().any(|route| route.name == name.as_str());
    let stranger = |instance: &Instance| {
        let route = instance.route.filter(|name| !is_known(name))?;
        Some(format!(
            "{}: it waits: it says the route `{route}`, which plugins.yml does not name",
            instance.instance
        ))
    };
    instances.iter().filter_map(stranger).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn consumer(name: &str, pending: u64) -> (String, ConsumerState) {
        let state = json!({"name": name, "num_pending": pending, "num_ack_pending": 1});
        (name.to_owned(), serde_json::from_value(state).unwrap())
    }

    fn worker(name: &str, route: Option<&str>, state: &str) -> Instance {
        let mut sign = json!({
            "type": "metafleet.instance.v1", "pluginId": "p", "instance": name, "state": state,
            "version": "1.0.0",
        });
        if let Some(route) = route {
            sign["route"] = route.into();
        }
        serde_json::from_value(sign).unwrap()
    }

    #[test]
    fn a_route_that_nobody_serves_says_so_with_the_reason() {
        let id: PluginId = "p".parse().unwrap();
        let plain = ("main", None, "ready");
        let gpu = |state| ("g", Some("gpu"), state);
        for (case, pending, workers, name, expected) in [
            ("nobody", 3, vec![plain], "gpu", Some("3 tasks wait: nobody serves the route `gpu`")),
            ("nobody, nothing waits", 0, vec![plain], "gpu", Some("tasks would wait: nobody")),
            ("one that is paused", 1, vec![gpu("paused")], "gpu", Some("1 task waits: no worker")),
            ("one that serves", 3, vec![gpu("ready")], "gpu", None),
            ("only workers of the route", 3, vec![gpu("ready")], "main", Some("start one without")),
            (
                "a worker that is failing",
                3,
                vec![("m", None, "failed")],
                "main",
                Some("no worker of p"),
            ),
            ("nobody, and nothing to do", 0, vec![gpu("ready")], "main", None),
        ] {
            let names = ["p_fast", "p_gpu_fast"];
            let mut consumers: BTreeMap<_, _> =
                names.iter().map(|name| consumer(name, pending)).collect();
            consumers.extend([consumer("p_next_fast", 9), consumer("q_gpu_fast", 9)]);
            let workers: Vec<_> = workers
                .into_iter()
                .map(|(name, route, state)| worker(name, route, state))
                .collect();
            let routes = routes(&id, &consumers, &workers);
            let of = routes.iter().find(|route| route.name == name).unwrap();
            assert_eq!((of.pending, of.running, routes.len()), (pending, 1, 2), "{case}");
            let is_right = match (&of.reason, expected) {
                (Some(reason), Some(part)) => reason.contains(part),
                (None, None) => true,
                _ => false,
            };
            assert!(is_right, "{case}: {of:?}");
        }
    }

    #[test]
    fn without_routes_there_is_nothing_to_tell_but_who_serves_none() {
        let id: PluginId = "p".parse().unwrap();
        let consumers = BTreeMap::from([consumer("p_fast", 3)]);
        let workers = [worker("a", None, "ready"), worker("b", Some("gpu"), "paused")];
        let routes = routes(&id, &consumers, &workers);
        assert!(routes.is_empty(), "{routes:?}");
        let strangers = strangers(&workers, &routes);
        assert!(matches!(&strangers[..], [one] if one.starts_with("b: it waits")), "{strangers:?}");
    }
}
