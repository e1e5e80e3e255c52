//! Callbacks that are late, forged, repeated, early or incomplete.

use broker_config::wire::event::Outcome;
use integration_tests::bridge::{Asked, Bench, Odd, later, manifest, ok, send, text};
use integration_tests::{Fleet, eventually};
use serde_json::{Value, json};

fn call(body: &Value) -> Asked {
    Asked { body: body.clone(), number: 0 }
}

#[tokio::test]
async fn a_late_callback_is_told_so_and_changes_nothing() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        // The first attempt says nothing until it is over.
        if asked.number > 0 {
            later(asked.clone(), async move |asked| {
                asked.meta("PATCH", "", r#"{"odd/done":"second"}"#).await?;
                asked.call_back(&json!({})).await.map(drop)
            });
        }
        asked.accept()
    });
    odd.set_manifest(ok(&manifest(&json!({"timeout": 1_500}))));
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;
    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));
    let before = fleet.recorded("film", "odd").await?;
    let first = call(&odd.asked()[0]);

    let late = first.call_back(&json!({"status": "failed"})).await?;
    let wrote = first.meta("PATCH", "", r#"{"odd/done":"first"}"#).await?;

    assert_eq!((late.status, wrote.status), (410, 410), "{} {}", text(&late), text(&wrote));
    assert_eq!(late.headers["content-type"], "application/problem+json");
    assert_eq!(fleet.recorded("film", "odd").await?, before);
    assert_eq!(before.meta["odd/done"].as_text(), Some("second"));
    assert_eq!(before.attempt, 2);
    Ok(())
}

#[tokio::test]
async fn only_the_callback_of_the_attempt_counts_and_only_once() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move { asked.accept() });
    let (bench, _listening) = Bench::serving(&fleet, &odd).await?;
    let run = fleet.submit("film").await?;
    odd.asked_reach(1).await?;
    let asked = call(&odd.asked()[0]);
    let url = asked.text("callbackUrl");
    let done = r#"{"status":"completed"}"#;

    let (front, token) = url.rsplit_once('/').unwrap();
    let (number, secret) = token.split_once('-').unwrap();
    let forged = [
        front.to_owned(),
        format!("{front}/{number}-{}", "0".repeat(secret.len())),
        format!("{front}/{}", "f".repeat(40)),
        format!("{front}/{token}x"),
    ];
    for url in &forged {
        assert_eq!(send("POST", url, &[], done).await?.status, 404, "{url}");
    }
    for (change, status) in [
        (json!({"taskId": "another"}), 409),
        (json!({"pluginId": "another"}), 409),
        (json!({"cid": "another"}), 409),
        (json!({"status": "done"}), 400),
        (json!({"status": null}), 400),
        (json!({"taskId": 7}), 400),
    ] {
        assert_eq!(asked.call_back(&change).await?.status, status, "{change}");
    }
    assert_eq!(send("GET", &url, &[], "").await?.status, 405);
    assert_eq!(send("POST", &url, &[], "{").await?.status, 400);
    assert_eq!(send("POST", &url, &[], &"[".repeat(100_000)).await?.status, 400);
    assert_eq!(send("POST", &url, &[], &"x".repeat(2 << 20)).await?.status, 413);
    assert_eq!(bench.bridge.attempts(), 1, "none of them settled it");

    let taken = send("POST", &url, &[], r#"{"status":"skipped","reason":"enough"}"#).await?;
    assert_eq!((taken.status, text(&taken)), (200, r#"{"received":true}"#.to_owned()));
    let settled = fleet.settled(run).await?;

    assert_eq!(settled.of("odd"), Some(Outcome::Skipped), "without pluginId and cid");
    let again = send("POST", &url, &[], r#"{"status":"skipped","reason":"enough"}"#).await?;
    assert_eq!(text(&again), r#"{"received":true}"#, "said twice");
    assert_eq!(send("POST", &url, &[], done).await?.status, 409, "said otherwise");
    assert_eq!(fleet.recorded("film", "odd").await?.reason.as_deref(), Some("enough"));
    assert_eq!(odd.asked().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_callback_before_the_answer_settles_the_task() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        let wrote = asked.meta("PUT", "/odd/done", "early").await;
        let called = asked.call_back(&json!({})).await;
        if wrote.is_err() || called.is_err() { (500, String::new()) } else { asked.accept() }
    });
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    assert_eq!(fleet.run("film").await?.of("odd"), Some(Outcome::Completed));

    assert_eq!(fleet.recorded("film", "odd").await?.meta["odd/done"].as_text(), Some("early"));
    Ok(())
}

#[tokio::test]
async fn every_attempt_has_urls_of_its_own() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({"status": "failed"}));
    let (_bench, _listening) = Bench::serving(&fleet, &odd).await?;

    fleet.run("film").await?;

    let asked = eventually("two attempts", async || {
        let asked = odd.asked();
        Ok((asked.len() == 2).then_some(asked))
    });
    let asked = asked.await?;
    assert_eq!(asked[0]["taskId"], asked[1]["taskId"]);
    for url in ["callbackUrl", "metaCoreUrl"] {
        assert_ne!(asked[0][url], asked[1][url]);
    }
    Ok(())
}
