//! The small library of real media: containers find what processes find.

use std::collections::BTreeMap;
use std::time::Duration;

use integration_tests::cli::{Home, Look, staged};
use integration_tests::docker::{self, Docker, boxed, image, program};
use integration_tests::{heavy, within};
use serde_json::{Value, json};

use super::fleet;

/// All but `ffmpeg`, whose program is not of this repository; it runs as a process beside them.
const PLUGINS: [&str; 7] = [
    "anime-detector",
    "file-info",
    "filename-parser",
    "full-hash",
    "jellyfin-nfo",
    "language",
    "subtitle",
];

/// Metadata by file, plugin and key.
type Found = BTreeMap<(String, String), Value>;

async fn found(home: &Home, look: &Look) -> anyhow::Result<Found> {
    // Only when a scan has been through everything there is nothing more to come.
    let done = home.run(&["scan", &home.file(""), "--wait"]).await?;
    anyhow::ensure!(matches!(done.code, Some(0 | 6)), "{done:?}");
    within(Duration::from_secs(240), "everything to be settled", async || {
        let idle =
            look.store.stream_state(&look.store.names().submit_stream()).await?.messages == 0;
        Ok(idle.then_some(()))
    })
    .await?;
    let records = look.records().await?;
    let of = |record: &broker_config::Record| {
        let value = json!({"status": record.status, "meta": record.meta, "error": record.error});
        ((record.cid.to_string(), record.plugin_id.to_string()), value)
    };
    Ok(records.iter().map(of).collect())
}

#[tokio::test]
async fn containers_find_what_processes_find_key_by_key() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("same metadata").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = boxed(Home::with_demo_library().await?);
    let (up, look) = fleet(&home, &json!({"ffmpeg": {}}), PLUGINS.len() + 1, &[]).await?;
    let by_processes = found(&home, &look).await?;
    drop(look);
    up.stop().await?;

    let mut plugins = json!({"ffmpeg": {}});
    for id in PLUGINS {
        let name = format!("metafleet-test-{id}:1");
        let manifests = std::fs::read_dir(staged(&format!("plugins/{id}"))?)?;
        let manifest = manifests.flatten().next().map(|dir| dir.path().join("manifest.json"));
        let manifest = manifest.unwrap_or_default();
        let manifest = manifest.to_string_lossy();
        let program = program(&format!("plugin-{id}"))?;
        image(&name, &program, &["--manifest", &manifest]).await?;
        plugins[id] = json!({"image": name, "labels": {docker::LABEL: "fleet"}});
    }
    let other = home.root().join("other-data");
    let home = home.with_data(other);
    let (up, look) = fleet(&home, &plugins, PLUGINS.len() + 1, &[]).await?;
    assert_eq!(docker.containers().await?.len(), PLUGINS.len());
    let by_containers = found(&home, &look).await?;
    up.stop().await?;

    assert!(by_processes.len() > 50, "{}", by_processes.len());
    let mut keys = 0;
    for (of, expected) in &by_processes {
        let Some(found) = by_containers.get(of) else { anyhow::bail!("{of:?} is missing") };
        assert_eq!(found, expected, "{of:?}");
        keys += expected["meta"].as_object().map_or(0, serde_json::Map::len);
    }
    assert_eq!(by_processes.len(), by_containers.len());
    println!("{} records and {keys} keys are the same", by_processes.len());
    docker.nothing_is_left().await
}
