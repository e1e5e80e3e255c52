//! Two versions of a plugin as containers of two images, one of which takes the other's place.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use coordinator::transition::share::takes;
use integration_tests::cli::Home;
use integration_tests::docker::{Docker, LABEL, boxed, image, plugins_file, program};
use integration_tests::{LIMIT, heavy, within};
use serde_json::{Value, json};

use super::fleet;

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";
const FILES: usize = 40;

/// Makes a version of the plugin and its image, which says what is in it.
async fn add(home: &mut Home, version: &str) -> anyhow::Result<String> {
    let wants = json!({"permissions": ["filesystem.write"], "version": version});
    home.add_plugin("odd", &program("odd-plugin")?, &["completes"], &wants)?;
    let dir = home.plugin_dir("odd", version);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777))?;
    let (manifest, workdir) = (dir.join("manifest.json"), format!("/work-{version}"));
    let more = ["--workdir", &workdir, "--manifest", &manifest.to_string_lossy()];
    let name = format!("metafleet-test-odd-{version}:1");
    image(&name, &program("odd-plugin")?, &more).await
}

/// The plugin's entry with these images.
fn entry(home: &Home, images: &Value) -> Value {
    let mount = |version| {
        let dir = home.plugin_dir("odd", version);
        format!("{}:/work-{version}:rw", dir.display())
    };
    json!({
        "image": images, "command": ["completes"], "permissions": ["filesystem.write"],
        "labels": {LABEL: "fleet"}, "mounts": [mount(OLD), mount(NEW)],
        "transition": {"how": "gradual", "steps": [30, 100], "minTasks": 500},
        "resources": {"memory": "256m"},
    })
}

/// What is decided on versions, once it is so.
async fn decided(home: &Home, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    within(LIMIT * 3, what, async || {
        let shown: Value = home.json(&["plugin", "show", "odd"]).await?;
        Ok(is_so(&shown["versions"]).then(|| shown["versions"].clone()))
    })
    .await
}

/// Scans; each file has then a record by the version that `expected` says for its content.
async fn written_by(home: &Home, expected: impl Fn(&str) -> &'static str) -> anyhow::Result<()> {
    let (code, summary) = home.scan(&[]).await?;
    anyhow::ensure!(code == 0, "{summary}");
    for n in 0..FILES {
        let path = home.file(&format!("{}/{n:04}.txt", n % 7));
        let file: Value = home.json(&["file", "show", &path]).await?;
        let cid = file["cid"].as_str().context("a content id")?;
        let by = file["plugins"]["odd"]["version"].as_str().with_context(|| format!("{file}"))?;
        anyhow::ensure!(by == expected(cid), "{cid} by {by}");
    }
    Ok(())
}

#[tokio::test]
async fn a_share_of_the_files_goes_to_a_container_of_the_new_image_and_back() -> anyhow::Result<()>
{
    let Some(docker) = Docker::get("versions").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let (old, new) = (add(&mut home, OLD).await?, add(&mut home, NEW).await?);
    home.write("first.txt", "before")?;
    let only_old = entry(&home, &json!({OLD: old}));
    let (up, _look) = fleet(&home, &json!({"odd": only_old}), 1, &[]).await?;
    home.scan(&[]).await?;
    let first = docker.inspect("plugin-odd-1").await?.context("the container")?;

    // The new image in the file is a new version: it is tried as the file says.
    plugins_file(&home, &json!({"odd": entry(&home, &json!({OLD: old, NEW: new}))}))?;
    let is_tried = |versions: &Value| !versions["transition"]["candidate"].is_null();
    decided(&home, "the new version to be tried", is_tried).await?;
    home.write_many(FILES)?;
    written_by(&home, |cid| match takes(30, &cid.parse().expect("a content id")) {
        true => NEW,
        false => OLD,
    })
    .await?;
    let same = docker.inspect("plugin-odd-1").await?.context("the container")?;
    assert_eq!(same["Id"], first["Id"], "who does the work is not disturbed");
    assert!(docker.inspect("plugin-odd_next-1").await?.is_some());

    home.run(&["plugin", "switch", "odd"]).await?.ok()?;
    let has_ended = |versions: &Value| versions["transition"].is_null();
    let versions = decided(&home, "the new version to take over", has_ended).await?;
    assert_eq!(versions["current"], NEW);
    written_by(&home, |_| NEW).await?;
    within(LIMIT * 2, "one container of the new image to be left", async || {
        let trial = docker.inspect("plugin-odd_next-1").await?;
        let now = docker.inspect("plugin-odd-1").await?.unwrap_or_default();
        Ok((trial.is_none() && now["Config"]["WorkingDir"] == format!("/work-{NEW}")).then_some(()))
    })
    .await?;

    home.run(&["plugin", "rollback", "odd"]).await?.ok()?;
    decided(&home, "the old version to be back", |versions| {
        versions["transition"].is_null() && versions["current"] == OLD
    })
    .await?;
    written_by(&home, |_| OLD).await?;
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn an_image_that_holds_another_version_is_not_started() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("versions, another").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let old = add(&mut home, OLD).await?;
    let wrong = entry(&home, &json!({NEW: old}));
    let (up, _look) = fleet(&home, &json!({"odd": wrong}), 0, &[]).await?;

    within(LIMIT, "the reason to be told", async || {
        let said = super::errors_of(&home, "odd").await.unwrap_or_default();
        Ok(said.contains("holds version 1.0.0, and plugins.yml says 2.0.0").then_some(()))
    })
    .await?;
    assert!(docker.inspect("plugin-odd-1").await?.is_none());
    up.stop().await?;
    docker.nothing_is_left().await
}
