//! Power cuts while a broker is written to: how many acknowledged writes are gone, by its setting.
//!
//! The store of the broker is a file system of its own. A cut stops the server, has the file system
//! forget whatever was not synced, kills the server and mounts the file system again; a server then
//! starts on what is left. What was acknowledged and is not there any more is lost.

pub mod account;
mod load;
pub mod report;
mod setting;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use broker_config::Names;
use broker_config::apply::apply;
use broker_config::topology::Topology;
use coordinator::config::Secret;
use coordinator::nats_server::Users;
use coordinator::nats_server::users::COORDINATOR;
use tokio::time::Instant;

use self::account::{Account, Key};
use self::load::Load;
use self::report::{PowerReport, Row};
pub use self::setting::Setting;
use super::disk::Disk;
use crate::{Fleet, Server};

/// A cut comes after so many writes of its round were acknowledged, at least and at most.
const WRITES: (u64, u64) = (200, 3_000);
/// The password of the only one who writes.
const PASSWORD: &str = "power";

/// What to do.
#[derive(Clone, Debug)]
pub struct PowerOptions {
    /// Decides when the power is cut.
    pub seed: u64,
    /// How often, for each setting.
    pub cuts: usize,
    /// Writes in a second, if the broker takes so many.
    pub rate: u32,
    /// The settings.
    pub settings: Vec<Setting>,
}

/// After how many writes of its round each cut comes.
#[must_use]
pub fn plan(seed: u64, cuts: usize) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..cuts).map(|_| random.u64(WRITES.0..=WRITES.1)).collect()
}

/// Cuts the power as planned, for each setting.
pub async fn run(options: PowerOptions) -> anyhow::Result<PowerReport> {
    let mut rows = Vec::new();
    for setting in &options.settings {
        let one = Box::pin(one(&options, *setting)).await;
        rows.push(one.with_context(|| format!("sync_interval {}", setting.interval()))?);
    }
    Ok(PowerReport::of(options.seed, options.rate, rows))
}

async fn one(options: &PowerOptions, setting: Setting) -> anyhow::Result<Row> {
    let disk = Disk::mount()?;
    let names = Names::default();
    let users =
        Users { coordinator: Secret::new(PASSWORD), plugins: BTreeMap::new(), plugin: None };
    let store = disk.path().join("store");
    // The folder that a server has for its store is not used, but what is beside it is.
    let write =
        |unused: &Path| setting.config(unused.parent().unwrap_or(unused), &store, &users, &names);
    let server = Arc::new(Server::configured((COORDINATOR, PASSWORD), write).await?);
    let (mut account, mut row) = (Account::default(), Row::of(setting));
    let mut next = 0;
    for (number, writes) in plan(options.seed, options.cuts).into_iter().enumerate() {
        let fleet = Arc::new(Fleet::on(&server, names.clone()).await?);
        apply(&fleet.js, &Topology::of(&names, 1)).await.context("make the streams")?;
        if number == 0 {
            // Streams are older than the writes that are looked at.
            disk.settle()?;
        }
        let (begun, mut load) = (Instant::now(), Load::start(&fleet, options.rate, next));
        load.reaches(writes).await?;
        server.hang()?;
        let cut = super::now();
        disk.cut()?;
        server.kill()?;
        row.seconds += begun.elapsed().as_secs_f64();
        let (acknowledged, reached) = load.stop().await;
        next = reached;
        fleet.publisher.close().await;
        row.cuts += 1;
        row.acknowledged += u64::try_from(acknowledged.len())?;
        account.acknowledge(acknowledged);

        disk.mount_again()?;
        server.restart().await?;
        let (found, streams_lost) = look(&server, &names).await?;
        row.note(account.check(&found, cut), streams_lost);
    }
    Ok(row)
}

/// What the broker still has, and how many of the streams that are looked at it has lost.
async fn look(server: &Arc<Server>, names: &Names) -> anyhow::Result<(BTreeMap<Key, u64>, usize)> {
    let fleet = Fleet::on(server, names.clone()).await?;
    let streams = fleet.all_streams().await?;
    let (mut found, mut lost) = (BTreeMap::new(), 0);
    for stream in load::streams(names) {
        if !streams.contains(&stream) {
            lost += 1;
            continue;
        }
        for stored in fleet.stored(&stream).await.with_context(|| format!("read {stream}"))? {
            let (key, value) = load::key_of(&stored)?;
            found.insert(key, value);
        }
    }
    fleet.publisher.close().await;
    Ok((found, lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_when_the_power_is_cut() {
        let planned = plan(1, 20);

        assert_eq!((planned.len(), &planned), (20, &plan(1, 20)));
        assert_ne!(planned, plan(2, 20));
        assert!(planned.iter().all(|writes| (WRITES.0..=WRITES.1).contains(writes)));
    }
}
