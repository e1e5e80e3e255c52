//! The simulated broker and a real nats-server do the same, operation by operation.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Subscriber};
use broker_config::delivery::{Answer, Place as Delivered};
use broker_config::header::{
    EXPECTED_LAST_SUBJECT_SEQUENCE, EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, MESSAGE_ID, SCHEDULE,
    SCHEDULE_TARGET,
};
use broker_config::publish::{PublishError, Publisher};
use bytes::Bytes;
use futures_util::StreamExt as _;
use integration_tests::simulation::mirror::{
    CONSUMERS, DELAY, LEASE, Operation, PAUSE, Reply, operations,
};
use integration_tests::{Server, heavy};
use tokio::time::{Instant, sleep, timeout};

/// Lists of operations, each with streams of its own.
const LISTS: u64 = 16;
/// Between so many pauses,
const PHASES: usize = 3;
/// so many operations each.
const MOST: usize = 16;
/// Operations between two pauses may take so long; a list that took longer says nothing, because
/// leases ran out that should not have, and is played again.
const QUICK: Duration = Duration::from_millis(1_000);
/// How often a list may be too slow.
const TRIES: u64 = 5;

/// The real streams of one list.
struct Real {
    client: Client,
    js: Context,
    publisher: Publisher,
    /// Begins the names of this list's streams.
    name: String,
    advisories: Subscriber,
    deliveries: Vec<String>,
}

#[tokio::test]
async fn the_simulated_broker_does_what_a_real_one_does() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let server = Server::start().await?;
    let mut lists = tokio::task::JoinSet::new();
    for seed in 0..LISTS {
        let url = server.url();
        lists.spawn(async move {
            for tried in 0..TRIES {
                if let Some(compared) = compare(&url, seed, tried).await? {
                    return anyhow::Ok(compared);
                }
            }
            anyhow::bail!("list {seed} was always too slow")
        });
    }
    let mut compared = 0;
    while let Some(list) = lists.join_next().await {
        compared += list??;
    }
    println!("{compared} operations in {LISTS} lists");
    assert!(compared > 500, "{compared}");
    Ok(())
}

/// Plays a list; says how many operations were compared, `None` if it was too slow.
async fn compare(url: &str, seed: u64, tried: u64) -> anyhow::Result<Option<usize>> {
    let mut real = Real::open(url, format!("s{seed}x{tried}")).await?;
    let list = operations(seed, PHASES, MOST);
    let mut begun = Instant::now();
    for (at, (operation, expected)) in list.iter().enumerate() {
        if matches!(operation, Operation::Pause) {
            begun = Instant::now() + Duration::from_millis(PAUSE);
        }
        let seen = real.see(operation).await?;
        if Instant::now().saturating_duration_since(begun) > QUICK {
            println!("list {seed} is too slow");
            return Ok(None);
        }
        let before = || {
            let all = list.iter().take(at + 1);
            all.map(|(operation, seen)| format!("{operation:?} → {seen}")).collect::<Vec<_>>()
        };
        assert_eq!(seen, *expected, "list {seed}, operation {at}:\n{}", before().join("\n"));
    }
    Ok(Some(list.len()))
}

impl Real {
    async fn open(url: &str, name: String) -> anyhow::Result<Self> {
        let client = async_nats::connect(url).await?;
        let js = jetstream::new(client.clone());
        let publisher = Publisher::open(client.clone()).await?;
        let stream = |what: &str, subjects: &[&str]| Config {
            name: format!("{name}_{what}"),
            subjects: subjects.iter().map(|subject| format!("{name}.{subject}.>")).collect(),
            max_consumers: 10,
            ..Config::default()
        };
        js.create_stream(Config {
            retention: RetentionPolicy::WorkQueue,
            allow_message_schedules: true,
            allow_message_ttl: true,
            ..stream("Tasks", &["t", "l"])
        })
        .await?;
        js.create_stream(Config {
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            ..stream("Keys", &["k"])
        })
        .await?;
        js.create_stream(stream("Events", &["e"])).await?;
        let advisories = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES";
        let advisories = client.subscribe(format!("{advisories}.{name}_Tasks.*")).await?;
        let deliveries = Vec::new();
        let real = Self { client, js, publisher, name, advisories, deliveries };
        for at in 0..CONSUMERS.len() {
            real.make(at).await?;
        }
        Ok(real)
    }

    async fn make(&self, at: usize) -> anyhow::Result<()> {
        let (name, beginning, most) = CONSUMERS[at];
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: format!("{}.{beginning}*", self.name),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(LEASE),
            max_deliver: i64::from(most),
            ..pull::Config::default()
        };
        let stream = self.js.get_stream(format!("{}_Tasks", self.name)).await?;
        stream.create_consumer(config).await?;
        Ok(())
    }

    async fn see(&mut self, operation: &Operation) -> anyhow::Result<String> {
        match operation {
            Operation::Publish { subject, expected, id, either, target, .. } => {
                let mut headers = HeaderMap::new();
                if let Some(expected) = expected {
                    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
                }
                if *either {
                    let number = subject.rsplit('.').next().unwrap_or_default();
                    let both = format!("{}.t.*.{number}", self.name);
                    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, both);
                }
                if let Some(id) = id {
                    headers.insert(MESSAGE_ID, id.as_str());
                }
                if let Some(target) = target {
                    let wait = jiff::SignedDuration::from_millis(i64::try_from(DELAY)?);
                    let at = jiff::Timestamp::now() + wait;
                    headers.insert(SCHEDULE, format!("@at {at:.3}"));
                    headers.insert(SCHEDULE_TARGET, format!("{}.{target}", self.name));
                }
                let subject = format!("{}.{subject}", self.name);
                match self.publisher.publish(subject, headers, Bytes::from_static(b"x")).await {
                    Ok(sequence) => Ok(format!("stored {sequence}")),
                    Err(PublishError::WrongLastSequence { .. }) => Ok("refused".to_owned()),
                    Err(error) => Err(error.into()),
                }
            }
            Operation::Pull { consumer, most } => self.pull(CONSUMERS[*consumer].0, *most).await,
            Operation::Answer { delivery, reply } => {
                let body = match reply {
                    Reply::Ack => Answer::Ack.body(),
                    Reply::Progress => Answer::Progress.body(),
                    Reply::Nak => Answer::Nak(Duration::from_millis(DELAY)).body(),
                    Reply::Term => Answer::Term("").body(),
                };
                let to = self.deliveries[*delivery].clone();
                // Of a consumer that was made anew nothing is heard.
                drop(timeout(Duration::from_millis(200), self.client.request(to, body)).await);
                Ok(String::new())
            }
            Operation::Delete(sequence) => {
                let stream = self.js.get_stream(format!("{}_Tasks", self.name)).await?;
                drop(stream.delete_message(*sequence).await);
                Ok(String::new())
            }
            Operation::Purge(beginning) => {
                let stream = self.js.get_stream(format!("{}_Tasks", self.name)).await?;
                let filter = format!("{}.{beginning}*", self.name);
                let purged = stream.purge().filter(filter).await?.purged;
                Ok(format!("{purged} gone"))
            }
            Operation::Remake(at) => {
                let stream = self.js.get_stream(format!("{}_Tasks", self.name)).await?;
                stream.delete_consumer(CONSUMERS[*at].0).await?;
                self.make(*at).await?;
                Ok(String::new())
            }
            Operation::Pause => {
                sleep(Duration::from_millis(PAUSE)).await;
                Ok(String::new())
            }
            Operation::Count(place) => {
                let stream = self.js.get_stream(format!("{}_{place:?}", self.name)).await?;
                Ok(format!("{} messages", stream.cached_info().state.messages))
            }
            Operation::Look(at) => {
                let stream = format!("{}_Tasks", self.name);
                let consumer: consumer::Consumer<pull::Config> =
                    self.js.get_consumer_from_stream(CONSUMERS[*at].0, stream).await?;
                let info = consumer.cached_info();
                let (held, delivered) = (info.num_ack_pending, info.delivered.stream_sequence);
                let floor = info.ack_floor.stream_sequence;
                Ok(format!("holds {held}, delivered {delivered}, done {floor}"))
            }
            Operation::Exhausted => {
                let mut told = BTreeSet::new();
                let quiet = Duration::from_millis(200);
                while let Ok(Some(message)) = timeout(quiet, self.advisories.next()).await {
                    let advisory: serde_json::Value = serde_json::from_slice(&message.payload)?;
                    told.extend(advisory["stream_seq"].as_u64());
                }
                Ok(format!("{:?}", told.into_iter().collect::<Vec<_>>()))
            }
        }
    }

    async fn pull(&mut self, consumer: &str, most: usize) -> anyhow::Result<String> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}_Tasks.{consumer}", self.name);
        let body = serde_json::json!({ "batch": most, "no_wait": true }).to_string();
        self.client.publish_with_reply(next, inbox, body.into()).await?;
        let mut pulled = Vec::new();
        while pulled.len() < most {
            let Some(message) = timeout(Duration::from_secs(2), answers.next()).await? else {
                break;
            };
            if message.status.is_some() {
                break;
            }
            let Some(reply) = message.reply.map(|reply| reply.to_string()) else { continue };
            let Some(place) = Delivered::parse(&reply) else { continue };
            let subject = message.subject.strip_prefix(&format!("{}.", self.name));
            let (sequence, times) = (place.stream_sequence, place.delivered);
            let seen = format!("{} #{sequence} x{times}", subject.unwrap_or_default());
            pulled.push((sequence, seen, reply));
        }
        pulled.sort();
        let seen: Vec<&str> = pulled.iter().map(|(_, seen, _)| seen.as_str()).collect();
        let seen = seen.join(", ");
        self.deliveries.extend(pulled.into_iter().map(|(_, _, reply)| reply));
        Ok(seen)
    }
}
