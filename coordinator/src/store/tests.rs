//! What commands read and write, on a real server.

use async_nats::HeaderMap;
use broker_config::topology::{LEASE, TaskConsumerSpec};
use broker_config::wire::plugin::{PluginEntry, PluginType};
use broker_config::wire::task::{Task, TaskType};
use broker_config::{
    Cid, Manifest, MetaKey, Names, PluginId, Queue, Record, RetryPolicy, RunId, Submission, TaskId,
};
use bytes::Bytes;

use super::cursor::Start;
use super::plugins::KnownPlugin;
use super::testing::TestBroker;
use super::{Store, StoreError};

fn plugin(id: &str) -> PluginEntry {
    let json = format!(
        r#"{{"id":"{id}","name":"X","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{{}}}}"#
    );
    PluginEntry {
        kind: PluginType::V1,
        manifest: Manifest::from_json(&json).unwrap(),
        enabled: true,
        managed: false,
        paused: false,
        registered_at: String::new(),
        settings_hash: String::new(),
    }
}

fn task(plugin: &PluginId, cid: &Cid) -> Task {
    Task {
        kind: TaskType::V1,
        task_id: TaskId::derive(cid, plugin, "f", 0),
        run_id: RunId(1),
        plugin_id: plugin.clone(),
        cid: cid.clone(),
        path: broker_config::wire::file::FilePath::new("/films/a.mkv".as_ref()),
        file: broker_config::FileFacts { size: 7, ..Default::default() },
        existing_meta: broker_config::MetaMap::new(),
        record_revision: 0,
        fingerprint: "f".into(),
        deadline_ms: 1,
        progress_timeout_ms: None,
        retry: RetryPolicy::default(),
        plugin_version: None,
        lane: broker_config::Lane::Main,
        trial: false,
        depth: 2,
        scan_id: None,
    }
}

async fn put_dead(store: &Store, plugin: &str, queue: Queue) -> anyhow::Result<u64> {
    let (plugin, cid): (PluginId, Cid) = (plugin.parse()?, "c:1".parse()?);
    let letter = serde_json::json!({
        "type": "metafleet.dead.v1", "pluginId": plugin, "cid": cid, "queue": queue,
        "cause": "permanent", "error": "broken", "attempts": 1, "at": "2026-01-01T00:00:00Z",
        "task": task(&plugin, &cid),
    });
    let body = Bytes::from(letter.to_string());
    let subject = store.names().dead(queue, &plugin);
    Ok(store.publisher().publish(subject, HeaderMap::new(), body).await?)
}

#[tokio::test]
async fn a_dead_letter_is_handed_in_again_and_then_gone() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let first = put_dead(&store, "a", Queue::Fast).await?;
    let other = put_dead(&store, "b", Queue::Background).await?;
    let junk = Bytes::from_static(b"junk");
    let to = store.names().dead(Queue::Fast, &"x".parse()?);
    store.publisher().publish(to, HeaderMap::new(), junk).await?;
    let ids = |found: Vec<super::dead::DeadEntry>| found.iter().map(|e| e.id).collect::<Vec<_>>();
    assert_eq!(ids(store.dead_letters(None).await?), [first, other]);
    assert_eq!(ids(store.dead_letters(Some(&"b".parse()?)).await?), [other]);

    let entry = store.dead_letter(first).await?.unwrap();
    store.requeue(&entry).await?;
    // As after a crash between the two steps: it is not handed in twice.
    store.requeue(&entry).await?;

    assert!(store.dead_letter(first).await?.is_none());
    let handed_in = store.all(store.names().submit_stream(), store.names().all_submits()).await?;
    assert_eq!(handed_in.len(), 1);
    let submission: Submission = serde_json::from_slice(&handed_in[0].payload)?;
    assert_eq!(submission.rerun, ["a".parse::<PluginId>()?]);
    assert_eq!((submission.depth, submission.file.size), (2, 7));
    store.drop_dead(other).await?;
    assert!(store.dead_letters(None).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn edits_of_several_people_at_once_are_all_kept() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let cid: Cid = "c".parse()?;
    let set = |key: String| {
        let store = store.clone();
        let cid = cid.clone();
        async move {
            let key: MetaKey = key.parse()?;
            store
                .edit_user(&cid, "now", |record: &mut Record, _| {
                    record.meta.insert(key.clone(), "x".into());
                    Ok::<_, StoreError>(())
                })
                .await?;
            anyhow::Ok(())
        }
    };

    futures_util::future::try_join_all((0..5).map(|n| set(format!("k{n}")))).await?;

    let records = store.records(&cid).await?;
    let (revision, mine) = &records[&PluginId::user()];
    assert_eq!(mine.meta.len(), 5);
    assert_eq!(mine.finished_at, "now");

    // An edit that changes nothing writes nothing.
    store.edit_user(&cid, "later", |_, _| Ok::<_, StoreError>(())).await?;
    assert_eq!(store.records(&cid).await?[&PluginId::user()].0, *revision);
    Ok(())
}

#[tokio::test]
async fn the_registry_is_read_changed_and_thinned() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let id: PluginId = "a".parse()?;
    let empty = store.graph_mark().await?;
    let new = KnownPlugin { entry: plugin("a"), revision: 0 };
    store.put_plugin(&new).await?;
    assert_ne!(store.graph_mark().await?, empty);
    assert!(matches!(store.put_plugin(&new).await, Err(StoreError::Conflict { .. })));

    let known = store.plugin(&id).await?.unwrap();
    let mark = store.graph_mark().await?;
    let paused = PluginEntry { paused: true, ..known.entry.clone() };
    store.put_plugin(&KnownPlugin { entry: paused, revision: known.revision }).await?;
    assert_eq!(store.graph_mark().await?, mark, "a pause changes nothing about what is outdated");

    let known = store.plugin(&id).await?.unwrap();
    assert!(known.entry.paused);
    let anew = PluginEntry { registered_at: "later".into(), ..known.entry.clone() };
    store.put_plugin(&KnownPlugin { entry: anew, revision: known.revision }).await?;
    assert_ne!(store.graph_mark().await?, mark, "it was away, and files were settled without it");

    let known = store.plugin(&id).await?.unwrap();
    store.remove_plugin(&id, known.revision).await?;
    assert!(store.plugin(&id).await?.is_none());
    assert!(store.plugins().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_paused_plugin_are_not_delivered() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let id: PluginId = "a".parse()?;
    let js = async_nats::jetstream::new(store.client().clone());
    let spec = TaskConsumerSpec::for_plugin(
        store.names(),
        &id,
        Queue::Fast,
        LEASE,
        &RetryPolicy::default(),
    );
    broker_config::apply::apply_consumer(&js, store.names(), &spec).await?;
    let name = Names::consumer(&id, Queue::Fast);
    let is_paused =
        async || anyhow::Ok(store.consumers(&store.names().task_stream()).await?[&name].paused);

    // There is no consumer of the background queue, and that is no error.
    store.hold_tasks(&id, true).await?;
    assert!(is_paused().await?);
    store.hold_tasks(&id, false).await?;
    assert!(!is_paused().await?);
    Ok(())
}

#[tokio::test]
async fn a_cursor_reads_on_from_a_sequence_or_a_time() -> anyhow::Result<()> {
    let (mut broker, store) = TestBroker::start().await?;
    let names = store.names().clone();
    let publish = async |name: &str| {
        let subject = names.event(name);
        anyhow::Ok(store.publisher().publish(subject, HeaderMap::new(), Bytes::new()).await?)
    };
    for name in ["a.1", "b.1", "a.2"] {
        publish(name).await?;
    }
    let sequences = |found: Vec<broker_config::read::Stored>| {
        found.iter().map(|stored| stored.sequence).collect::<Vec<_>>()
    };
    let mut cursor = store.cursor(names.event_stream(), names.event("a.*"), Start::Sequence(1));
    assert_eq!(sequences(cursor.read().await?), [1, 3]);
    assert_eq!(sequences(cursor.read().await?), [0; 0]);

    broker.restart()?;
    let mut stored = publish("a.3").await;
    if stored.is_err() {
        stored = publish("a.3").await;
    }
    let next = stored?;
    assert_eq!(sequences(cursor.read().await?).last(), Some(&next));

    let time = |text: &str| Start::Time(text.to_owned());
    let mut old =
        store.cursor(names.event_stream(), names.all_events(), time("2020-01-01T00:00:00Z"));
    assert!(old.read().await?.len() >= 4);
    let mut none = store.cursor("NO_SUCH".to_owned(), ">".to_owned(), Start::Sequence(1));
    assert!(matches!(
        none.read().await,
        Err(StoreError::NotFound { .. } | StoreError::Away { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn numbers_add_up() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    store.put_plugin(&KnownPlugin { entry: plugin("a"), revision: 0 }).await?;
    put_dead(&store, "gone", Queue::Fast).await?;
    let submit = store.names().submit(Queue::Fast);
    store.publisher().publish(submit, HeaderMap::new(), Bytes::from_static(b"{}")).await?;

    let overview = store.overview().await?;

    assert_eq!((overview.files.waiting, overview.files.in_flight, overview.dead), (1, 0, 1));
    let rows: Vec<_> =
        overview.plugins.iter().map(|p| (p.id.as_str(), p.version.as_str(), p.dead)).collect();
    assert_eq!(rows, [("a", "1.0.0", 0), ("gone", "", 1)]);
    Ok(())
}
