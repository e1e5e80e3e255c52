//! What plugins use, as the API of the fleet on this machine says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;
use tracing::debug;

use super::super::App;
use super::super::api::ApiClient;
use super::super::table::bytes;

/// How long the API may take: the rest of what is shown does not depend on it.
const ANSWER: Duration = Duration::from_secs(3);

/// What the instances of a plugin use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Used {
    /// Processors; those of instances that were looked at only once are missing.
    cpu: f64,
    memory_bytes: u64,
    pids: u64,
}

/// As much of the answer as is needed.
#[derive(Deserialize)]
struct Plugins {
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
struct Plugin {
    id: String,
    containers: Vec<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    cpu: Option<f64>,
    memory_bytes: Option<u64>,
    pids: Option<u64>,
}

/// By plugin; of plugins that use nothing here nothing is said, nor where the API does not answer.
pub(super) async fn used(app: &App) -> BTreeMap<String, Used> {
    let ask = async { ApiClient::of(app).ok()?.get("/api/plugins").await.ok() };
    match timeout(ANSWER, ask).await {
        Ok(Some(answer)) => sum(answer.body),
        Ok(None) | Err(_) => {
            debug!("nobody says what plugins use");
            BTreeMap::new()
        }
    }
}

fn sum(answer: Value) -> BTreeMap<String, Used> {
    let Ok(Plugins { plugins }) = serde_json::from_value(answer) else { return BTreeMap::new() };
    let of = |plugin: Plugin| {
        let looked_at = plugin.containers.iter().filter(|one| one.memory_bytes.is_some());
        let add = |sum: Option<Used>, one: &Instance| {
            let sum = sum.unwrap_or_default();
            Some(Used {
                cpu: sum.cpu + one.cpu.unwrap_or_default(),
                memory_bytes: sum.memory_bytes + one.memory_bytes.unwrap_or_default(),
                pids: sum.pids + one.pids.unwrap_or_default(),
            })
        };
        looked_at.fold(None, add).map(|used| (plugin.id, used))
    };
    plugins.into_iter().filter_map(of).collect()
}

/// The cells of a table.
pub(super) fn cells(used: Option<&Used>) -> [String; 2] {
    used.map_or_else(Default::default, |used| {
        [format!("{:.2}", used.cpu), bytes(used.memory_bytes)]
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instances_are_added_up_and_those_nobody_has_looked_at_are_not_shown() {
        let one = |cpu: Value, memory: Value, pids: Value| json!({"name": "x", "cpu": cpu, "memoryBytes": memory, "pids": pids});
        let none = || one(Value::Null, Value::Null, Value::Null);
        let answer = json!({"plugins": [
            {"id": "a", "containers": [
                one(json!(0.25), json!(1_000_000), json!(3)), one(Value::Null, json!(500_000), json!(1)),
                none(),
            ]},
            {"id": "b", "containers": [none()]},
            {"id": "c", "containers": []},
        ]});

        let used = sum(answer);

        let expected = Used { cpu: 0.25, memory_bytes: 1_500_000, pids: 4 };
        assert_eq!(used, BTreeMap::from([("a".to_owned(), expected)]));
        assert_eq!(cells(used.get("a")), ["0.25", "1.5 MB"]);
        assert_eq!(cells(used.get("b")), ["", ""]);
        assert!(sum(json!({"plugins": 1})).is_empty());
    }
}
