//! How containers come and go.

use integration_tests::cli::{Home, Up};
use integration_tests::docker::{self, Docker, add_odd, boxed, id};
use integration_tests::{eventually, heavy, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

use super::{errors_of, fleet};

#[tokio::test]
async fn what_a_plugin_wants_and_is_not_granted_keeps_it_from_starting() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("not granted").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let mut entry = add_odd(&mut home, "odd", &["same"]).await?;
    entry["permissions"] = json!([]);
    entry["mounts"] = json!([]);

    let (up, _look) = fleet(&home, &json!({"odd": entry}), 0, &[]).await?;

    let what = "the reason to be shown";
    eventually(what, async || {
        let errors = errors_of(&home, "odd").await?;
        Ok(errors
            .contains("it wants `filesystem.write`, which plugins.yml does not grant")
            .then_some(()))
    })
    .await?;
    assert!(docker.containers().await?.is_empty());
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn an_image_that_nobody_has_is_shown_and_the_others_run() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("no image").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let entry = add_odd(&mut home, "odd", &["same"]).await?;
    // Nobody listens there, so the answer comes at once.
    let absent = json!({"image": "127.0.0.1:1/metafleet-test-none:1"});

    let (up, _look) = fleet(&home, &json!({"odd": entry, "absent": absent}), 1, &[]).await?;

    eventually("the reason to be shown", async || {
        let errors = errors_of(&home, "absent").await?;
        let told = "not started yet: could not pull the image 127.0.0.1:1/metafleet-test-none:1";
        Ok(errors.contains(told).then_some(()))
    })
    .await?;
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn a_crash_loop_and_too_much_memory_are_shown_with_their_reason() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("crash loop").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = boxed(Home::new()?).with_var("METAFLEET_PLUGIN_PATH", "/none");
    let image = docker::probe_image().await?;
    let labels = json!({docker::LABEL: "fleet"});
    let crashes = json!({"image": docker::odd_image().await?, "command": ["crashes"],
        "labels": labels, "mounts": [format!("{}:/work", home.library().display())]});
    let hungry = json!({"image": image, "command": ["ballast"], "labels": labels,
        "resources": {"memory": "16m"}});

    let plugins = json!({"crashes": crashes, "hungry": hungry});
    let (up, _look) = fleet(&home, &plugins, 0, &[]).await?;

    for (plugin, reason) in [
        ("crashes", "crash loop: ended with exit code 3; see docker logs plugin-crashes-1"),
        ("hungry", "crash loop: out of memory: ended by signal 9"),
    ] {
        within(Duration::from_secs(90), reason, async || {
            Ok(errors_of(&home, plugin).await?.contains(reason).then_some(()))
        })
        .await?;
    }
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn containers_of_a_killed_fleet_are_taken_over_and_a_dry_run_says_what_would_be_done()
-> anyhow::Result<()> {
    let Some(docker) = Docker::get("taken over").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let entry = add_odd(&mut home, "odd", &["same"]).await?;
    let file = docker::plugins_file(&home, &json!({"odd": entry}))?;
    let dry = async || -> anyhow::Result<Value> {
        let library = format!("films={}", home.library().display());
        let arguments =
            ["up", "--dry-run", "--library", &library, &file[0], &file[1], "--output", "json"];
        home.run(&arguments).await?.ok()?.json()
    };
    let plan = dry().await?["steps"].to_string();
    assert!(plan.contains("make the network metafleet-dt-"), "{plan}");
    assert!(plan.contains("create plugin-odd-1 from metafleet-test-odd:1"), "{plan}");
    assert!(docker.containers().await?.is_empty(), "it was done");

    let (mut up, _look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    let before = docker.inspect("plugin-odd-1").await?;
    assert_eq!(dry().await?["steps"], json!([]));
    up.signal(Signal::KILL)?;
    up.ended().await?;
    let (up, _look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    // Its container is ready before it is.
    up.says("metafleet is up").await?;
    let after = docker.inspect("plugin-odd-1").await?;

    let of = |container: &Option<Value>| container.as_ref().map(id);
    assert_eq!(of(&before), of(&after));
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn a_scan_of_its_own_starts_containers_and_leaves_none() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("scan").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let entry = add_odd(&mut home, "odd", &["same"]).await?;
    home.write_many(12)?;
    let file = docker::plugins_file(&home, &json!({"odd": entry}))?;

    let (code, summary) = home.scan(&[&file[0], &file[1]]).await?;

    assert_eq!(code, 0, "{summary}");
    assert_eq!(home.calls("odd")?.len(), 12);
    docker.nothing_is_left().await
}

#[tokio::test]
async fn without_an_engine_that_is_said_and_the_fleet_works() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = boxed(Home::new()?)
        .with_var("METAFLEET_PLUGIN_PATH", "/none")
        .with_var("DOCKER_HOST", "unix:///none/there.sock");
    let entry = json!({"image": "none"});
    let file = docker::plugins_file(&home, &json!({"odd": entry}))?;
    let up = Up::start(&home, &["up", &file[0], &file[1]])?;
    up.says("the Docker engine does not answer").await?;
    up.says("metafleet is up").await?;
    up.stop().await
}
