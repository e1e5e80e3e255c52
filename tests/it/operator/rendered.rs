//! What a person gets of the programs that write configurations.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions};
use coordinator::config::Secret;
use coordinator::config::connection::Login;
use integration_tests::Server;
use integration_tests::cli::Home;
use serde_json::{Value, json};
use tokio::process::Command;
use worker_sdk::Credentials;

use super::{kept_apart, works};
use crate::hostile::stage::fleet_on;

/// A plugin of the installation, and another one.
const PLUGINS: [&str; 2] = ["ffmpeg", "jellyfin-nfo"];

/// `metafleet broker render --server --accounts` for both plugins, with these arguments.
async fn rendered(home: &Home, arguments: &[&str]) -> anyhow::Result<String> {
    let [one, other] = PLUGINS;
    let command =
        ["broker", "render", "--server", "--accounts", "--plugin", one, "--plugin", other];
    let store = home.root().join("store").display().to_string();
    let arguments = [&command[..], &["--store-dir", &store], arguments].concat();
    Ok(home.run(&arguments).await?.ok()?.out)
}

/// The keys and the configuration of logins that `deploy/setup.py` makes.
async fn set_up(home: &Home) -> anyhow::Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/setup.py");
    let state = home.root().join("state");
    let mut command = Command::new("python3");
    command.arg(script).arg("--state").arg(&state).arg("--env").arg(home.root().join(".env"));
    let done = command.args(["--nats-image", "none"]).output().await?;
    anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(state)
}

fn seed(state: &Path, name: &str) -> String {
    state.join(format!("keys/{name}.nk")).display().to_string()
}

async fn by_key(server: &Server, seed: &str) -> anyhow::Result<Client> {
    let seed = std::fs::read_to_string(seed)?;
    Ok(ConnectOptions::with_nkey(seed.trim().to_owned()).connect(server.url()).await?)
}

#[tokio::test]
async fn a_configuration_with_keys_lets_each_do_its_own_and_no_more() -> anyhow::Result<()> {
    let home = Home::new()?;
    let state = set_up(&home).await?;
    let keys = state.join("keys").display().to_string();
    let text = rendered(&home, &["--keys", &keys]).await?;

    let login = Login::Nkey(Secret::new(seed(&state, "coordinator")));
    let (fleet, _lead) = fleet_on(Server::letting_in(login, |_| text).await?).await?;

    for id in PLUGINS {
        works(&fleet, id, Credentials::Nkey(seed(&state, id))).await?;
    }
    let client = by_key(&fleet.server, &seed(&state, "ffmpeg")).await?;
    kept_apart(&fleet, &client, "ffmpeg", "jellyfin-nfo").await
}

#[tokio::test]
async fn an_operators_configuration_lets_each_do_its_own() -> anyhow::Result<()> {
    for resolver in ["full", "memory"] {
        let home = Home::new()?;
        let dir = home.root().join("operator").display().to_string();
        let arguments = ["--operator", &dir, "--resolver", resolver];
        let text = rendered(&home, &arguments).await?;
        let creds = |account: &str, user: &str| {
            PathBuf::from(&dir).join(format!("keys/creds/metafleet/{account}/{user}.creds"))
        };

        let login = Login::Credentials(creds("MF", "coordinator"));
        let (fleet, _lead) = fleet_on(Server::letting_in(login, |_| text).await?).await?;

        for id in PLUGINS {
            let login = Credentials::File(creds(&format!("MF-{id}"), id));
            works(&fleet, id, login).await.with_context(|| format!("{resolver}: {id}"))?;
        }
        let login = ConnectOptions::with_credentials_file(creds("MF-ffmpeg", "ffmpeg")).await?;
        let client = login.connect(fleet.server.url()).await?;
        kept_apart(&fleet, &client, "ffmpeg", "jellyfin-nfo").await?;
        let person = Home::new()?
            .with_var("NATS_URL", fleet.server.url())
            .with_var("NATS_CREDS", creds("MF", "coordinator").display().to_string());
        let report: Value = person.json(&["doctor"]).await?;
        let account = &report["facts"]["broker"]["Ok"]["account"];
        assert_eq!(*account, json!({ "name": "MF", "byOperator": true }), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_that_is_there_says_what_is_new() -> anyhow::Result<()> {
    let home = Home::new()?;
    let dir = home.root().join("operator").display().to_string();
    let command = ["broker", "render", "--server", "--accounts", "--operator", &dir];
    let run = async |more: &[&str]| home.run(&[&command[..], more].concat()).await;

    let first = run(&["--plugin", "one"]).await?.ok()?;
    let same = run(&["--plugin", "one"]).await?.ok()?;
    let other = run(&["--plugin", "two"]).await?.ok()?;
    let rotated = run(&["--plugin", "two", "--rotate", "two"]).await?.ok()?;

    assert!(first.err.contains("new login of one: "), "{first:?}");
    assert!(first.err.contains("$SYS.REQ.CLAIMS.UPDATE"), "{first:?}");
    assert_eq!(same.out, first.out, "nothing is signed again");
    assert!(same.err.contains("no account has changed"), "{same:?}");
    assert!(other.err.contains("MF-one is not named any more"), "{other:?}");
    assert!(rotated.err.contains("new login of two: "), "{rotated:?}");
    let unknown = run(&["--plugin", "two", "--rotate", "one"]).await?.ended(2)?;
    assert!(unknown.err.contains("`one` is neither"), "{unknown:?}");
    for secret in ["SU", "SO", "SA"] {
        for done in [&first, &other, &rotated] {
            let is_seed = |word: &str| word.starts_with(secret) && word.len() == 58;
            assert!(!done.out.split_whitespace().any(is_seed), "a seed is shown");
            assert!(!done.err.split_whitespace().any(is_seed), "a seed is shown");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_logins_of_compose_let_each_do_its_own_and_keep_it_from_the_rest() -> anyhow::Result<()>
{
    let home = Home::new()?;
    let state = set_up(&home).await?;
    let users = std::fs::read_to_string(state.join("users.conf"))?;
    let login = Login::Nkey(Secret::new(seed(&state, "coordinator")));
    let server = Server::letting_in(login, |store| {
        format!("max_payload: 8MB\njetstream {{ store_dir: {store:?} }}\n{users}")
    });

    let (fleet, _lead) = fleet_on(server.await?).await?;

    for id in PLUGINS {
        works(&fleet, id, Credentials::Nkey(seed(&state, id))).await?;
    }
    let client = by_key(&fleet.server, &seed(&state, "ffmpeg")).await?;
    kept_apart(&fleet, &client, "ffmpeg", "jellyfin-nfo").await
}
