//! Settings through the API.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use coordinator::bridge::client::Answer;
use integration_tests::api::{Api, ok, problem};
use integration_tests::bridge::text;
use integration_tests::cli::Up;
use integration_tests::heavy;
use serde_json::{Value, json};

use super::{odd_home, pids, plugins};

const OF_FILE: &str = "hush-file-91c3";
const OF_API: &str = "hush-api-5d20aa";
const WRONG: &str = "hush-wrong-77";

fn schema() -> Value {
    json!({
        "key": {"type": "string", "secret": true, "required": true},
        "level": {"type": "number"}, "site": {"type": "string", "default": "example.org"},
    })
}

fn tag_of(answer: &Answer) -> anyhow::Result<String> {
    Ok(answer.headers.get("etag").context("a tag")?.to_str()?.to_owned())
}

#[tokio::test]
async fn changed_settings_reach_every_instance_and_secrets_nobody_else() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["tells", "key"], &schema(), 4)?
        .with_var("ODD_KEY", OF_FILE)
        .with_var("METAFLEET_LOG", "debug,async_nats=info");
    plugins(&home, "plugins:\n  odd: {instances: 2, config: {key: \"${ODD_KEY}\"}}\n")?;
    let (up, look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    let path = "/api/plugins/odd/config";
    api.until("odd", "two instances", |plugin| pids(plugin).len() == 2).await?;
    let answer = api.send("GET", path, "").await?;
    let (read, tag) = (ok(&answer)?, tag_of(&answer)?);
    assert_eq!(read["config"], json!({"key": "***", "site": "example.org"}));
    assert_eq!(read["schema"]["key"]["secret"], true);
    let mut seen = vec![read.to_string()];

    for (body, fields) in [
        (json!({"config": {"key": OF_API, "level": WRONG}}), vec!["/config/level"]),
        (json!({"config": {"key": "***", "other": WRONG}}), vec!["/config/other"]),
        (json!({"config": {"level": 1}}), vec!["/config/key"]),
        (json!({"config": {"key": "", "level": []}}), vec!["/config/key", "/config/level"]),
        (json!({"config": WRONG}), vec!["/config"]),
        (json!({}), vec!["/config"]),
    ] {
        let answer = api.send("PUT", path, &body.to_string()).await?;
        assert_eq!(answer.status, 422, "{body}: {}", text(&answer));
        let told = problem(&answer)?;
        let named = told["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]);
        assert_eq!(named.collect::<Vec<_>>(), fields, "{told}");
        seen.push(told.to_string());
    }
    assert_eq!(api.send("PUT", path, "{").await?.status, 400);
    assert!(!home.data().join("overrides.json").exists(), "nothing is kept of what is refused");

    // What a reading has shown comes back with one change; the mask stands for the file's key.
    let mut back = read.clone();
    back["config"]["site"] = json!("elsewhere.org");
    let before = pids(&api.get("/api/plugins/odd").await?);
    assert_eq!(api.send("PUT", path, &back.to_string()).await?.status, 200);
    let anew = |plugin: &Value| {
        let now = pids(plugin);
        now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
    };
    api.until("odd", "both to have the new settings", anew).await?;
    let kept = std::fs::read_to_string(home.data().join("overrides.json"))?;
    assert!(!kept.contains(OF_FILE), "what the file says is not copied: {kept}");

    // Who has read the settings before that change may not write over it.
    let (shown, stale) = (format!("Bearer {}", api.token), tag.as_str());
    let headers = [("authorization", shown.as_str()), ("if-match", stale)];
    let answer = api.send_as("PUT", path, &headers, &back.to_string()).await?;
    assert_eq!(answer.status, 412, "{}", text(&answer));
    let present = tag_of(&api.send("GET", path, "").await?)?;
    assert_ne!(present, tag);
    let headers = [("authorization", shown.as_str()), ("if-match", present.as_str())];
    let answer = api.send_as("PUT", path, &headers, &back.to_string()).await?;
    assert_eq!(answer.status, 200, "{}", text(&answer));

    let mine = json!({"config": {"key": OF_API, "site": "elsewhere.org"}}).to_string();
    assert_eq!(api.send("PUT", path, &mine).await?.status, 200);
    // Once more, with the mask for the key of just now.
    let masked = json!({"config": {"key": "***", "level": 3}}).to_string();
    assert_eq!(api.send("PUT", path, &masked).await?.status, 200);
    api.until("odd", "both again", |plugin| pids(plugin).len() == 2).await?;
    let read = api.get(path).await?;
    assert_eq!(read["config"], json!({"key": "***", "level": 3, "site": "example.org"}));
    assert_eq!(read["changed"], json!(["key", "level"]));
    seen.push(read.to_string());
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(4)), "{summary}");
    let lengths: Vec<Value> = look
        .records()
        .await?
        .iter()
        .flat_map(|record| record.meta.values())
        .map(|value| json!(value.to_flat()))
        .collect();
    assert_eq!(lengths, vec![json!(OF_API.len().to_string()); 4], "they had the new key");

    let mode = std::fs::metadata(home.data().join("overrides.json"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mode = std::fs::metadata(home.data().join("api-token"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in ["/api/plugins", "/api/plugins/odd"] {
        seen.push(api.get(path).await?.to_string());
    }
    let mut told = 0;
    for n in 1..=2 {
        let mut log =
            api.log(&format!("/api/plugins/odd/instances/plugin-odd-{n}/logs"), "*/*").await?;
        log.end().await?;
        told += log.read.matches("its key is ***").count();
        seen.push(log.read);
    }
    assert_eq!(told, 4, "{seen:?}");
    let shown = home.run(&["plugin", "show", "odd"]).await?;
    seen.push(format!("{shown:?} {}", up.said()));
    for stream in look.streams().await? {
        for message in look.messages(&stream).await? {
            let body = String::from_utf8_lossy(&message.payload).into_owned();
            seen.push(format!("{:?} {body}", message.headers));
        }
    }
    for secret in [OF_FILE, OF_API, WRONG, api.token.as_str()] {
        for text in &seen {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    up.stop().await?;

    let (up, _look) = Up::fleet(&home, 1).await?;
    let again = Api::of(&home)?;
    assert_eq!(again.token, api.token, "the token stays");
    assert_eq!(again.get(path).await?, read, "and so do the settings");
    up.stop().await
}
