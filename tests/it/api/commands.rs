//! The commands that go through the API.

use integration_tests::api::Api;
use integration_tests::cli::{Home, Up};
use integration_tests::{eventually, heavy};
use serde_json::{Value, json};

use super::{odd_home, pids, plugins};

const SECRET: &str = "hush-cli-3e1";

#[tokio::test]
async fn plugins_are_steered_from_the_command_line() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let schema = json!({"key": {"secret": true}, "level": {"type": "number"}});
    let home = odd_home(&["tells", "key"], &schema, 1)?;
    plugins(&home, "plugins:\n  odd: {config: {level: 1}}\n")?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    let mut follow = Up::start(&home, &["plugin", "logs", "odd", "-f", "--tail", "50"])?;

    home.run(&["plugin", "scale", "odd", "2"]).await?.ok()?.says("2 instances of odd run")?;
    let two = api.until("odd", "two instances", |plugin| pids(plugin).len() == 2).await?;
    home.run(&["plugin", "restart", "odd"]).await?.ok()?;
    let anew = |plugin: &Value| {
        let now = pids(plugin);
        now.len() == 2 && now.iter().all(|pid| !pids(&two).contains(pid))
    };
    api.until("odd", "two new processes", anew).await?;

    std::fs::write(home.root().join("key"), format!("{SECRET}\n"))?;
    let set = ["plugin", "config", "set", "odd", "--from-file", "key=key", "--unset", "level"];
    home.run(&set).await?.ok()?;
    let got: Value = home.json(&["plugin", "config", "get", "odd"]).await?;
    assert_eq!(
        (&got["config"], &got["changed"]),
        (&json!({"key": "***"}), &json!(["key", "level"]))
    );
    let wrong = home.run(&["plugin", "config", "set", "odd", "level=high"]).await?.ended(2)?;
    wrong.says("level: must be a number")?;
    let shown: Value = home.json(&["plugin", "show", "odd"]).await?;
    assert_eq!(shown["changed"], json!({"instances": 2, "config": ["key", "level"]}));
    let table = home.run(&["plugin", "show", "odd"]).await?.ok()?;
    assert!(table.out.contains("instances 2, setting key, setting level"), "{}", table.out);

    api.until("odd", "both to have the key", |plugin| pids(plugin).len() == 2).await?;
    home.scan(&[]).await?;
    let all = ["plugin", "logs", "odd", "--tail", "1000"];
    let printed = async || {
        let logs = home.run(&all).await?.ok()?.out;
        Ok(logs.contains("its key is ***").then_some(logs))
    };
    let logs = eventually("the task to be in the log", printed).await?;
    assert!(logs.contains("plugin-odd-2 | "), "{logs}");
    let of_one = ["plugin", "logs", "odd", "--instance", "plugin-odd-1", "--output", "ndjson"];
    let lines = home.run(&of_one).await?.ok()?.out;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        assert_eq!(line["instance"], "plugin-odd-1");
    }
    let followed = async || Ok(follow.printed().contains("started, process").then_some(()));
    eventually("the log to be followed", followed).await?;
    for seen in [format!("{table:?}"), logs, follow.printed(), got.to_string()] {
        assert!(!seen.contains(SECRET), "{seen}");
    }

    home.run(&["plugin", "disable", "odd"]).await?.ok()?;
    api.until("odd", "it to be off", |plugin| plugin["status"] == "disabled").await?;
    home.run(&["plugin", "enable", "odd"]).await?.ok()?;
    home.run(&["plugin", "reset", "odd"]).await?.ok()?;
    let one = |plugin: &Value| plugin["source"]["config"] == json!([]) && pids(plugin).len() == 1;
    api.until("odd", "what plugins.yml says", one).await?;
    home.run(&["plugin", "scale", "none", "2"]).await?.ended(3)?.says("`none` is known")?;
    up.stop().await?;
    follow.ended().await?;
    let nobody = home.run(&["plugin", "restart", "odd"]).await?.ended(4)?;
    nobody.says("no fleet runs over")?;
    Home::new()?.run(&["plugin", "logs", "odd"]).await?.ended(4)?;
    Ok(())
}
