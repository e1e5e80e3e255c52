//! The graph of the seed, as scripted plugins.

pub(crate) use integration_tests::chaos::GRAPH;
use integration_tests::{Fleet, Running, Script, manifest};
use serde_json::json;

/// Starts one worker for each plugin of the graph, all with one script.
pub(crate) async fn six_plugins(fleet: &Fleet, script: &Script) -> anyhow::Result<Vec<Running>> {
    let mut workers = Vec::new();
    for (id, priority, dependencies) in GRAPH {
        let change = json!({ "priority": priority, "dependencies": dependencies });
        workers.push(fleet.worker(&manifest(id, &change)?, script).await?);
    }
    Ok(workers)
}
