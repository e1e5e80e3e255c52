//! A file's way through the graph.

use std::collections::BTreeSet;

use broker_config::wire::event::{Fact, Outcome};
use broker_config::{RecordStatus, Submission};
use integration_tests::{Fleet, Running, Script, manifest};
use serde_json::json;

/// The graph of the seed: file-info → ffmpeg, filename-parser → jellyfin-nfo, anime-detector → tmdb.
const GRAPH: [(&str, u8, &[&str]); 6] = [
    ("file-info", 10, &[]),
    ("ffmpeg", 15, &["file-info"]),
    ("filename-parser", 20, &["file-info"]),
    ("jellyfin-nfo", 25, &["filename-parser"]),
    ("anime-detector", 28, &["filename-parser"]),
    ("tmdb", 30, &["anime-detector"]),
];

/// Starts one worker for each plugin of the graph, all with one script.
async fn six_plugins(fleet: &Fleet, script: &Script) -> anyhow::Result<Vec<Running>> {
    let mut workers = Vec::new();
    for (id, priority, dependencies) in GRAPH {
        let change = json!({ "priority": priority, "dependencies": dependencies });
        workers.push(fleet.worker(&manifest(id, &change)?, script).await?);
    }
    Ok(workers)
}

#[tokio::test]
async fn a_file_goes_through_six_plugins_each_after_all_it_needs_and_seeing_what_they_wrote()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _workers = six_plugins(&fleet, &script).await?;

    let settled = fleet.run("film").await?;

    let calls = script.calls();
    let order: Vec<&str> = calls.iter().map(|call| call.plugin.as_str()).collect();
    assert_eq!(order.len(), 6, "{order:?}");
    let at = |plugin: &str| order.iter().position(|&id| id == plugin).unwrap();
    for (id, _, needs) in GRAPH {
        for need in needs {
            assert!(at(need) < at(id), "{need} before {id}: {order:?}");
        }
    }
    for (id, expected) in [
        ("file-info", vec![]),
        ("ffmpeg", vec!["file-info/done"]),
        ("jellyfin-nfo", vec!["file-info/done", "filename-parser/done"]),
        ("tmdb", vec!["anime-detector/done", "file-info/done", "filename-parser/done"]),
    ] {
        let call = calls.iter().find(|call| call.plugin.as_str() == id).unwrap();
        let seen: Vec<&str> = call.existing.keys().map(|key| key.as_str()).collect();
        assert_eq!(seen, expected, "what {id} sees");
    }
    assert_eq!(settled.tasks.completed, 6);
    assert!(settled.plugins.values().all(|&outcome| outcome == Outcome::Completed));
    Ok(())
}
