//! The login of each plugin at the fleet's own broker.

use std::collections::BTreeSet;

use anyhow::Context as _;
use async_nats::Client;
use broker_config::PluginId;
use coordinator::config::DataDir;
use integration_tests::cli::{Home, Up};
use integration_tests::far::password;
use integration_tests::{eventually, heavy};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{add, odd_home};

/// Logs in at the fleet of `home`.
async fn login(home: &Home, name: &str, password: &str) -> anyhow::Result<Client> {
    let fleet = DataDir::new(home.data()).running()?.context("a fleet that runs")?;
    let options = async_nats::ConnectOptions::with_user_and_password(
        name.to_owned(),
        password.trim().to_owned(),
    );
    Ok(options.connect(fleet.connection.url).await?)
}

/// Whether this login can write an artefact of that plugin.
async fn writes(client: &Client, plugin: &str) -> bool {
    let subject = format!("$KV.mf-artifacts.{}.{plugin}.try", fastrand::u32(..));
    let answer = client.request(subject, "{}".into()).await;
    answer.is_ok_and(|answer| answer.payload.starts_with(b"{\"stream\""))
}

/// The plugins that have a login.
fn have_logins(home: &Home) -> anyhow::Result<BTreeSet<String>> {
    let users: Value =
        serde_json::from_slice(&std::fs::read(home.data().join("nats/users.json"))?)?;
    let plugins = users["plugins"].as_object().context("plugins")?;
    Ok(plugins.keys().cloned().collect())
}

fn files_of(home: &Home) -> BTreeSet<String> {
    let entries = std::fs::read_dir(home.data().join("login")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_plugin_that_comes_and_goes_takes_its_login_along() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut home = odd_home(&["same"], 40)?;
    let (up, look) = Up::fleet(&home, 1).await?;
    assert_eq!(have_logins(&home)?, ["odd".to_owned()].into());
    let odd = login(&home, "odd", &password(&home, "odd")?).await?;
    assert!(writes(&odd, "odd").await && !writes(&odd, "late").await);
    assert!(login(&home, "plugin", &password(&home, "odd")?).await.is_err());
    assert!(login(&home, "late", "").await.is_err());
    let before = up.children("program")?;
    let processes = || -> anyhow::Result<Vec<u32>> {
        Ok(up.children("program")?.into_iter().map(|process| process.pid).collect())
    };

    // While the first one works.
    let scan = home.command(&["scan", &home.file("")])?;
    let mut scanned = JoinSet::new();
    scanned.spawn(integration_tests::cli::home::finish(scan));
    add(&mut home, "late", &["same"], &json!({}))?;
    up.signal(Signal::HUP)?;
    look.ready(2).await?;
    scanned.join_next().await.context("the scan")???.ok()?;
    let late = login(&home, "late", &password(&home, "late")?).await?;
    assert!(writes(&late, "late").await && !writes(&late, "odd").await);
    home.write("more.txt", "for both")?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!(code, 0, "{summary}");
    let late_id: PluginId = "late".parse()?;
    let by_late = look.records().await?.into_iter().filter(|record| record.plugin_id == late_id);
    assert!(by_late.count() > 0, "the plugin that came did nothing");
    let first = before.first().context("a process")?.pid;
    assert!(processes()?.contains(&first), "the plugin that stayed was started anew");
    assert!(writes(&odd, "odd").await, "its connection is gone");

    let old = password(&home, "late")?;
    std::fs::remove_dir_all(home.plugin_dir("late", "1.0.0"))?;
    up.signal(Signal::HUP)?;
    eventually("the login of a plugin that has gone to be forgotten", async || {
        Ok((have_logins(&home)? == ["odd".to_owned()].into()).then_some(()))
    })
    .await?;
    assert!(login(&home, "late", &old).await.is_err(), "it is let in for ever");
    eventually("its file to go", async || Ok((files_of(&home).len() == 1).then_some(()))).await?;
    assert!(processes()?.contains(&first), "the plugin that stayed was started anew");
    assert!(writes(&odd, "odd").await, "its connection is gone");
    up.stop().await
}

#[tokio::test]
async fn a_worker_of_ones_own_gets_a_login() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["same"], 1)?;
    let nobody = home.run(&["plugin", "login", "guest"]).await?;
    nobody.ended(4)?;
    let (up, _look) = Up::fleet(&home, 1).await?;

    let told: Value = home.json(&["plugin", "login", "guest"]).await?;

    let variables = &told["variables"];
    assert_eq!(variables["NATS_USER"], "guest");
    let file = variables["NATS_PASSWORD_FILE"].as_str().context("a file")?;
    let secret = std::fs::read_to_string(file)?;
    assert!(!told.to_string().contains(secret.trim()), "the password is shown");
    let guest = login(&home, "guest", &secret).await?;
    assert!(writes(&guest, "guest").await && !writes(&guest, "odd").await);

    // It stays over a restart of the fleet, with its password.
    up.stop().await?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    assert_eq!(password(&home, "guest")?, secret.trim());
    login(&home, "guest", &secret).await?;

    home.run(&["plugin", "login", "guest", "--forget"]).await?.ok()?;
    eventually("it to be shut out", async || {
        Ok(login(&home, "guest", &secret).await.is_err().then_some(()))
    })
    .await?;
    home.run(&["plugin", "login", "guest", "--forget"]).await?.ended(3)?;
    up.stop().await
}
