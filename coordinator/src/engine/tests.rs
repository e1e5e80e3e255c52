//! What the engine's commands do to a real broker.

use async_nats::HeaderMap;
use broker_config::wire::file::FilePath;
use broker_config::{FileFacts, Lane, Names, Queue, Submission, Task, TaskId};

use super::*;
use crate::broker::json;
use crate::dispatcher::Suspect;
use crate::journal::Journal;
use crate::presence::PresenceHandle;
use crate::run::Trace;
use crate::store::testing::TestBroker;

struct Bench {
    _server: TestBroker,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Input>,
}

impl Bench {
    async fn start() -> anyhow::Result<Self> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let (inputs, inbox) = mpsc::channel(INBOX);
        let (witness, metrics) = (witness(), Arc::default());
        let underway = Underway::default();
        let shared = Arc::new(Shared { broker, inputs, witness, metrics, underway });
        Ok(Self { _server: server, shared, inbox })
    }

    /// Has a task in its stream, in one of the queues.
    async fn put(&self, queue: Queue, task: &Task) -> anyhow::Result<()> {
        let subject =
            self.shared.broker.names.task_in(task.lane, queue, &task.plugin_id, &task.cid);
        self.shared.broker.publisher.publish(subject, HeaderMap::new(), json(task)).await?;
        Ok(())
    }

    /// What the engine was told.
    fn told(&mut self) -> Vec<&'static str> {
        let mut told = Vec::new();
        while let Ok(input) = self.inbox.try_recv() {
            told.push(match input {
                Input::Event(Event::Missing { .. }) => "missing",
                Input::Event(Event::Blocked { .. }) => "blocked",
                Input::Event(Event::Reread { .. }) => "reread",
                Input::Event(_) => "another event",
                Input::Opened { .. }
                | Input::Reopened { .. }
                | Input::Record { .. }
                | Input::Closed(_) => "another input",
            });
        }
        told
    }
}

fn witness() -> Witness {
    let (presence, journal) = (PresenceHandle::default(), Journal::default());
    Witness { presence, journal, lease: Duration::from_secs(9) }
}

fn task(cid: &str) -> anyhow::Result<Task> {
    let id = TaskId::derive(&cid.parse()?, &"p".parse()?, "f", 0);
    Ok(serde_json::from_value(serde_json::json!({
        "type": "metafleet.task.v1", "taskId": id, "runId": 1, "pluginId": "p",
        "cid": cid, "filePath": "/film", "fingerprint": "f", "deadlineMs": 1,
        "retry": {"maxAttempts": 1, "delaysMs": []},
    }))?)
}

fn suspect(cid: &str) -> anyhow::Result<Suspect> {
    Ok(Suspect {
        run: RunId(1),
        cid: cid.parse()?,
        plugin: "p".parse()?,
        queue: Queue::Fast,
        lane: Lane::Main,
        since: 0,
    })
}

fn opening(cid: &str) -> anyhow::Result<Arc<Opening>> {
    let path = FilePath { file_path: format!("/{cid}"), file_path_bytes: None };
    Ok(Arc::new(Opening {
        id: RunId(1),
        queue: Queue::Fast,
        submitted_at: 0,
        submission: Submission::new(cid.parse()?, path, FileFacts::default()),
        trace: Trace::default(),
    }))
}

#[tokio::test]
async fn a_task_is_found_in_the_queue_that_its_plugin_was_in_when_it_was_published()
-> anyhow::Result<()> {
    let mut bench = Bench::start().await?;
    bench.put(Queue::Background, &task("moved")?).await?;

    bench.shared.check(vec![suspect("moved")?]).await;
    assert!(bench.told().is_empty(), "it waits in the other queue");
    bench.shared.check(vec![suspect("gone")?]).await;
    assert_eq!(bench.told(), ["reread", "missing"]);

    // The same where another leader has published it.
    for (cid, expected) in [("moved", &[] as &[&str]), ("gone", &["blocked"])] {
        let task = Box::new(task(cid)?);
        bench.shared.publish(opening(cid)?, Queue::Fast, task, true).await;
        assert_eq!(bench.told(), expected, "{cid}");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_still_on_its_way_into_the_stream_is_not_missed() -> anyhow::Result<()> {
    let mut bench = Bench::start().await?;
    let suspect = suspect("slow")?;
    let underway = bench.shared.underway.begin(suspect.run, &suspect.plugin);

    bench.shared.check(vec![suspect.clone()]).await;
    assert!(bench.told().is_empty());
    drop(underway);
    bench.shared.check(vec![suspect]).await;
    assert_eq!(bench.told(), ["reread", "missing"]);
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_being_given_up_is_not_missed() -> anyhow::Result<()> {
    let mut bench = Bench::start().await?;
    let suspect = suspect("film")?;
    let given_up = bench.shared.broker.in_hand.begin(&suspect.plugin, &suspect.cid);

    bench.shared.check(vec![suspect.clone()]).await;
    drop(given_up);
    bench.shared.check(vec![suspect.clone()]).await;

    assert!(bench.told().is_empty(), "its record may have been written after it was looked for");
    let other = Suspect { cid: "other".parse()?, ..suspect };
    bench.shared.check(vec![other]).await;
    assert_eq!(bench.told(), ["reread", "missing"]);
    Ok(())
}

#[tokio::test]
async fn a_submission_that_is_not_opened_again_leaves_nothing_behind_and_another_one_is_opened()
-> anyhow::Result<()> {
    let (server, _store) = TestBroker::start().await?;
    let broker = Broker::open(server.client().await?, Names::default()).await?;
    let slots = Arc::new(Slots::new(8, false));
    let (mut engine, _handle) =
        Engine::new(broker, slots, Arc::default(), witness(), Timing::default());
    // There are no plugins: it is settled at once, and not acknowledged yet.
    let mut deliver = |cid: &str, submitted_at| {
        let mut commands = Vec::new();
        let opening = Opening { submitted_at, ..Arc::unwrap_or_clone(opening(cid)?) };
        let cids = vec![opening.submission.cid.clone()];
        engine.on_input(Input::Event(Event::Opening { cids }), &mut commands);
        let (records, reply) = (BTreeMap::new(), "reply".to_owned());
        let opened = Input::Opened { opening: Arc::new(opening), records, reply };
        engine.on_input(opened, &mut commands);
        assert!(!engine.dispatcher.is_opening(), "{cid}");
        Ok::<_, anyhow::Error>(commands.len())
    };

    assert_eq!(deliver("film", 10)?, 1, "it is settled");
    assert_eq!(deliver("film", 10)?, 0, "the same");
    assert_eq!(deliver("other", 20)?, 1, "its number was given anew");
    Ok(())
}
