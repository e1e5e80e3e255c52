//! HTTP plugins, unchanged, in containers of the fleet.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use broker_config::{Record, RecordStatus};
use integration_tests::cli::Home;
use integration_tests::docker::{self, Docker, boxed, image};
use integration_tests::{LIMIT, heavy, within};
use serde_json::json;

use super::fleet;
use crate::bridge::tools;

/// The plugins that come with the program.
const NATIVE: usize = 8;
const NAME: &str = "plugin-example-ts-1";

#[tokio::test]
async fn an_http_plugin_in_a_container_processes_the_library_also_after_it_was_killed()
-> anyhow::Result<()> {
    let Some(docker) = Docker::get("http plugin").await? else { return Ok(()) };
    let _place = heavy().await?;
    let tools = tools().await?;
    let node = std::fs::canonicalize(tools.join("bin/node"))?;
    let image = image("metafleet-test-node:1", &node, &["--permissions", ""]).await?;
    let home = boxed(Home::with_demo_library().await?)
        .with_var("METAFLEET_API_LISTEN", "127.0.0.1:0")
        .with_var("METAFLEET_KV_LISTEN", "127.0.0.1:0");
    // Node looks for packages beside the source.
    let app = home.root().join("app");
    std::fs::create_dir_all(app.join("node_modules"))?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("http-plugins/typescript/index.ts");
    std::fs::copy(source, app.join("index.ts"))?;
    let modules = tools.join("node/node_modules");
    let plugin = json!({
        "protocol": "http", "image": image,
        "command": ["/app/node_modules/tsx/dist/cli.mjs", "/app/index.ts"],
        "mounts": [
            format!("{}:/app", app.display()),
            format!("{}:/app/node_modules", modules.display()),
        ],
        "resources": {"memory": "512m"}, "labels": {docker::LABEL: "fleet"},
    });

    let (up, look) = fleet(&home, &json!({"example-ts": plugin}), NATIVE + 1, &[]).await?;
    let first = docker.inspect(NAME).await?.context("the container")?;
    let environment = first["Config"]["Env"].to_string();
    assert!(environment.contains("PORT=8080") && !environment.contains("NATS"), "{environment}");
    docker.api.post(&format!("/containers/{NAME}/kill"), None).await?;
    within(LIMIT * 4, "it to be started again", async || {
        let is_new = docker.inspect(NAME).await?.is_some_and(|now| {
            now["State"]["Running"] == true
                && now["State"]["StartedAt"] != first["State"]["StartedAt"]
        });
        Ok(is_new.then_some(()))
    })
    .await?;
    home.scan(&[]).await?;

    let records = look.records().await?;
    let is_video = |record: &&Record| {
        record.meta.get("file/mime").is_some_and(|mime| mime.to_flat().starts_with("video/"))
    };
    let videos: BTreeSet<_> =
        records.iter().filter(is_video).map(|record| record.cid.clone()).collect();
    let its: Vec<&Record> =
        records.iter().filter(|record| record.plugin_id.as_str() == "example-ts").collect();
    let done: BTreeSet<_> = its.iter().map(|record| record.cid.clone()).collect();
    assert!(videos.len() >= 3 && done == videos, "{videos:?} {done:?}");
    for record in its {
        assert_eq!(record.status, RecordStatus::Completed, "{record:?}");
        assert_eq!(record.meta["example/processed"].as_text(), Some("true"));
    }
    up.stop().await?;
    docker.nothing_is_left().await
}
