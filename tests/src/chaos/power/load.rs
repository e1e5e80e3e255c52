//! Writes of the kinds that a fleet makes, and when each was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::read::Stored;
use broker_config::{Names, PluginId, Queue};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::account::{Key, Write};
use crate::chaos::now;
use crate::{Fleet, file, json_of};

/// Writes under way at the same time.
const AT_ONCE: usize = 64;
/// Keys that are written over and over again: more than can be under way at the same time.
const OVER: u64 = 200;
/// How long a broker may take for the writes of a round.
const LIMIT: Duration = Duration::from_secs(120);
/// Says of a message what was written to and its number.
const MARK: &str = "Chaos-Write";

/// The streams that are written to.
pub(super) fn streams(names: &Names) -> [String; 3] {
    let paths = Names::bucket_stream(&names.paths_bucket());
    [names.submit_stream(), names.record_stream(), paths]
}

/// What a stored message was.
pub(super) fn key_of(stored: &Stored) -> anyhow::Result<(Key, u64)> {
    let mark = stored.headers.get(MARK).context("a message of somebody else")?;
    let words: Vec<&str> = mark.as_str().split(' ').collect();
    let [stream, key, value] = words.as_slice() else { anyhow::bail!("{}", mark.as_str()) };
    Ok(((stream.parse()?, (*key).to_owned()), value.parse()?))
}

/// Writers at work.
#[derive(Debug)]
pub(super) struct Load {
    writer: JoinSet<()>,
    /// Of those under way and those that are through: number, and what was acknowledged.
    told: mpsc::UnboundedReceiver<Told>,
    acknowledged: Vec<Write>,
    next: u64,
}

#[derive(Debug)]
enum Told {
    Begun(u64),
    Acknowledged(Write),
}

impl Load {
    /// Writes what has the numbers from `next` on.
    pub(super) fn start(fleet: &Arc<Fleet>, rate: u32, next: u64) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let mut writer = JoinSet::new();
        writer.spawn(write(fleet.clone(), rate, next, tell));
        Self { writer, told, acknowledged: Vec::new(), next }
    }

    /// Waits until so many writes were acknowledged.
    pub(super) async fn reaches(&mut self, writes: u64) -> anyhow::Result<()> {
        let reached = timeout(LIMIT, async {
            while u64::try_from(self.acknowledged.len()).is_ok_and(|done| done < writes) {
                let told = self.told.recv().await.context("nobody writes")?;
                self.note(told);
            }
            anyhow::Ok(())
        });
        reached.await.with_context(|| format!("{writes} writes in {LIMIT:?}"))?
    }

    /// Ends; returns what was acknowledged, and the first number that was not used.
    pub(super) async fn stop(mut self) -> (Vec<Write>, u64) {
        self.writer.shutdown().await;
        while let Some(told) = self.told.recv().await {
            self.note(told);
        }
        (self.acknowledged, self.next)
    }

    fn note(&mut self, told: Told) {
        match told {
            Told::Begun(number) => self.next = number + 1,
            Told::Acknowledged(write) => self.acknowledged.push(write),
        }
    }
}

async fn write(fleet: Arc<Fleet>, rate: u32, first: u64, tell: mpsc::UnboundedSender<Told>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = JoinSet::new();
    for number in first.. {
        ticks.tick().await;
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // Nobody listens any more: the round is over.
        let Ok(()) = tell.send(Told::Begun(number)) else { return };
        let (fleet, tell) = (fleet.clone(), tell.clone());
        running.spawn(async move {
            let _place = place;
            // What was not acknowledged may be there or not.
            if let Ok(write) = write_one(&fleet, number).await {
                tell.send(Told::Acknowledged(write)).ok();
            }
        });
        while running.try_join_next().is_some() {}
    }
}

/// In turn: a file is handed in, a record is written for the first time, the entry of a path is
/// written over.
async fn write_one(fleet: &Fleet, number: u64) -> anyhow::Result<Write> {
    let (stream, cid) = ((number % 3) as usize, format!("power-{number:07}"));
    let names = &fleet.names;
    let plugin: PluginId = "ffmpeg".parse()?;
    let (subject, key, body) = match stream {
        0 => (names.submit(Queue::Fast), cid.clone(), json_of(&file(&cid)?)?),
        1 => {
            let subject = names.record(&cid.parse()?, &plugin);
            let meta: serde_json::Map<String, serde_json::Value> = (0..20)
                .map(|property| (format!("ffmpeg/property-{property:02}"), json!(cid)))
                .collect();
            let record = json!({ "pluginId": plugin, "cid": cid, "meta": meta });
            (subject.clone(), subject, Bytes::from(record.to_string()))
        }
        _ => {
            let subject = names.path("library", &format!("file-{}", number / 3 % OVER), None);
            let entry = json!({ "size": number, "modified": number });
            (subject.clone(), subject, Bytes::from(entry.to_string()))
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(MARK, format!("{stream} {key} {number}").as_str());
    fleet.publisher.publish(subject, headers, body).await?;
    Ok(Write { key: (stream, key), value: number, at: now() })
}
