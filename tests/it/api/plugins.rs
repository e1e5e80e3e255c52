//! How plugins are shown, and what can be done with them.

use integration_tests::api::{Api, problem};
use integration_tests::bridge::text;
use integration_tests::cli::Up;
use integration_tests::{eventually, heavy};
use serde_json::{Value, json};

use super::{odd_home, pids, plugins};

#[tokio::test]
async fn plugins_are_shown_with_their_instances_and_what_became_of_their_tasks()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["needs", "key"], &json!({"key": {"type": "string"}}), 3)?;
    plugins(&home, "plugins:\n  odd: {instances: 2}\n  off: {enabled: false}\n")?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    api.until("odd", "two instances", |plugin| plugin["ready"] == 2).await?;
    home.scan(&[]).await?;
    let set = json!({"config": {"key": "x"}}).to_string();
    assert_eq!(api.send("PUT", "/api/plugins/odd/config", &set).await?.status, 200);
    api.until("odd", "two instances", |plugin| plugin["ready"] == 2).await?;
    home.scan(&[]).await?;

    let settled = |plugin: &Value| plugin["stats"]["tasksCompleted"] == 3;
    api.until("odd", "the tasks to be counted", settled).await?;
    let all = api.get("/api/plugins").await?;
    let ids: Vec<&Value> = all["plugins"].as_array().unwrap().iter().map(|p| &p["id"]).collect();
    assert_eq!(ids, ["odd", "off"]);
    let odd = &all["plugins"][0];
    assert_eq!(
        (&odd["name"], &odd["version"], &odd["status"], &odd["instances"]),
        (&json!("odd"), &json!("1.0.0"), &json!("healthy"), &json!(2)),
        "{odd:#}"
    );
    let names = |one: &Value| (one["name"].clone(), one["status"].clone());
    let containers: Vec<_> = odd["containers"].as_array().unwrap().iter().map(names).collect();
    assert_eq!(
        containers,
        [(json!("plugin-odd-1"), json!("running")), (json!("plugin-odd-2"), json!("running"))]
    );
    let stats = &odd["stats"];
    assert_eq!(stats["tasksFailed"], 3, "{stats:#}");
    assert_eq!(stats["lastError"]["error"], "key is not set", "{stats:#}");
    assert!(
        stats["avgDuration"].is_u64()
            && stats["p50Duration"].as_u64() <= stats["p95Duration"].as_u64()
    );
    assert_eq!((&stats["inFlight"], &stats["pending"]), (&json!(0), &json!(0)));
    assert_eq!(
        (&all["plugins"][1]["status"], &all["plugins"][1]["instances"]),
        (&json!("disabled"), &json!(0))
    );
    up.stop().await
}

#[tokio::test]
async fn a_plugin_is_scaled_restarted_paused_and_switched_off_and_stays_so() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["completes"], &json!({}), 1)?;
    let written = "plugins:\n  odd: {instances: 1}\n  far: {runtime: remote}\n";
    plugins(&home, written)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;

    api.post("/api/plugins/odd/scale", &json!({"instances": 3})).await?;
    let three = api.until("odd", "three instances", |plugin| pids(plugin).len() == 3).await?;
    assert_eq!(three["source"]["instances"], "api");
    api.post("/api/plugins/odd/scale", &json!({"instances": 2})).await?;
    let two = |plugin: &Value| {
        pids(plugin).len() == 2 && plugin["containers"].as_array().unwrap().len() == 2
    };
    let before = pids(&api.until("odd", "two instances", two).await?);
    assert!(before.iter().all(|pid| pids(&three).contains(pid)), "those that stay are not touched");

    api.post("/api/plugins/odd/restart", &Value::Null).await?;
    let others =
        |plugin: &Value| two(plugin) && pids(plugin).iter().all(|pid| !before.contains(pid));
    api.until("odd", "two new processes", others).await?;

    api.post("/api/plugins/odd/pause", &Value::Null).await?;
    api.until("odd", "it to be paused", |plugin| plugin["status"] == "paused").await?;
    let library = home.library();
    home.run(&["scan", library.to_str().unwrap()]).await?.ok()?;
    let waits = |plugin: &Value| plugin["stats"]["pending"] == 1;
    api.until("odd", "its task to wait", waits).await?;
    api.post("/api/plugins/odd/resume", &Value::Null).await?;
    let done = |plugin: &Value| plugin["stats"]["tasksCompleted"] == 1;
    api.until("odd", "its task to go on", done).await?;

    for (path, body, status) in [
        ("/api/plugins/odd/scale", r#"{"instances": 0}"#, 422),
        ("/api/plugins/odd/scale", r#"{"instances": 1001}"#, 422),
        ("/api/plugins/odd/scale", r#"{"instanzes": 1}"#, 422),
        ("/api/plugins/odd/scale", "", 422),
        ("/api/plugins/far/scale", r#"{"instances": 2}"#, 409),
        ("/api/plugins/far/restart", "", 409),
        ("/api/plugins/far/pause", "", 409),
    ] {
        let answer = api.send("POST", path, body).await?;
        assert_eq!(answer.status, status, "{path} {body}: {}", text(&answer));
        problem(&answer)?;
    }

    api.post("/api/plugins/odd/disable", &Value::Null).await?;
    let off = |plugin: &Value| plugin["status"] == "disabled" && plugin["containers"] == json!([]);
    api.until("odd", "its processes to stop", off).await?;
    up.stop().await?;
    let (up, look) = Up::fleet(&home, 0).await?;
    let api = Api::of(&home)?;
    api.until("odd", "it to be off still", off).await?;
    api.post("/api/plugins/odd/enable", &Value::Null).await?;
    let again = api.until("odd", "two instances again", |plugin| pids(plugin).len() == 2).await?;
    assert_eq!(again["source"]["enabled"], "plugins.yml", "as it is written there");
    api.post("/api/plugins/odd/reset", &Value::Null).await?;
    let one = |plugin: &Value| plugin["instances"] == 1 && pids(plugin).len() == 1;
    api.until("odd", "what plugins.yml says", one).await?;
    look.ready(1).await?;
    let file = std::fs::read_to_string(home.data().join("plugins.yml"))?;
    assert_eq!(file, written, "the person's file is never written");
    up.stop().await
}

#[tokio::test]
async fn a_change_is_refused_while_the_file_is_not_valid_and_nothing_is_kept() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    let home = odd_home(&["completes"], &json!({}), 0)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    plugins(&home, "plugins:\n  odd: {instanzes: 2}\n")?;
    up.says("the one before stays in effect").await?;

    let answer = api.send("POST", "/api/plugins/odd/disable", "").await?;

    assert_eq!(answer.status, 409, "{}", text(&answer));
    assert!(text(&answer).contains("plugins.yml:2"), "{}", text(&answer));
    assert_eq!(api.get("/api/plugins/odd").await?["status"], "healthy");
    assert!(!home.data().join("overrides.json").exists());
    plugins(&home, "plugins:\n  odd: {instances: 1}\n")?;
    let taken = async || {
        let answer = api.send("POST", "/api/plugins/odd/disable", "").await?;
        Ok((answer.status == 200).then_some(()))
    };
    eventually("the valid file to count", taken).await?;
    up.stop().await
}
