//! Tasks that nobody will ever pull, because their plugin is not registered.
//!
//! Somebody has published them by hand, or a plugin was removed while one of its tasks was on its
//! way. No consumer tells of them, so the subjects of the task stream are looked through now and
//! then. What belongs to a plugin that was removed goes as its other tasks went; anything else
//! becomes a dead letter, for a person, and is told. What was settled and yet is there goes too, and
//! what its consumer passes over.

mod fate;
mod settled;

use std::time::Duration;

use broker_config::header::SCHEDULE_TARGET;
use broker_config::read::{Stored, last_messages};
use broker_config::wire::dead::Cause;
use broker_config::wire::file::FilePath;
use broker_config::wire::task::TaskType;
use broker_config::{
    Chain, Cid, FileFacts, Lane, MetaMap, Names, PluginId, Queue, RetryPolicy, RunId, Task, TaskId,
};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::broker::dead::{GiveUp, GiveUpError};
use crate::broker::{Broker, trace_of};
use crate::registry::Roster;

pub use fate::{Fate, LEAVING, Standing};
pub use settled::{done_up_to, is_outdone};

/// Checks of the reconciler for one look for strays, which reads the subjects of all tasks.
pub const CHECKS: u32 = 6;
/// Most messages taken out in one look; the others have to wait for the next.
const MOST: usize = 256;

/// A message that no consumer delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stray {
    /// Its subject is that of no task.
    Nameless,
    /// Its plugin, or its route, was removed.
    LeftBehind,
    /// Nobody knows its plugin.
    Unknown(PluginId, Cid),
}

/// What is wrong with a subject of the task stream; `None` = nothing.
fn stray(names: &Names, subject: &str, roster: &Roster) -> Option<Stray> {
    let task = names.parse_task(subject).map(|address| (address.plugin, address.lane, address.cid));
    let Some((plugin, lane, cid)) = task.or_else(|| names.parse_later(subject)) else {
        return Some(Stray::Nameless);
    };
    let is_there = |route| roster.routes.contains(&(plugin.clone(), route));
    if roster.present.contains(&plugin) && lane.route().is_some_and(|route| !is_there(route)) {
        // Published while its route went; it was published anew since.
        return Some(Stray::LeftBehind);
    }
    if roster.present.contains(&plugin) {
        None
    } else if roster.removed.contains(&plugin) {
        Some(Stray::LeftBehind)
    } else {
        Some(Stray::Unknown(plugin, cid))
    }
}

/// Looks for strays until `stop`; to be called when all plugins are known.
pub async fn watch(
    broker: Broker,
    roster: watch::Receiver<Roster>,
    every: Duration,
    stop: CancellationToken,
) {
    let look = async {
        let mut pace = interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            for looked in [sweep(&broker, &roster).await, settled::sweep(&broker).await] {
                if let Err(error) = looked {
                    tracing::debug!(error = %Chain(&error), "strays stay for now");
                }
            }
        }
    };
    stop.run_until_cancelled(look).await;
}

/// Takes out what was settled and yet is there, and what nobody would be given; what cannot be looked at now
/// is found later.
pub async fn take_out_passed_over(broker: &Broker) {
    if let Err(error) = settled::sweep(broker).await {
        tracing::debug!(error = %Chain(&error), "tasks that nobody would be given stay for now");
    }
}

async fn sweep(broker: &Broker, roster: &watch::Receiver<Roster>) -> Result<(), GiveUpError> {
    let names = &broker.names;
    let mut subjects = broker.task_subjects(&names.all_tasks()).await?;
    subjects.extend(broker.task_subjects(&names.all_later()).await?);
    // Only now: a task of a plugin that has come meanwhile is none of ours.
    let roster = roster.borrow().clone();
    let strays = subjects.into_iter().filter_map(|subject| {
        let stray = stray(names, &subject, &roster)?;
        Some((subject, stray))
    });
    for (subject, stray) in strays.take(MOST).collect::<Vec<_>>() {
        let stream = names.task_stream();
        let found = last_messages(&broker.client, &stream, &[subject]).await?;
        if let Some(stored) = found.into_iter().next() {
            take_out(broker, &stored, stray).await?;
        }
    }
    Ok(())
}

async fn take_out(broker: &Broker, stored: &Stored, stray: Stray) -> Result<(), GiveUpError> {
    let subject = &stored.subject;
    match stray {
        Stray::Nameless => tracing::warn!(subject, "a message that is no task is taken out"),
        Stray::LeftBehind => {
            tracing::info!(subject, "a task of a removed plugin or route is taken out");
        }
        Stray::Unknown(plugin, cid) => {
            tracing::warn!(plugin.id = %plugin, file.cid = %cid, "a task for an unknown plugin");
            let error = format!("no plugin `{plugin}` is registered");
            let queue = queue_of(&broker.names, stored);
            let dead = GiveUp::new(task_of(stored, plugin, cid), queue, Cause::Permanent, error);
            let trace = trace_of(Some(&stored.headers));
            broker.write_off(GiveUp { trace, ..dead }).await?;
        }
    }
    broker.delete_message(&broker.names.task_stream(), stored.sequence).await?;
    Ok(())
}

/// The queue that its subject names, or that of the task that it would have become.
fn queue_of(names: &Names, stored: &Stored) -> Queue {
    let target = stored.headers.get(SCHEDULE_TARGET).map(|target| target.as_str());
    let subjects = [Some(stored.subject.as_str()), target].into_iter().flatten();
    let address = subjects.filter_map(|subject| names.parse_task(subject)).next();
    address.map_or(Queue::Fast, |address| address.queue)
}

/// The task as it was published, as far as it can be read; which plugin and which file it is about,
/// its subject says.
fn task_of(stored: &Stored, plugin_id: PluginId, cid: Cid) -> Task {
    let read = serde_json::from_slice::<Task>(&stored.payload);
    let task = read.unwrap_or_else(|_| Task {
        kind: TaskType::V1,
        task_id: TaskId::derive(&cid, &plugin_id, "", 0),
        run_id: RunId(0),
        plugin_id: plugin_id.clone(),
        cid: cid.clone(),
        path: FilePath::default(),
        file: FileFacts::default(),
        existing_meta: MetaMap::new(),
        record_revision: 0,
        fingerprint: String::new(),
        deadline_ms: 0,
        progress_timeout_ms: None,
        retry: RetryPolicy::default(),
        plugin_version: None,
        lane: Lane::Main,
        trial: false,
        depth: 0,
        scan_id: None,
    });
    Task { plugin_id, cid, trial: false, ..task }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bytes::Bytes;

    use super::*;
    use crate::store::testing::TestBroker;

    fn roster() -> Roster {
        Roster {
            present: ["here".parse().unwrap()].into(),
            removed: ["gone".parse().unwrap()].into(),
            routes: [("here".parse().unwrap(), "gpu".parse().unwrap())].into(),
        }
    }

    #[test]
    fn only_tasks_of_plugins_that_are_registered_may_stay() {
        let unknown = || Some(Stray::Unknown("nobody".parse().unwrap(), "film".parse().unwrap()));
        for (subject, expected) in [
            ("mf.task.fast.here.film", None),
            ("mf.later.here.film", None),
            ("mf.later.here_gpu.film", None),
            ("mf.later.here_cpu.film", Some(Stray::LeftBehind)),
            ("mf.task.fast.here_next.film", None),
            ("mf.task.fast.here_gpu.film", None),
            ("mf.task.fast.here_cpu.film", Some(Stray::LeftBehind)),
            ("mf.task.background.gone.film", Some(Stray::LeftBehind)),
            ("mf.later.gone.film", Some(Stray::LeftBehind)),
            ("mf.task.fast.nobody.film", unknown()),
            ("mf.later.nobody.film", unknown()),
            ("mf.task.slow.here.film", Some(Stray::Nameless)),
            ("mf.task.fast.HERE.film", Some(Stray::Nameless)),
            ("mf.task.fast.here.film.more", Some(Stray::Nameless)),
            ("mf.task.fast.here", Some(Stray::Nameless)),
        ] {
            assert_eq!(stray(&Names::default(), subject, &roster()), expected, "{subject}");
        }
    }

    #[tokio::test]
    async fn strays_are_taken_out_and_the_unknown_ones_become_dead_letters() -> anyhow::Result<()> {
        let (server, store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        for subject in [
            "mf.task.fast.here.film",
            "mf.task.background.nobody.film",
            "mf.task.fast.gone.film",
            "mf.task.what.is.this",
        ] {
            let body = Bytes::from_static(b"{}");
            broker.publisher.publish(subject.to_owned(), HeaderMap::new(), body).await?;
        }
        let (_known, seen) = watch::channel(roster());

        sweep(&broker, &seen).await?;
        sweep(&broker, &seen).await?;

        let left = broker.task_subjects(&broker.names.all_tasks()).await?;
        assert_eq!(left, ["mf.task.fast.here.film"]);
        let letters = store.dead_letters(None).await?;
        let said: Vec<String> = letters
            .iter()
            .map(|entry| &entry.letter)
            .map(|letter| format!("{} {} {}", letter.queue, letter.cid, letter.error))
            .collect();
        assert_eq!(said, ["background film no plugin `nobody` is registered"]);
        let told = [broker.names.event("task.dead")];
        let told = last_messages(&broker.client, &broker.names.event_stream(), &told).await?;
        assert_eq!(told.len(), 1);
        Ok(())
    }
}
