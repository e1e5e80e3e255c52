//! Routes in `plugins.yml`: processes of the fleet's own, and a worker that somebody else starts.

use std::process::Stdio;

use anyhow::Context as _;
use coordinator::config::DataDir;
use integration_tests::cli::{Home, Look, Up};
use integration_tests::far::password;
use integration_tests::{LIMIT, eventually, heavy, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::add;

const ROUTES: &str = "plugins:\n  odd:\n    routes:\n      far:\n        runtime: remote\n        \
                      when: {libraries: [films], extensions: [mkv]}\n      big:\n        \
                      when: {minSize: 1k}\n        instances: 1\n";
const BIG: &str = "plugins:\n  odd:\n    routes:\n      big:\n        when: {minSize: 1k}\n        \
                   instances: 1\n";

/// A worker that nobody but this test starts: with an address, a login, a folder of its own.
fn start_far(home: &Home, password: &str, name: &str) -> anyhow::Result<Child> {
    let folder = home.root().join(name);
    std::fs::create_dir_all(&folder)?;
    let manifest = home.plugin_dir("odd", "1.0.0").join("manifest.json");
    std::fs::copy(manifest, folder.join("manifest.json"))?;
    let fleet = DataDir::new(home.data()).running()?.context("a fleet that runs")?;
    let worker = Command::new(env!("CARGO_BIN_EXE_odd-plugin"))
        .arg("same")
        .current_dir(&folder)
        .env_clear()
        .env("NATS_URL", &fleet.connection.url)
        .env("NATS_USER", "odd")
        .env("NATS_PASSWORD", password)
        .env("METAFLEET_INSTANCE", name)
        .env("METAFLEET_ROUTE", "far")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(worker)
}

/// The worker that wrote the record of a file of the library.
async fn written_by(home: &Home, look: &Look, name: &str) -> anyhow::Result<String> {
    within(LIMIT * 2, &format!("a record of {name}"), async || {
        let file: Value = home.json(&["file", "show", &home.file(name)]).await?;
        let mut records = look.records().await?.into_iter();
        let record = records.find(|record| file["cid"] == record.cid.as_str());
        Ok(record.and_then(|record| record.instance).map(|instance| instance.to_string()))
    })
    .await
}

async fn status_says(home: &Home, part: &str) -> anyhow::Result<()> {
    eventually(&format!("the status to say `{part}`"), async || {
        let status = home.run(&["status"]).await?.ok()?;
        Ok(status.out.contains(part).then_some(()))
    })
    .await
}

#[tokio::test]
async fn files_go_to_processes_of_their_own_and_to_a_worker_from_elsewhere() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut home = Home::new()?;
    add(&mut home, "odd", &["same"], &json!({}))?;
    std::fs::create_dir_all(home.data())?;
    let file = home.data().join("plugins.yml");
    std::fs::write(&file, ROUTES)?;
    home.write("small.txt", "small")?;
    home.write("big.txt", "b".repeat(2_000))?;
    home.write("film.mkv", "f".repeat(3_000))?;
    let library = format!("films={}", home.library().display());
    let (up, look) = Up::fleet_with(&home, 1, &["--library", &library]).await?;

    assert_eq!(written_by(&home, &look, "small.txt").await?, "plugin-odd-1");
    assert_eq!(written_by(&home, &look, "big.txt").await?, "plugin-odd_big-1");
    status_says(&home, "odd: 1 task waits: nobody serves the route `far`").await?;

    // It needs no more than an address and the login of its plugin.
    let password = &password(&home, "odd")?;
    let refused = start_far(&home, "wrong", "refused")?.wait().await?;
    assert_eq!(refused.code(), Some(4), "the broker does not let it in");
    let mut far = start_far(&home, password, "far-away")?;
    assert_eq!(written_by(&home, &look, "film.mkv").await?, "far-away");
    look.settled().await?;
    let shown: Value = home.json(&["status"]).await?;
    let far_route = json!({"name": "far", "instances": 1, "ready": 1, "pending": 0, "running": 0});
    let routes = shown["plugins"][0]["routes"].as_array().context("routes")?;
    assert!(routes.contains(&far_route), "{routes:?}");

    // It goes, and then its route does, while something waits for it.
    let pid =
        Pid::from_raw(far.id().context("it has ended")?.cast_signed()).context("a process")?;
    kill_process(pid, Signal::TERM)?;
    assert!(far.wait().await?.success());
    home.write("film-2.mkv", "g".repeat(3_000))?;
    home.write("film-3.mkv", "g")?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    status_says(&home, "odd: 2 tasks wait: nobody serves").await?;
    std::fs::write(&file, BIG)?;
    assert_eq!(written_by(&home, &look, "film-2.mkv").await?, "plugin-odd_big-1");
    assert_eq!(written_by(&home, &look, "film-3.mkv").await?, "plugin-odd-1");
    look.settled().await?;
    let records = look.records().await?;
    assert_eq!(records.len(), 5);
    assert!(records.iter().all(|record| record.attempt == 1), "{records:?}");

    // A gradual transition would need workers of a route in both versions.
    let arguments = ["plugin", "transition", "odd", "--to", "2.0.0", "--how", "gradual"];
    home.run(&arguments).await?.ended(5)?.says("has `routes`")?;
    up.stop().await
}
