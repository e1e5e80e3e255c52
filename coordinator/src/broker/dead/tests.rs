use broker_config::wire::event::Event;
use broker_config::wire::file::FilePath;
use broker_config::wire::task::TaskType;
use broker_config::{Cid, FileFacts, MetaMap, Names, PluginId, RetryPolicy, RunId, TaskId};

use super::*;
use crate::store::Store;
use crate::store::dead::DeadEntry;
use crate::store::testing::TestBroker;

async fn start() -> anyhow::Result<(TestBroker, Store, Broker)> {
    let (server, store) = TestBroker::start().await?;
    let broker = Broker::open(server.client().await?, Names::default()).await?;
    Ok((server, store, broker))
}

/// A task of plugin `p` that replaces the record with this revision.
fn task(cid: &str, record_revision: u64) -> Task {
    let (cid, plugin): (Cid, PluginId) = (cid.parse().unwrap(), "p".parse().unwrap());
    Task {
        kind: TaskType::V1,
        task_id: TaskId::derive(&cid, &plugin, "f", record_revision),
        run_id: RunId(1),
        plugin_id: plugin,
        cid,
        path: FilePath::default(),
        file: FileFacts::default(),
        existing_meta: MetaMap::new(),
        record_revision,
        fingerprint: "f".into(),
        deadline_ms: 1,
        progress_timeout_ms: None,
        retry: RetryPolicy::default(),
        plugin_version: None,
        lane: broker_config::Lane::Main,
        trial: false,
        depth: 0,
        scan_id: None,
    }
}

fn dead(task: Task, error: &str) -> GiveUp {
    GiveUp::new(task, Queue::Fast, Cause::Permanent, error.to_owned())
}

fn said(letters: &[DeadEntry]) -> Vec<String> {
    letters.iter().map(|entry| format!("{} {}", entry.letter.cid, entry.letter.error)).collect()
}

async fn deaths_told(broker: &Broker) -> anyhow::Result<u64> {
    let mut stream = broker.js.get_stream(broker.names.event_stream()).await?;
    Ok(stream.info().await?.state.messages)
}

#[tokio::test]
async fn a_newer_dead_letter_takes_the_place_of_the_older_one_of_the_same_file()
-> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    broker.give_up(dead(task("other", 0), "no")).await?;
    broker.give_up(dead(task("film", 0), "first")).await?;
    let revision = broker.record(&"film".parse()?, &"p".parse()?).await?.unwrap().revision;

    assert!(broker.give_up(dead(task("film", revision), "second")).await?);

    assert_eq!(said(&store.dead_letters(None).await?), ["other no", "film second"]);
    // A letter that a person has dropped is not missed.
    let letters = store.dead_letters(None).await?;
    store.drop_dead(letters[1].id).await?;
    let revision = broker.record(&"film".parse()?, &"p".parse()?).await?.unwrap().revision;
    broker.give_up(dead(task("film", revision), "third")).await?;
    assert_eq!(said(&store.dead_letters(None).await?), ["other no", "film third"]);
    Ok(())
}

#[tokio::test]
async fn only_the_letter_of_the_same_file_gives_way() -> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    broker.give_up(dead(task("other", 0), "no")).await?;
    let of_other = store.dead_letters(None).await?[0].id;
    // As after the stream was made anew: the number is that of another letter by now.
    let record = dead(task("film", 0), "old").record(None);
    let mut headers = HeaderMap::new();
    headers.insert(DEAD_LETTER, of_other.to_string());
    let revision = broker.put_record(&record, 0, headers).await?;

    broker.give_up(dead(task("film", revision), "new")).await?;

    assert_eq!(said(&store.dead_letters(None).await?), ["other no", "film new"]);
    Ok(())
}

#[tokio::test]
async fn giving_up_again_changes_nothing_and_tells_what_may_not_have_been_told()
-> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    // Whoever wrote this record died before anybody was told.
    let given_up = dead(task("film", 0), "broken");
    broker.put_record(&given_up.record(None), 0, HeaderMap::new()).await?;

    assert!(broker.give_up(given_up.clone()).await?);
    assert!(broker.give_up(given_up).await?);

    let (stream, subject) = (broker.names.event_stream(), [broker.names.event("task.dead")]);
    let found = broker_config::read::last_messages(&broker.client, &stream, &subject).await?;
    let told: Event = serde_json::from_slice(&found[0].payload)?;
    assert!(matches!(told.what, Fact::TaskDead { .. }), "{told:?}");
    assert_eq!(deaths_told(&broker).await?, 1);
    assert_eq!(store.dead_letters(None).await?.len(), 0, "it is not there for this to write");
    Ok(())
}

#[tokio::test]
async fn a_task_that_a_worker_has_settled_is_not_given_up_on() -> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    let mut record = dead(task("film", 0), "").record(None);
    record.status = RecordStatus::Completed;
    broker.put_record(&record, 0, HeaderMap::new()).await?;

    assert!(!broker.give_up(dead(task("film", 0), "late")).await?);

    assert_eq!(store.dead_letters(None).await?.len(), 0);
    assert_eq!(deaths_told(&broker).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_letter_that_is_too_large_goes_without_metadata_and_a_long_error_is_cut()
-> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    let mut large = task("film", 0);
    let text = "x".repeat(broker.client.max_payload());
    large.existing_meta.insert("k".parse()?, text.as_str().into());
    let error = "é".repeat(MAX_TEXT_BYTES);

    assert!(broker.give_up(dead(large, &error)).await?);

    let letters = store.dead_letters(None).await?;
    assert!(letters[0].letter.task.existing_meta.is_empty());
    assert_eq!(letters[0].letter.error.len(), MAX_TEXT_BYTES);
    Ok(())
}

#[tokio::test]
async fn of_two_leaders_that_give_up_on_one_task_only_the_letter_of_the_first_stays()
-> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    let given_up = dead(task("film", 0), "first");
    assert!(broker.give_up(given_up.clone()).await?);
    // The other one was stopped after it had looked, for longer than the broker knows its letters.
    let letter = dead(task("film", 0), "second").letter();
    let second = broker.put_letter(&letter, HeaderMap::new()).await?;

    assert!(broker.too_late(second, &given_up).await?);
    assert_eq!(said(&store.dead_letters(None).await?), ["film first"]);

    let first = store.dead_letters(None).await?[0].id;
    assert!(broker.too_late(first, &given_up).await?, "its own answer was lost");
    assert_eq!(said(&store.dead_letters(None).await?), ["film first"]);
    Ok(())
}

/// Has the broker forget message ids at once, and the stream of records take nothing, or all again.
async fn change<F>(broker: &Broker, stream: String, edit: F) -> anyhow::Result<()>
where
    F: FnOnce(&mut async_nats::jetstream::stream::Config),
{
    let mut config = broker.js.get_stream(stream).await?.cached_info().config.clone();
    edit(&mut config);
    broker.js.update_stream(config).await?;
    Ok(())
}

/// Waits until the broker does not know the ids any more that it knows now.
async fn ids_are_forgotten(broker: &Broker) -> anyhow::Result<()> {
    let probe = async || {
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, "probe");
        broker.publisher.publish("mf.dead.fast.probe".to_owned(), headers, "junk".into()).await
    };
    let (first, since) = (probe().await?, tokio::time::Instant::now());
    while probe().await? == first {
        anyhow::ensure!(since.elapsed().as_secs() < 20, "ids are known for ever");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_has_one_letter_also_when_its_record_is_stored_long_after() -> anyhow::Result<()> {
    let (server, store, broker) = start().await?;
    let window = std::time::Duration::from_millis(100);
    change(&broker, broker.names.dead_stream(), |config| config.duplicate_window = window).await?;
    change(&broker, broker.names.record_stream(), |config| config.max_message_size = 1).await?;
    let (film, other) = (dead(task("film", 0), "broken"), dead(task("other", 0), "too"));
    for dead in [&film, &other] {
        broker.give_up(dead.clone()).await.unwrap_err();
        let Task { plugin_id, cid, .. } = &dead.task;
        assert!(broker.in_hand.has(plugin_id, cid), "who looks for {cid} may take it for lost");
    }
    ids_are_forgotten(&broker).await?;

    // The same coordinator, which knows its letters, and another one, which has to look.
    broker.give_up(film.clone()).await.unwrap_err();
    let next = Broker::open(server.client().await?, Names::default()).await?;
    next.give_up(film.clone()).await.unwrap_err();
    change(&broker, broker.names.record_stream(), |config| config.max_message_size = -1).await?;
    assert!(next.give_up(film).await?);
    assert!(broker.give_up(other.clone()).await?);

    let letters = store.dead_letters(None).await?;
    assert_eq!(said(&letters), ["film broken", "other too"]);
    let found = next.record(&"film".parse()?, &"p".parse()?).await?.unwrap();
    assert_eq!(Present::read(Some(found)).letter, Some(letters[0].id));
    Ok(())
}

#[tokio::test]
async fn a_letter_that_was_dropped_before_its_record_is_written_anew() -> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    let window = std::time::Duration::from_millis(100);
    change(&broker, broker.names.dead_stream(), |config| config.duplicate_window = window).await?;
    change(&broker, broker.names.record_stream(), |config| config.max_message_size = 1).await?;
    broker.give_up(dead(task("film", 0), "first")).await.unwrap_err();
    store.drop_dead(store.dead_letters(None).await?[0].id).await?;
    ids_are_forgotten(&broker).await?;
    change(&broker, broker.names.record_stream(), |config| config.max_message_size = -1).await?;

    assert!(broker.give_up(dead(task("film", 0), "again")).await?);

    assert_eq!(said(&store.dead_letters(None).await?), ["film again"]);
    Ok(())
}

#[tokio::test]
async fn a_plugin_cannot_have_the_letter_of_another_taken_for_its_own() -> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    let own = task("film", 0);
    // Whose it is, its subject says; what it is called, whoever reports it.
    let forged = Task { plugin_id: "thief".parse()?, ..own.clone() };
    assert!(broker.give_up(dead(forged, "forged")).await?);

    assert!(broker.give_up(dead(own, "real")).await?);

    assert_eq!(said(&store.dead_letters(None).await?), ["film forged", "film real"]);
    assert_eq!(deaths_told(&broker).await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_failed_record_that_is_too_large_goes_without_the_metadata_of_an_earlier_success()
-> anyhow::Result<()> {
    let (_server, store, broker) = start().await?;
    let mut large = dead(task("film", 0), "").record(None);
    large.status = RecordStatus::Completed;
    let text = "x".repeat(broker.client.max_payload() - 2 * 1024);
    large.meta.insert("p/k".parse()?, text.as_str().into());
    let revision = broker.put_record(&large, 0, HeaderMap::new()).await?;

    assert!(broker.give_up(dead(task("film", revision), &"e".repeat(MAX_TEXT_BYTES))).await?);

    let record = broker.record(&"film".parse()?, &"p".parse()?).await?.unwrap().record.unwrap();
    assert_eq!(record.status, RecordStatus::Failed);
    assert!(record.meta.is_empty());
    assert_eq!(store.dead_letters(None).await?.len(), 1);
    Ok(())
}
