//! HTTP plugins: their callbacks and the API share one address.

use integration_tests::api::Api;
use integration_tests::bridge::{Odd, manifest, ok, send, text};
use integration_tests::cli::{Home, Up};
use integration_tests::{eventually, heavy};
use serde_json::{Value, json};

use super::plugins;

#[tokio::test]
async fn an_http_plugin_is_configured_and_switched_off_and_on_while_it_calls_back()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::new()?
        .with_var("METAFLEET_KV_LISTEN", "127.0.0.1:0")
        .with_var("METAFLEET_PLUGIN_PATH", "/nonexistent");
    home.write_many(2)?;
    let odd = Odd::calls_back(json!({}));
    let schema = json!({"configSchema": {"key": {"secret": true}}});
    odd.set_manifest(ok(&manifest(&schema)));
    let listening = odd.listen(0).await?;
    let url = listening.url()?;
    let entry = format!("plugins:\n  odd: {{protocol: http, runtime: remote, url: '{url}'}}\n");
    plugins(&home, &entry)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;

    let set = json!({"config": {"key": "hush-http"}}).to_string();
    assert_eq!(api.send("PUT", "/api/plugins/odd/config", &set).await?.status, 200);
    let has_it = async || {
        let last = odd.configured().pop();
        Ok(last.is_some_and(|given| given.to_string().contains("hush-http")).then_some(()))
    };
    eventually("the settings to reach it", has_it).await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(2)), "{summary}");
    let counted = |plugin: &Value| plugin["stats"]["tasksCompleted"] == 2;
    let shown = api.until("odd", "its tasks to be counted", counted).await?;
    assert_eq!((&shown["protocol"], &shown["instances"]), (&json!("http"), &json!(1)));
    assert!(!shown.to_string().contains("hush-http"), "{shown}");
    // No token is needed to call back, but a callback URL that somebody was given.
    let callback = odd.asked()[0]["callbackUrl"].as_str().unwrap_or_default().to_owned();
    assert!(callback.starts_with(&api.url), "{callback} is not at {}", api.url);
    assert_eq!(send("POST", &callback, &[], "{}").await?.status, 400);
    let none = format!("{}/api/plugins/callback", api.url);
    assert_eq!(send("POST", &none, &[], "{}").await?.status, 404);

    for (action, body) in [("scale", r#"{"instances": 2}"#), ("restart", "")] {
        let answer = api.send("POST", &format!("/api/plugins/odd/{action}"), body).await?;
        assert_eq!(answer.status, 409, "{action}: {}", text(&answer));
    }
    api.post("/api/plugins/odd/disable", &Value::Null).await?;
    home.write("new.txt", "while it is off")?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(0)), "{summary}");
    api.post("/api/plugins/odd/enable", &Value::Null).await?;
    api.until("odd", "it to serve again", |plugin| plugin["status"] == "healthy").await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(1)), "{summary}");
    up.stop().await?;
    listening.die().await;
    Ok(())
}
