//! The ceiling: the same writes, deliveries and acknowledgements in the same order, and nothing
//! else: no records are read, nothing is checked, nothing can be started again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use broker_config::apply::apply_consumer;
use broker_config::header::MESSAGE_ID;
use broker_config::publish::Publisher;
use broker_config::pull::{Pulled, Puller};
use broker_config::topology::{LEASE, TaskConsumerSpec};
use broker_config::{Cid, Names, PluginId, Queue, RetryPolicy};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::noop::Noop;
use super::{Bench, IN_HAND, connect, until};
use crate::broker::Broker;
use crate::broker::deliver::{Answer, answer};
use crate::broker::json;
use crate::broker::tail::Tail;

const LIMIT: Duration = Duration::from_secs(300);

/// Bodies as long as the real ones.
struct Bodies {
    task: Bytes,
    record: Bytes,
    event: Bytes,
    settled: Bytes,
}

impl Bodies {
    fn new(plugins: usize) -> Self {
        let body = |length: usize| Bytes::from(vec![b'x'; length]);
        // Measured on the messages of the other side of this comparison.
        Self {
            task: body(565),
            record: body(418),
            event: body(284),
            settled: body(297 + 22 * plugins),
        }
    }
}

/// A submission in hand.
struct File {
    reply: String,
    /// Plugins whose record has come, as bits.
    done: u32,
}

/// Submissions by content id.
type Open = Arc<Mutex<HashMap<String, File>>>;

/// The graph as the loops need it: the plugins, and what each needs, as bits.
struct Plan {
    plugins: Vec<PluginId>,
    needs: Vec<u32>,
}

impl Plan {
    /// The plugins that may run now and could not before the one at `came` was done.
    fn freed(&self, done: u32, came: usize) -> impl Iterator<Item = &PluginId> {
        let freed = move |needs: u32| needs & 1 << came != 0 && needs & !done == 0;
        self.plugins.iter().zip(&self.needs).filter(move |(_, n)| freed(**n)).map(|(p, _)| p)
    }

    /// The plugins that need nothing.
    fn first(&self) -> impl Iterator<Item = &PluginId> {
        self.plugins.iter().zip(&self.needs).filter(|(_, needs)| **needs == 0).map(|(p, _)| p)
    }
}

/// Time from the first submission until all are acknowledged.
pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Duration> {
    let coordinator = Broker::open(connect(&bench.broker).await?, bench.names.clone()).await?;
    let submitter = Publisher::open(connect(&bench.broker).await?).await?;
    bench.prepare(&coordinator.client).await?;
    let plugins: Vec<PluginId> = Noop::graph(bench.plugins)?.iter().map(Noop::id).collect();
    for plugin in &plugins {
        let spec = TaskConsumerSpec::for_plugin(
            &bench.names,
            plugin,
            Queue::Fast,
            LEASE,
            &RetryPolicy::default(),
        );
        apply_consumer(&coordinator.js, &bench.names, &spec).await?;
    }
    let submits = submit_consumer(&coordinator).await?;
    let bodies = Arc::new(Bodies::new(bench.plugins));
    let open = Open::default();
    let done = Arc::new(AtomicUsize::new(0));
    let mut loops = JoinSet::new();
    let mut publishers = vec![coordinator.publisher.clone(), submitter.clone()];
    for plugin in plugins.clone() {
        // A connection for each plugin, as plugins are processes of their own.
        let worker = Publisher::open(connect(&bench.broker).await?).await?;
        publishers.push(worker.clone());
        loops.spawn(work(worker, bench.names.clone(), plugin, bodies.clone()));
    }
    let plan = Arc::new(Plan { plugins, needs: Noop::needs(bench.plugins) });
    let shared = (open.clone(), plan.clone(), bodies.clone());
    loops.spawn(settle(coordinator.clone(), shared, done.clone()));
    loops.spawn(dispatch(coordinator.clone(), submits, (open, plan, bodies)));
    let started = Instant::now();
    let files = bench.files;
    let finished = until(LIMIT, move || done.load(Ordering::Relaxed) >= files);
    let (sent, finished) = tokio::join!(submit(&submitter, bench), finished);
    let took = started.elapsed();
    loops.shutdown().await;
    for publisher in publishers {
        publisher.close().await;
    }
    sent?;
    finished?;
    Ok(took)
}

async fn submit_consumer(broker: &Broker) -> anyhow::Result<Puller> {
    use async_nats::jetstream::consumer::pull;
    let stream = broker.names.submit_stream();
    let config = pull::Config {
        durable_name: Some("coordinator".to_owned()),
        filter_subject: broker.names.submit(Queue::Fast),
        max_ack_pending: 100_000,
        ..pull::Config::default()
    };
    broker.js.create_consumer_on_stream(config, stream.clone()).await?;
    Ok(Puller::open(broker.client.clone(), &stream, "coordinator").await?)
}

async fn submit(publisher: &Publisher, bench: &Bench) -> anyhow::Result<()> {
    let mut sent = JoinSet::new();
    for number in 0..bench.files {
        let (publisher, subject) = (publisher.clone(), bench.names.submit(Queue::Fast));
        let body = json(&bench.submission(number)?);
        sent.spawn(async move { publisher.publish(subject, HeaderMap::new(), body).await });
        if sent.len() >= IN_HAND
            && let Some(first) = sent.join_next().await
        {
            first??;
        }
    }
    while let Some(one) = sent.join_next().await {
        one??;
    }
    Ok(())
}

/// What both of the coordinator's loops look at.
type Shared = (Open, Arc<Plan>, Arc<Bodies>);

fn lock(open: &Open) -> std::sync::MutexGuard<'_, HashMap<String, File>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Publishes the tasks of a file that need nothing.
async fn dispatch(broker: Broker, mut submits: Puller, (open, plan, bodies): Shared) {
    let mut sent = JoinSet::new();
    loop {
        submits.set_room(IN_HAND.saturating_sub(sent.len()));
        let message = tokio::select! {
            pulled = submits.next() => match pulled {
                Pulled::Message(message) => message,
                Pulled::Refused(_) => continue,
                Pulled::Closed => return,
            },
            Some(_) = sent.join_next() => continue,
        };
        let Some(reply) = message.reply.clone() else { continue };
        let Ok(submission) = serde_json::from_slice::<broker_config::Submission>(&message.payload)
        else {
            continue;
        };
        let cid = submission.cid;
        let file = File { reply: reply.into_string(), done: 0 };
        lock(&open).insert(cid.as_str().to_owned(), file);
        for plugin in plan.first() {
            sent.spawn(publish(broker.clone(), plugin.clone(), cid.clone(), bodies.task.clone()));
        }
    }
}

async fn publish(broker: Broker, plugin: PluginId, cid: Cid, body: Bytes) {
    let subject = broker.names.task(Queue::Fast, &plugin, &cid);
    drop(broker.publisher.publish_after(subject, 0, HeaderMap::new(), body).await);
}

/// Writes the record, then acknowledges the task.
async fn work(publisher: Publisher, names: Names, plugin: PluginId, bodies: Arc<Bodies>) {
    let client: Client = publisher.client().clone();
    let consumer = Names::consumer(&plugin, Queue::Fast);
    let Ok(mut puller) = Puller::open(client.clone(), &names.task_stream(), &consumer).await else {
        return;
    };
    let mut held = JoinSet::new();
    loop {
        puller.set_room(IN_HAND.saturating_sub(held.len()));
        let message = tokio::select! {
            pulled = puller.next() => match pulled {
                Pulled::Message(message) => message,
                Pulled::Refused(_) => continue,
                Pulled::Closed => return,
            },
            Some(_) = held.join_next() => continue,
        };
        let Some(address) = names.parse_task(&message.subject) else { continue };
        let subject = names.record(&address.cid, &plugin);
        let (publisher, client) = (publisher.clone(), client.clone());
        let body = bodies.record.clone();
        held.spawn(async move {
            let put = publisher.publish_after(subject, 0, HeaderMap::new(), body).await;
            if let (Ok(_), Some(reply)) = (put, &message.reply) {
                answer(&client, reply, Answer::Ack).await;
            }
        });
    }
}

/// Follows the records; tells of each, publishes what it frees, and tells of each finished file,
/// whose submission it then acknowledges.
async fn settle(broker: Broker, (open, plan, bodies): Shared, done: Arc<AtomicUsize>) {
    let stream = broker.names.record_stream();
    let mut tail = Tail::new(broker.clone(), stream, Vec::new(), 1);
    let all = (1_u32 << plan.plugins.len()) - 1;
    let mut sent = JoinSet::new();
    while let Some((message, place)) = tail.next().await {
        while sent.try_join_next().is_some() {}
        let Some(address) = broker.names.parse_record(&message.subject) else { continue };
        let event = broker.names.event("task.settled");
        let (publisher, body) = (broker.publisher.clone(), bodies.event.clone());
        let id = message_id("record", place.stream_sequence);
        sent.spawn(async move { drop(publisher.publish(event, id, body).await) });
        let Some(came) = plan.plugins.iter().position(|id| *id == address.plugin) else { continue };
        let (now_done, last) = {
            let mut open = lock(&open);
            let Some(file) = open.get_mut(address.cid.as_str()) else { continue };
            file.done |= 1 << came;
            let now_done = file.done;
            (now_done, if now_done == all { open.remove(address.cid.as_str()) } else { None })
        };
        for plugin in plan.freed(now_done, came) {
            let (plugin, cid) = (plugin.clone(), address.cid.clone());
            sent.spawn(publish(broker.clone(), plugin, cid, bodies.task.clone()));
        }
        let Some(File { reply, .. }) = last else { continue };
        let (broker, done, body) = (broker.clone(), done.clone(), bodies.settled.clone());
        sent.spawn(async move {
            let event = broker.names.event("file.settled");
            let id = message_id("settled", place.stream_sequence);
            drop(broker.publisher.publish(event, id, body).await);
            answer(&broker.client, &reply, Answer::Ack).await;
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
}

fn message_id(kind: &str, sequence: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(MESSAGE_ID, format!("{kind}.{sequence}"));
    headers
}
