//! A container that is killed in the middle of many tasks.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_config::RecordStatus;
use integration_tests::cli::Home;
use integration_tests::docker::{Docker, add_odd, boxed};
use integration_tests::{heavy, within};
use serde_json::{Value, json};

use super::fleet;

const FILES: usize = 1000;

#[tokio::test]
async fn no_task_is_lost_when_a_container_is_killed() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("kill").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let mut entry = add_odd(&mut home, "odd", &["slow", "20"]).await?;
    entry["instances"] = json!(2);
    // An attempt of a killed container counts.
    entry["retry"] = json!({"maxAttempts": 5, "delaysMs": [100]});
    home.write_many(FILES)?;
    let (up, look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;

    for (so_many, name) in [(150, "plugin-odd-1"), (400, "plugin-odd-2")] {
        look.records_reach(so_many).await?;
        docker.api.post(&format!("/containers/{name}/kill?signal=KILL"), None).await?;
    }

    within(Duration::from_secs(240), "all files", async || {
        Ok((look.records().await?.len() == FILES).then_some(()))
    })
    .await?;
    look.settled().await?;
    let records = look.records().await?;
    let completed: BTreeSet<String> = records
        .iter()
        .filter(|record| record.status == RecordStatus::Completed)
        .map(|record| record.cid.to_string())
        .collect();
    assert_eq!(completed.len(), FILES);
    let status: Value = home.json(&["status"]).await?;
    assert_eq!(status["dead"], 0, "{status}");
    up.stop().await?;
    docker.nothing_is_left().await
}
