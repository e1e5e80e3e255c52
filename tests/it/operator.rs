//! Servers in operator mode, and what `metafleet broker render` and `deploy/setup.py` write, on real
//! servers.

mod rendered;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, RequestErrorKind};
use broker_config::accounts::Accounts;
use broker_config::wire::event::Outcome as Ended;
use broker_config::{Names, PluginId, Queue};
use coordinator::operator::Resolver;
use integration_tests::{Call, Fleet, Operator, Script, done, eventually, file, manifest};
use serde_json::json;
use worker_sdk::{Credentials, Failure};

use crate::hostile::stage::fleet_on;

/// The accounts of a fleet with these plugins.
fn accounts_of(plugins: &[&str]) -> anyhow::Result<Accounts> {
    let mut ids: BTreeMap<PluginId, _> = BTreeMap::new();
    for plugin in plugins {
        ids.insert(plugin.parse()?, BTreeSet::new());
    }
    Ok(Accounts::of(&Names::default(), &ids))
}

async fn login(fleet: &Fleet, operator: &Operator, user: &str) -> anyhow::Result<Client> {
    let options = ConnectOptions::with_credentials_file(operator.creds(user)).await?;
    Ok(options.connect(fleet.server.url()).await?)
}

/// All that a worker does: a record, a second attempt, a failure for good.
async fn works(fleet: &Fleet, id: &str, credentials: Credentials) -> anyhow::Result<()> {
    let script = Script::new(|call: Call| async move {
        match call.cid.as_str() {
            "fails" => Err(Failure::permanent("it cannot be done")),
            "retries" if call.attempt == 1 => Err(Failure::retryable("busy")),
            _ => Ok(done(&call.plugin, "yes")),
        }
    });
    let plugin = manifest(id, &json!({}))?;
    let worker = fleet.worker_with(&plugin, &script, |options| options.credentials = credentials);
    let worker = worker.await?;
    for (cid, outcome) in
        [("film", Ended::Completed), ("retries", Ended::Completed), ("fails", Ended::Failed)]
    {
        let mut submission = file(cid)?;
        submission.only = vec![id.parse()?];
        let run = fleet.hand_in(Queue::Fast, &submission).await?;
        assert_eq!(fleet.settled(run).await?.of(id), Some(outcome), "{id}: {cid}");
    }
    assert_eq!(script.calls_of("retries").len(), 2, "{id}");
    assert_eq!(fleet.dead_letter(id).await?.attempts, 1, "{id}");
    worker.stop().await
}

/// A record of a plugin in the name of another is not stored, and one in its own name is.
async fn kept_apart(fleet: &Fleet, client: &Client, own: &str, other: &str) -> anyhow::Result<()> {
    let stream = Names::bucket_stream(&fleet.names.records_bucket());
    let [own, other] = [own, other].map(|id| format!("$KV.mf-records.new.{id}"));
    for subject in [&other, &own] {
        client.publish_with_reply(subject.clone(), client.new_inbox(), "{}".into()).await?;
    }
    eventually("what is its own to be stored", async || {
        Ok(fleet.last(&stream, &own).await?.map(drop))
    })
    .await?;
    // It was sent before the one that is stored.
    assert!(fleet.last(&stream, &other).await?.is_none(), "{other}");
    Ok(())
}

/// Whether a request finds nobody who answers.
async fn finds_nobody(client: &Client, subject: &str) -> anyhow::Result<bool> {
    match client.request(subject.to_owned(), "{}".into()).await {
        Ok(_) => Ok(false),
        Err(error) => match error.kind() {
            RequestErrorKind::NoResponders => Ok(true),
            _ => Err(error.into()),
        },
    }
}

/// None of these clients has lost its connection.
async fn undisturbed(clients: &[&Client]) -> anyhow::Result<()> {
    for client in clients {
        client.flush().await?;
        assert_eq!(client.statistics().connects.load(Ordering::Relaxed), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_comes_and_goes_by_tokens_that_are_pushed() -> anyhow::Result<()> {
    let mut operator = Operator::new(&accounts_of(&["first"])?)?;
    let (fleet, _lead) = fleet_on(operator.server(Resolver::Full).await?).await?;
    let first = login(&fleet, &operator, "first").await?;

    operator.again(&accounts_of(&["first", "second"])?, &[])?;
    assert!(login(&fleet, &operator, "second").await.is_err(), "the server does not know it");
    assert_eq!(operator.push(&fleet.server).await?, ["MF-second", "MF"]);

    works(&fleet, "second", Credentials::File(operator.creds("second"))).await?;
    let second = login(&fleet, &operator, "second").await?;
    let own = "$KV.mf-records.film.second";
    assert!(!finds_nobody(&second, own).await?, "it reaches what is its own");

    operator.again(&accounts_of(&["first"])?, &[])?;
    assert_eq!(operator.issued.removed, ["MF-second"]);
    assert_eq!(operator.push(&fleet.server).await?, ["MF"]);

    eventually("the one that went to reach nothing", async || {
        Ok(finds_nobody(&second, own).await?.then_some(()))
    })
    .await?;
    assert!(!finds_nobody(&first, "$KV.mf-records.film.first").await?);
    undisturbed(&[&first, &fleet.client]).await
}

#[tokio::test]
async fn a_login_that_was_replaced_is_cut_off_and_refused() -> anyhow::Result<()> {
    let accounts = accounts_of(&["first", "other"])?;
    let mut operator = Operator::new(&accounts)?;
    let (fleet, _lead) = fleet_on(operator.server(Resolver::Full).await?).await?;
    let (old, other) =
        (login(&fleet, &operator, "first").await?, login(&fleet, &operator, "other").await?);
    let old_file = std::fs::read_to_string(operator.creds("first"))?;

    operator.again(&accounts, &["first"])?;
    assert_eq!(operator.push(&fleet.server).await?, ["MF-first"]);

    eventually("the old login to be cut off", async || {
        Ok((old.connection_state() != State::Connected).then_some(()))
    })
    .await?;
    let again = ConnectOptions::with_credentials(&old_file)?;
    assert!(again.connect(fleet.server.url()).await.is_err(), "it is not let in any more");
    works(&fleet, "first", Credentials::File(operator.creds("first"))).await?;
    undisturbed(&[&other, &fleet.client]).await
}

#[tokio::test]
async fn who_writes_the_imports_of_an_account_gains_nothing_by_it() -> anyhow::Result<()> {
    let mut accounts = accounts_of(&["first", "second"])?;
    for plugin in &mut accounts.plugins {
        plugin.publish = vec![">".to_owned()];
    }
    let mut operator = Operator::new(&accounts)?;
    let (fleet, _lead) = fleet_on(operator.server(Resolver::Full).await?).await?;
    let first = login(&fleet, &operator, "first").await?;
    let strange = "$KV.mf-records.*.second";
    let mine = operator.claims("MF-second")?.nats["imports"].clone();
    let mine = mine.as_array().into_iter().flatten();
    let theirs = mine.into_iter().find(|import| import["subject"] == strange).context("it")?;
    let mut without = theirs.clone();
    without.as_object_mut().context("an import")?.remove("token");
    for import in [without, theirs.clone()] {
        let mut claims = operator.claims("MF-first")?;
        claims.nats["imports"].as_array_mut().context("imports")?.push(import.clone());
        operator.sign(claims)?;

        // A server may refuse it whole, or this import alone.
        let pushed = operator.push(&fleet.server).await;

        println!("{pushed:?}");
        assert!(!finds_nobody(&first, "$KV.mf-records.film.first").await?, "its own");
        assert!(finds_nobody(&first, "$KV.mf-records.film.second").await?, "{import}");
    }
    Ok(())
}
