use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::Config;
use broker_config::header::{SCHEDULE, SCHEDULE_TARGET};
use broker_config::wire::file::FilePath;
use broker_config::{Cid, FileFacts, Lane, Names, PluginId, Submission};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::*;
use crate::advisories::Witness;
use crate::broker::Broker;
use crate::dispatcher::Suspect;
use crate::graph::Graph;
use crate::graph::tests::spec;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::presence::PresenceHandle;
use crate::run::{Run, Trace};
use crate::store::testing::TestBroker;

struct Bench {
    server: TestBroker,
    broker: Broker,
    shared: Arc<Shared>,
    told: mpsc::Receiver<Input>,
    cid: Cid,
    plugin: PluginId,
}

async fn bench() -> anyhow::Result<Bench> {
    let (server, _store) = TestBroker::start().await?;
    let broker = Broker::open(server.client().await?, Names::default()).await?;
    let (inputs, told) = mpsc::channel(16);
    let witness = Witness {
        presence: PresenceHandle::default(),
        journal: Journal::default(),
        lease: Duration::from_secs(9),
    };
    let metrics = Arc::new(Metrics::default());
    let underway = crate::engine::underway::Underway::default();
    let shared = Shared { broker: broker.clone(), inputs, witness, metrics, underway };
    let shared = Arc::new(shared);
    Ok(Bench { server, broker, shared, told, cid: "film".parse()?, plugin: "p".parse()? })
}

/// What a run for plugin `p` wants published.
fn wanted(cid: &Cid, run: u64) -> (Arc<Opening>, Task) {
    let path = FilePath { file_path: "/film".to_owned(), file_path_bytes: None };
    let opening = Arc::new(Opening {
        id: RunId(run),
        queue: Queue::Fast,
        submitted_at: 0,
        submission: Submission::new(cid.clone(), path, FileFacts::default()),
        trace: Trace::default(),
    });
    let (graph, _) = Graph::build(vec![spec("p", 10, &[])]);
    let mut run = Run::open(opening.clone(), std::collections::BTreeMap::new(), &graph, 0);
    let wanted = run.advance();
    let (_, task) = run.publish(&wanted[0], 0).unwrap();
    (opening, task)
}

#[tokio::test]
async fn the_same_work_is_queued_once_whichever_queue_it_is_for() -> anyhow::Result<()> {
    let mut bench = bench().await?;
    let (opening, task) = wanted(&bench.cid, 1);
    bench.shared.publish(opening, Queue::Fast, Box::new(task), false).await;

    let (opening, task) = wanted(&bench.cid, 2);
    bench.shared.publish(opening, Queue::Background, Box::new(task), false).await;

    let subjects = bench.broker.task_subjects(&bench.broker.names.all_tasks()).await?;
    let first = bench.broker.names.task(Queue::Fast, &bench.plugin, &bench.cid);
    assert_eq!(subjects, [first]);
    assert!(bench.told.try_recv().is_err(), "it is taken for stored");
    drop(bench.server);
    Ok(())
}

#[tokio::test]
async fn a_task_that_was_put_off_and_is_back_is_not_given_up() -> anyhow::Result<()> {
    let bench = bench().await?;
    let (Bench { broker, cid, plugin, .. }, names) = (&bench, &bench.broker.names);
    let (opening, task) = wanted(cid, 1);
    bench.shared.publish(opening, Queue::Fast, Box::new(task.clone()), false).await;
    // Delivered for the only time: no consumer has anything to do with it any more.
    let config = Config {
        durable_name: Some(Names::consumer(plugin, Queue::Fast)),
        filter_subject: names.tasks_of(Queue::Fast, plugin),
        max_deliver: 1,
        ack_wait: Duration::from_millis(200),
        ..Config::default()
    };
    let stream = broker.js.get_stream(names.task_stream()).await?;
    let mut consumer = stream.create_consumer(config).await?;
    let delivered = consumer.messages().await?.next().await;
    assert!(delivered.is_some_and(|delivered| delivered.is_ok()));
    let held = async {
        while consumer.info().await.is_ok_and(|info| info.num_ack_pending > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), held).await?;
    let mut headers = HeaderMap::new();
    headers.insert(SCHEDULE, "@at 2999-01-01T00:00:00Z");
    headers.insert(SCHEDULE_TARGET, names.task(Queue::Fast, plugin, cid));
    broker.publisher.publish(names.later(plugin, cid), headers, json(&task)).await?;

    let suspect = Suspect {
        run: RunId(1),
        cid: cid.clone(),
        plugin: plugin.clone(),
        queue: Queue::Fast,
        lane: Lane::Main,
        since: 0,
    };
    bench.shared.check(vec![suspect.clone()]).await;

    assert!(broker.record(cid, plugin).await?.is_none(), "nobody says that it has failed");
    broker.clear_later(plugin, Lane::Main).await?;
    bench.shared.check(vec![suspect]).await;
    assert!(broker.record(cid, plugin).await?.is_some(), "now nobody will do it any more");
    Ok(())
}
