//! Looking at a fleet from outside: streams, records, events, dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::HeaderMap;
use broker_config::read::{Stored, last_messages};
use broker_config::wire::event::{Event, Fact, Outcome, TaskCounts};
use broker_config::{DeadLetter, Names, PluginId, Record, RunId, Task};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::{Fleet, LIMIT, eventually, within};

/// Messages read in one request.
const PAGE: usize = 500;
/// How often a page is asked for.
const READS: usize = 3;
/// How long the server may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Settled {
    /// By plugin.
    pub plugins: BTreeMap<PluginId, Outcome>,
    /// Numbers.
    pub tasks: TaskCounts,
}

impl Settled {
    /// How one plugin's part ended; `None` if it had none.
    #[must_use]
    pub fn of(&self, plugin: &str) -> Option<Outcome> {
        self.plugins.iter().find(|(id, _)| id.as_str() == plugin).map(|(_, outcome)| *outcome)
    }
}

impl Fleet {
    /// All messages that a stream holds, in order.
    pub async fn stored(&self, stream: &str) -> anyhow::Result<Vec<Stored>> {
        let mut all = Vec::new();
        let keep = |stored| {
            all.push(stored);
            Ok(())
        };
        self.each_stored(stream, keep).await?;
        Ok(all)
    }

    /// Shows every message that a stream holds, in order, and keeps none: there may be millions.
    pub async fn each_stored(
        &self,
        stream: &str,
        mut each: impl FnMut(Stored) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut from = 1;
        loop {
            let page = self.patient_page(stream, from).await?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.sequence + 1;
            page.into_iter().try_for_each(&mut each)?;
        }
    }

    /// A page may get lost with a connection; reading it again does no harm.
    async fn patient_page(&self, stream: &str, from: u64) -> anyhow::Result<Vec<Stored>> {
        let mut last = None;
        for _ in 0..READS {
            match self.page(stream, from).await {
                Ok(page) => return Ok(page),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no read")?)
    }

    async fn page(&self, stream: &str, from: u64) -> anyhow::Result<Vec<Stored>> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        let body = serde_json::json!({ "seq": from, "batch": PAGE, "next_by_subj": ">" });
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        self.client.publish_with_reply(subject, inbox, Bytes::from(body.to_string())).await?;
        let mut page = Vec::new();
        loop {
            let answer = tokio::time::timeout(SILENCE, answers.next()).await?.context("closed")?;
            match answer.status.map(|status| status.as_u16()) {
                Some(204 | 404) => return Ok(page),
                Some(other) => bail!("{stream} cannot be read: {other}"),
                None => {}
            }
            let headers = answer.headers.unwrap_or_default();
            let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            page.push(Stored {
                subject: text("Nats-Subject").context("a subject")?,
                sequence: text("Nats-Sequence").context("a sequence")?.parse()?,
                headers,
                payload: answer.payload,
            });
        }
    }

    /// The last message on a subject, a deletion too.
    pub async fn last(&self, stream: &str, subject: &str) -> anyhow::Result<Option<Stored>> {
        let found = last_messages(&self.client, stream, &[subject.to_owned()]).await?;
        Ok(found.into_iter().next())
    }

    /// How many messages a stream holds, and the sequence of the last one that it ever held.
    pub async fn state(&self, stream: &str) -> anyhow::Result<(u64, u64)> {
        let stream = self.js.get_stream(stream).await?;
        let state = &stream.cached_info().state;
        Ok((state.messages, state.last_sequence))
    }

    /// How many tasks were ever published, scheduled ones counted when they are scheduled and
    /// when they come.
    pub async fn tasks_published(&self) -> anyhow::Result<u64> {
        Ok(self.state(&self.names.task_stream()).await?.1)
    }

    /// The task of a plugin that waits or runs, with its headers.
    pub async fn task(&self, plugin: &str, cid: &str) -> anyhow::Result<Option<(Task, Stored)>> {
        let (plugin, cid) = (plugin.parse()?, cid.parse()?);
        for queue in broker_config::Queue::ALL {
            let subject = self.names.task(queue, &plugin, &cid);
            if let Some(found) = self.last(&self.names.task_stream(), &subject).await? {
                return Ok(Some((serde_json::from_slice(&found.payload)?, found)));
            }
        }
        Ok(None)
    }

    /// What subscribers could read so far, in order.
    pub async fn facts(&self) -> anyhow::Result<Vec<Fact>> {
        let stored = self.stored(&self.names.event_stream()).await?;
        let events = stored.iter().map(|stored| {
            let event: Event = serde_json::from_slice(&stored.payload)?;
            let subject = self.names.event(event.what.name());
            anyhow::ensure!(stored.subject == subject, "{} is on {}", subject, stored.subject);
            Ok(event.what)
        });
        events.collect()
    }

    /// Waits for the first event that `choose` takes.
    pub async fn fact<T>(
        &self,
        what: &str,
        choose: impl Fn(&Fact) -> Option<T>,
    ) -> anyhow::Result<T> {
        let found = eventually(what, async || Ok(self.facts().await?.iter().find_map(&choose)));
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(error.context(self.story().await)),
        }
    }

    /// Waits until a run is settled.
    pub async fn settled(&self, run: RunId) -> anyhow::Result<Settled> {
        self.settled_within(LIMIT, run).await
    }

    /// As [`Fleet::settled`], with a limit of its own.
    pub async fn settled_within(&self, limit: Duration, run: RunId) -> anyhow::Result<Settled> {
        let what = format!("run {run} to settle");
        let found = within(limit, &what, async || {
            Ok(self.facts().await?.into_iter().find_map(|fact| {
                let Fact::FileSettled { run_id, plugins, tasks, .. } = fact else { return None };
                (run_id == run).then_some(Settled { plugins, tasks })
            }))
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(error.context(self.story().await)),
        }
    }

    /// Waits until no submission and no task is left.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        let quiet = eventually("all submissions and tasks to be gone", async || {
            let submissions = self.state(&self.names.submit_stream()).await?.0;
            let tasks = self.state(&self.names.task_stream()).await?.0;
            Ok((submissions + tasks == 0).then_some(()))
        });
        match quiet.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.story().await)),
        }
    }

    /// The record of a plugin on a file as it is stored, with its revision and headers.
    pub async fn record(
        &self,
        cid: &str,
        plugin: &str,
    ) -> anyhow::Result<Option<(Record, u64, HeaderMap)>> {
        let subject = self.names.record(&cid.parse()?, &plugin.parse()?);
        let found = self.last(&self.names.record_stream(), &subject).await?;
        let found = found.filter(|stored| !stored.is_deletion());
        let Some(stored) = found else { return Ok(None) };
        Ok(Some((serde_json::from_slice(&stored.payload)?, stored.sequence, stored.headers)))
    }

    /// The record of a plugin on a file, which must be there.
    pub async fn recorded(&self, cid: &str, plugin: &str) -> anyhow::Result<Record> {
        let found = self.record(cid, plugin).await?;
        Ok(found.with_context(|| format!("no record of {plugin} on {cid}"))?.0)
    }

    /// All dead letters, oldest first.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let stored = self.stored(&self.names.dead_stream()).await?;
        stored.iter().map(|stored| Ok(serde_json::from_slice(&stored.payload)?)).collect()
    }

    /// Waits for the first dead letter of a plugin.
    pub async fn dead_letter(&self, plugin: &str) -> anyhow::Result<DeadLetter> {
        let what = format!("a dead letter of {plugin}");
        let letter = eventually(&what, async || {
            let letters = self.dead_letters().await?;
            Ok(letters.into_iter().find(|letter| letter.plugin_id.as_str() == plugin))
        });
        match letter.await {
            Ok(letter) => Ok(letter),
            Err(error) => Err(error.context(self.story().await)),
        }
    }

    /// Every stream of the server, buckets too.
    pub async fn all_streams(&self) -> anyhow::Result<Vec<String>> {
        let mut names = self.js.stream_names();
        let mut all = Vec::new();
        while let Some(name) = names.next().await {
            all.push(name?);
        }
        Ok(all)
    }

    /// What is left and what was told last, for the message of a test that fails.
    async fn story(&self) -> String {
        let mut lines = Vec::new();
        for stream in [self.names.submit_stream(), self.names.task_stream()] {
            let left = self.stored(&stream).await.unwrap_or_default();
            lines
                .extend(left.iter().take(8).map(|s| format!("left: {} {}", s.sequence, s.subject)));
        }
        let facts = self.stored(&self.names.event_stream()).await.unwrap_or_default();
        let told = facts.iter().rev().take(25).map(|s| String::from_utf8_lossy(&s.payload));
        lines.extend(told.map(|text| format!("told: {text}")));
        format!("what happened, the last first:\n  {}", lines.join("\n  "))
    }
}

/// The bucket's stream and the subject of one of its keys.
#[must_use]
pub fn key(bucket: &str, key: &str) -> (String, String) {
    (Names::bucket_stream(bucket), Names::key_subject(bucket, key))
}
