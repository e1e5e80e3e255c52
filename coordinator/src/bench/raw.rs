//! The ceiling: the same writes, deliveries and acknowledgements, and nothing else.

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
use broker_config::{Names, PluginId, Queue};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::noop::Noop;
use super::{Bench, connect, until};
use crate::broker::Broker;
use crate::broker::deliver::{Answer, answer};
use crate::broker::json;
use crate::broker::tail::Tail;

const LIMIT: Duration = Duration::from_secs(300);
/// Messages asked for at once.
const ROOM: usize = 512;

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

/// Submissions by content id: the reply subject and the records still missing.
type Open = Arc<Mutex<HashMap<String, (String, usize)>>>;

/// Time from the first submission until all are acknowledged.
pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Duration> {
    let coordinator = Broker::open(connect(&bench.broker).await?, bench.names.clone()).await?;
    let submitter = Publisher::open(connect(&bench.broker).await?).await?;
    bench.prepare(&coordinator.client).await?;
    let plugins: Vec<PluginId> = Noop::graph(bench.plugins)?.iter().map(Noop::id).collect();
    for plugin in &plugins {
        let spec = TaskConsumerSpec::for_plugin(&bench.names, plugin, Queue::Fast, LEASE, 3);
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
    loops.spawn(settle(coordinator.clone(), open.clone(), done.clone(), bodies.clone()));
    loops.spawn(dispatch(coordinator.clone(), submits, plugins, open, bodies));
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
        if sent.len() >= ROOM
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

/// Publishes every task of a file at once: the ceiling does not wait for dependencies.
async fn dispatch(
    broker: Broker,
    mut submits: Puller,
    plugins: Vec<PluginId>,
    open: Open,
    bodies: Arc<Bodies>,
) {
    let mut sent = JoinSet::new();
    loop {
        submits.set_room(ROOM.saturating_sub(sent.len()));
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
        open.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(cid.as_str().to_owned(), (reply.into_string(), plugins.len()));
        for plugin in &plugins {
            let subject = broker.names.task(Queue::Fast, plugin, &cid);
            let (publisher, body) = (broker.publisher.clone(), bodies.task.clone());
            sent.spawn(async move {
                drop(publisher.publish_after(subject, 0, HeaderMap::new(), body).await);
            });
        }
    }
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
        puller.set_room(ROOM.saturating_sub(held.len()));
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

/// Follows the records; tells of each, and of each file, whose submission it then acknowledges.
async fn settle(broker: Broker, open: Open, done: Arc<AtomicUsize>, bodies: Arc<Bodies>) {
    let stream = broker.names.record_stream();
    let mut tail = Tail::new(broker.clone(), stream, Vec::new(), 1);
    let mut sent = JoinSet::new();
    while let Some((message, place)) = tail.next().await {
        while sent.try_join_next().is_some() {}
        let Some(address) = broker.names.parse_record(&message.subject) else { continue };
        let event = broker.names.event("task.settled");
        let (publisher, body) = (broker.publisher.clone(), bodies.event.clone());
        let id = message_id("record", place.stream_sequence);
        sent.spawn(async move { drop(publisher.publish(event, id, body).await) });
        let last = {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((_, missing)) = open.get_mut(address.cid.as_str()) else { continue };
            *missing -= 1;
            if *missing == 0 { open.remove(address.cid.as_str()) } else { None }
        };
        let Some((reply, _)) = last else { continue };
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
