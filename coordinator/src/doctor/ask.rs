//! Asks a broker what it is; reads only, but for one key that shows whether it stores anything.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use broker_config::apply::{Change, check, check_server};
use broker_config::publish::{PublishError, Publisher};
use broker_config::topology::Topology;
use broker_config::{Chain, Names};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::time::timeout;

use super::broker::{Account, Broker};
use crate::config::Connection;

/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the answer may take to a question that need not be answered.
const SHORT: Duration = Duration::from_secs(2);

/// The key in the bucket of the lease.
const KEY: &str = "doctor";

/// A broker to be asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How to get there.
    pub connection: Connection,
    /// How the fleet's things are called there.
    pub names: Names,
    /// Whether a fleet of this data folder started it.
    pub embedded: bool,
}

/// What the broker says of itself.
///
/// # Errors
///
/// Why it cannot be asked, for people.
pub async fn ask(asked: &Asked) -> Result<Broker, String> {
    let answer = timeout(PATIENCE, Box::pin(look(asked)));
    let late =
        |_| format!("{} does not answer within {} s", asked.connection.url, PATIENCE.as_secs());
    answer.await.map_err(late)?
}

/// The account that the login belongs to; `None` = the server does not say.
async fn account_of(client: &async_nats::Client) -> Option<Account> {
    let request = client.request("$SYS.REQ.USER.INFO", "".into());
    let answer = timeout(SHORT, request).await.ok()?.ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
    let of = |field: &str| answer["data"][field].as_str().map(ToOwned::to_owned);
    Some(Account::named(&of("account")?, of("account_name").as_deref()))
}

async fn look(asked: &Asked) -> Result<Broker, String> {
    let Asked { connection, names, embedded } = asked;
    let client = connection.connect("metafleet-doctor").await;
    let client = client.map_err(|error| Chain(&error).to_string())?;
    let info = client.server_info();
    let js = async_nats::jetstream::new(client.clone());
    let mut broker = Broker {
        url: connection.url.clone(),
        version: info.version.clone(),
        problem: None,
        unstored: None,
        cluster: info.cluster.clone(),
        max_payload: info.max_payload,
        used: 0,
        limit: None,
        copies: 0,
        odd: Vec::new(),
        account: account_of(&client).await,
        embedded: *embedded,
    };
    if let Err(error) = check_server(&js, &info.version).await {
        broker.problem = Some(Chain(&error).to_string());
        return Ok(broker);
    }
    let said = |error: &(dyn std::error::Error + 'static)| Chain(error).to_string();
    let account = js.query_account().await.map_err(|error| said(&error))?;
    broker.used = account.storage;
    broker.limit = account.limits.max_storage.and_then(|limit| u64::try_from(limit).ok());
    let mut topology = Topology::of(names, 1);
    let mut copies = None;
    let mut streams = js.streams();
    while let Some(stream) = streams.try_next().await.map_err(|error| said(&error))? {
        // Copies are judged by themselves.
        if let Some(spec) = topology.streams.iter_mut().find(|spec| spec.name == stream.config.name)
        {
            spec.replicas = stream.config.num_replicas;
            copies = Some(copies.unwrap_or(usize::MAX).min(stream.config.num_replicas));
        }
    }
    broker.copies = copies.unwrap_or(0);
    if copies.is_some() {
        broker.unstored = write(&client, names).await.err().map(|error| said(&error));
    }
    let changes = check(&js, &topology).await.map_err(|error| said(&error))?;
    let odd = changes.into_iter().filter(|(_, change)| *change != Change::Unchanged);
    broker.odd = odd.map(|(name, _)| name).collect();
    Ok(broker)
}

/// Writes a key that nobody reads: a server whose disk was full answers everything else.
async fn write(client: &Client, names: &Names) -> Result<(), PublishError> {
    let bucket = names.lease_bucket();
    let publisher = Publisher::open(client.clone()).await.map_err(|_| PublishError::Closed)?;
    let subject = Names::key_subject(&bucket, KEY);
    let stored = publisher.publish(subject, HeaderMap::new(), Bytes::from_static(b"{}")).await;
    publisher.close().await;
    stored.map(drop)
}
