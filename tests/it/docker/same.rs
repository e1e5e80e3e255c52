//! The small library of real media: containers find what processes find.

use integration_tests::cli::{Home, staged};
use integration_tests::docker::{self, Docker, boxed, image, program};
use integration_tests::heavy;
use serde_json::json;

use super::fleet;

/// All but those that start programs of ffmpeg, which are not of this repository; these run as processes
/// beside them.
const PLUGINS: [&str; 8] = [
    "anime-detector",
    "audio-tags",
    "file-info",
    "filename-parser",
    "full-hash",
    "jellyfin-nfo",
    "language",
    "subtitle",
];

#[tokio::test]
async fn containers_find_what_processes_find_key_by_key() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("same metadata").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = boxed(Home::with_demo_library().await?);
    let (up, look) =
        fleet(&home, &json!({"ffmpeg": {}, "still-extractor": {}}), PLUGINS.len() + 2, &[]).await?;
    look.first_scan().await?;
    let by_processes = look.scanned(&home).await?;
    drop(look);
    up.stop().await?;

    let mut plugins = json!({"ffmpeg": {}, "still-extractor": {}});
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
    let (up, look) = fleet(&home, &plugins, PLUGINS.len() + 2, &[]).await?;
    assert_eq!(docker.containers().await?.len(), PLUGINS.len());
    look.first_scan().await?;
    let by_containers = look.scanned(&home).await?;
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
