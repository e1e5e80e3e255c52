//! Tasks given up on, and their second chance.

use integration_tests::cli::{Home, Up};
use integration_tests::eventually;
use serde_json::{Value, json};

use super::add;

/// Two plugins that fail as long as a file lies in their folder, and three files.
fn broken() -> anyhow::Result<Home> {
    let mut home = Home::new()?;
    for id in ["one", "two"] {
        add(&mut home, id, &["broken"], &json!({}))?;
        std::fs::write(home.plugin_dir(id, "1.0.0").join("broken"), "")?;
    }
    home.write_many(3)?;
    Ok(home)
}

fn mend(home: &Home, id: &str) -> anyhow::Result<()> {
    Ok(std::fs::remove_file(home.plugin_dir(id, "1.0.0").join("broken"))?)
}

async fn letters(home: &Home) -> anyhow::Result<Vec<Value>> {
    home.json(&["dead", "list"]).await
}

async fn status_of(home: &Home, plugin: &str, cid: &Value) -> anyhow::Result<Value> {
    let shown: Value = home.json(&["file", "show", cid.as_str().unwrap_or_default()]).await?;
    Ok(shown["plugins"][plugin]["status"].clone())
}

#[tokio::test]
async fn a_mended_plugin_settles_what_is_requeued_by_number_by_plugin_or_at_once()
-> anyhow::Result<()> {
    let home = broken()?;
    let (up, look) = Up::fleet(&home, 2).await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["dead"]), (6, &json!(6)), "{summary}");
    let all = letters(&home).await?;
    assert_eq!(all.len(), 6);
    let of_two: Vec<Value> = home.json(&["dead", "list", "--plugin", "two"]).await?;
    assert_eq!(of_two.len(), 3);
    let first = &of_two[0];
    let shown: Value = home.json(&["dead", "show", &first["id"].to_string()]).await?;
    assert_eq!(shown, *first);
    assert_eq!((&shown["cause"], &shown["attempts"]), (&json!("permanent"), &json!(1)));
    assert_eq!(shown["error"], "the file `broken` is in its folder");
    assert_eq!(shown["instance"], "plugin-two-1");
    assert_eq!((&shown["task"]["pluginId"], &shown["task"]["cid"]), (&json!("two"), &shown["cid"]));

    // Before the cause is mended it fails again and is as dead as before.
    home.run(&["dead", "requeue", &first["id"].to_string()]).await?.ok()?;
    look.settled().await?;
    assert_eq!(letters(&home).await?.len(), 6);

    mend(&home, "one")?;
    mend(&home, "two")?;
    let of_two: Vec<Value> = home.json(&["dead", "list", "--plugin", "two"]).await?;
    let (id, cid) = (of_two[0]["id"].to_string(), &of_two[0]["cid"]);
    let done: Value = home.json(&["dead", "requeue", &id]).await?;
    assert_eq!(done, json!({"done": 1, "failed": []}));
    look.settled().await?;
    assert_eq!(status_of(&home, "two", cid).await?, "completed");
    assert_eq!(status_of(&home, "one", cid).await?, "failed", "only the one that was asked for");
    assert_eq!(letters(&home).await?.len(), 5);

    let done: Value = home.json(&["dead", "requeue", "--plugin", "two"]).await?;
    assert_eq!(done["done"], 2);
    let done: Value = home.json(&["dead", "requeue", "--all"]).await?;
    assert_eq!(done["done"], 3);
    look.settled().await?;
    assert_eq!(letters(&home).await?, Vec::<Value>::new());
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["cached"]), (0, &json!(3)), "nothing is left: {summary}");
    for letter in &all {
        assert_eq!(status_of(&home, "one", &letter["cid"]).await?, "completed");
    }
    up.stop().await
}

#[tokio::test]
async fn what_is_dropped_is_gone_and_what_is_requeued_without_a_fleet_waits_for_one()
-> anyhow::Result<()> {
    let home = broken()?;
    home.scan(&[]).await?;
    let id = letters(&home).await?[0]["id"].to_string();

    home.run(&["dead", "drop", &id]).await?.ok()?;
    home.run(&["dead", "show", &id]).await?.ended(3)?;
    let done: Value = home.json(&["dead", "drop", "--plugin", "one"]).await?;
    let left = letters(&home).await?;
    assert_eq!(done["done"], json!(5 - left.len()));
    assert!(left.iter().all(|letter| letter["pluginId"] == "two"), "{left:?}");

    mend(&home, "two")?;
    let requeued = home.run(&["dead", "requeue", "--all"]).await?.ok()?;
    requeued.says("no fleet is running; they are tried again when one starts")?;
    assert_eq!(letters(&home).await?, Vec::<Value>::new());
    let (up, look) = Up::fleet(&home, 2).await?;
    look.settled().await?;
    eventually("the record of the second chance", async || {
        let status = status_of(&home, "two", &left[0]["cid"]).await?;
        Ok((status == "completed").then_some(()))
    })
    .await?;
    assert_eq!(status_of(&home, "one", &left[0]["cid"]).await?, "failed", "its record stays");
    up.stop().await
}
