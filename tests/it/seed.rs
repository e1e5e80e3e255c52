//! The graph of the seed, as scripted plugins.

use integration_tests::{Fleet, Running, Script, manifest};
use serde_json::json;

/// file-info → ffmpeg, filename-parser → jellyfin-nfo, anime-detector → tmdb: id, priority, needs.
pub(crate) const GRAPH: [(&str, u8, &[&str]); 6] = [
    ("file-info", 10, &[]),
    ("ffmpeg", 15, &["file-info"]),
    ("filename-parser", 20, &["file-info"]),
    ("jellyfin-nfo", 25, &["filename-parser"]),
    ("anime-detector", 28, &["filename-parser"]),
    ("tmdb", 30, &["anime-detector"]),
];

/// Starts one worker for each plugin of the graph, all with one script.
pub(crate) async fn six_plugins(fleet: &Fleet, script: &Script) -> anyhow::Result<Vec<Running>> {
    let mut workers = Vec::new();
    for (id, priority, dependencies) in GRAPH {
        let change = json!({ "priority": priority, "dependencies": dependencies });
        workers.push(fleet.worker(&manifest(id, &change)?, script).await?);
    }
    Ok(workers)
}
