//! One version of a plugin takes the place of another, on a real broker.

mod gradual;
mod takes_over;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use broker_config::{Cid, Manifest, Names, PluginId, Record};
use coordinator::store::Store;
use coordinator::store::versions::KnownVersions;
use coordinator::transition::state::{Asked, Moment};
use coordinator::transition::{How, Plan, Versions};
use integration_tests::plugin::manifest;
use integration_tests::{Fleet, Script, eventually};
use serde_json::json;

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";

fn probe() -> anyhow::Result<PluginId> {
    Ok("probe".parse()?)
}

fn version(version: &str) -> anyhow::Result<Manifest> {
    manifest("probe", &json!({ "version": version }))
}

async fn store(fleet: &Fleet) -> anyhow::Result<Store> {
    Ok(Store::open(fleet.client.clone(), fleet.names.clone()).await?)
}

/// Decides that the plugin goes over to the new version.
async fn begin(store: &Store, plan: &Plan) -> anyhow::Result<()> {
    let now = Moment { ms: 0, text: "2026-01-01T00:00:00Z".to_owned() };
    let begin =
        |versions: &Versions| versions.begin(NEW.parse()?, plan, &now).map_err(anyhow::Error::msg);
    change(store, begin).await
}

/// A person says what is to come of a transition.
async fn ask(store: &Store, asked: Asked) -> anyhow::Result<()> {
    change(store, |versions| {
        let mut next = versions.clone();
        next.transition.as_mut().context("a transition")?.asked = Some(asked);
        Ok(next)
    })
    .await
}

async fn change(
    store: &Store,
    change: impl Fn(&Versions) -> anyhow::Result<Versions>,
) -> anyhow::Result<()> {
    let probe = probe()?;
    let first = KnownVersions { versions: Versions::new(OLD.parse()?), revision: 0 };
    eventually("the versions to be written", async || {
        let known = store.versions().await?.remove(&probe).unwrap_or_else(|| first.clone());
        let next = KnownVersions { versions: change(&known.versions)?, ..known };
        Ok(store.put_versions(&probe, &next).await.ok())
    })
    .await
    .map(drop)
}

async fn versions(store: &Store) -> anyhow::Result<Versions> {
    let known = store.versions().await?.remove(&probe()?).context("versions")?;
    Ok(known.versions)
}

/// Waits until no transition goes on; returns what has come of it.
async fn ended(store: &Store) -> anyhow::Result<Versions> {
    eventually("the transition to end", async || {
        Ok(Some(versions(store).await?).filter(|versions| versions.transition.is_none()))
    })
    .await
}

/// The records of the plugin by file.
async fn records(fleet: &Fleet) -> anyhow::Result<BTreeMap<Cid, Record>> {
    let (mut records, probe) = (BTreeMap::new(), probe()?);
    for stored in fleet.stored(&fleet.names.record_stream()).await? {
        let Some(address) = fleet.names.parse_record(&stored.subject) else { continue };
        if address.plugin == probe {
            records.insert(address.cid, serde_json::from_slice(&stored.payload)?);
        }
    }
    Ok(records)
}

/// The files that a script was asked about.
fn files(script: &Script) -> BTreeSet<String> {
    script.calls().into_iter().map(|call| call.cid).collect()
}

/// Nothing of the second lane is left.
async fn is_tidy(fleet: &Fleet, store: &Store) -> anyhow::Result<()> {
    let probe = probe()?;
    eventually("the second lane to be gone", async || {
        let consumers = store.consumers(&fleet.names.task_stream()).await?;
        let is_left = broker_config::Queue::ALL.iter().any(|queue| {
            let name = Names::consumer_in(broker_config::Lane::Next, &probe, *queue);
            consumers.contains_key(&name)
        });
        let is_said = !store.trials(&probe).await?.is_empty();
        Ok((!is_left && !is_said).then_some(()))
    })
    .await
}

fn plan(how: How) -> Plan {
    Plan { how, ..Plan::default() }
}
