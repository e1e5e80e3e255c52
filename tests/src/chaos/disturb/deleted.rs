//! Consumers and the stream of tasks, deleted while everything runs; the fleet makes them anew.

use std::time::Duration;

use broker_config::{Names, Queue};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::Due;
use crate::chaos::GRAPH;
use crate::chaos::check::{Kill, Victim};
use crate::chaos::experiment::Chaos;
use crate::chaos::now;

/// How often is looked whether it is there again.
const LOOK: Duration = Duration::from_millis(100);
/// How long that may take.
const MADE: Duration = Duration::from_secs(30);

/// What was deleted.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    kill: usize,
    stream: String,
    /// `None` = the stream itself.
    consumer: Option<String>,
    until: Instant,
}

impl Chaos {
    /// Deletes the consumer of a plugin's tasks, the coordinator's of submissions, or the stream of
    /// tasks; tries again a little later while it is not there.
    pub(super) async fn delete(&mut self, number: usize) -> anyhow::Result<Option<(Instant, Due)>> {
        let (tasks, submissions) =
            (self.fleet.names.task_stream(), self.fleet.names.submit_stream());
        let (stream, consumer) = match GRAPH.get(number % (GRAPH.len() + 2)) {
            Some((plugin, ..)) => (tasks, Some(Names::consumer(&plugin.parse()?, Queue::Fast))),
            None if number.is_multiple_of(2) => {
                let mut names = self.fleet.js.get_stream(&submissions).await?.consumer_names();
                // One that has just been started has none yet.
                let Some(name) = names.next().await else { return Ok(None) };
                (submissions, Some(name?))
            }
            None => (tasks, None),
        };
        let kill = Kill { victim: Victim::Broker, at: now(), back: i64::MAX };
        let deleted = match &consumer {
            Some(consumer) => format!("CONSUMER.DELETE.{stream}.{consumer}"),
            None => format!("STREAM.DELETE.{stream}"),
        };
        let nothing = serde_json::json!({});
        let answer: serde_json::Value = self.fleet.js.request(deleted.clone(), &nothing).await?;
        let error = answer.get("error");
        // The stream was made anew a moment ago, and its consumers were not.
        if error.and_then(|error| error.get("code")) == Some(&404.into()) {
            return Ok(None);
        }
        anyhow::ensure!(error.is_none(), "{deleted}: {answer}");
        self.kills.push(kill);
        let kill = self.kills.len() - 1;
        self.done.deletions += 1;
        self.may_repair |= consumer.is_none();
        let until = Instant::now() + MADE;
        Ok(Some((Instant::now() + LOOK, Due::Gone(Gone { kill, stream, consumer, until }))))
    }

    /// Waits until it is there again.
    pub(super) async fn look_at_gone(
        &mut self,
        gone: Gone,
    ) -> anyhow::Result<Option<(Instant, Due)>> {
        let what = match &gone.consumer {
            Some(consumer) => format!("CONSUMER.INFO.{}.{consumer}", gone.stream),
            None => format!("STREAM.INFO.{}", gone.stream),
        };
        let nothing = serde_json::json!({});
        let is_there = self.fleet.api(&what, &nothing).await.is_ok() || self.has_like(&gone).await;
        if !is_there && Instant::now() < gone.until {
            return Ok(Some((Instant::now() + LOOK, Due::Gone(gone))));
        }
        if !is_there {
            self.problems.push(format!("{what}: not made anew in {MADE:?}"));
        }
        self.is_back(gone.kill);
        Ok(None)
    }

    /// Whether another coordinator leads since and has a consumer of its own, which says in its name how often the
    /// lead has changed.
    async fn has_like(&self, gone: &Gone) -> bool {
        if gone.stream != self.fleet.names.submit_stream() {
            return false;
        }
        let name = gone.consumer.as_deref().and_then(|name| name.rsplit_once('_'));
        let (Some((kind, _)), Ok(stream)) = (name, self.fleet.js.get_stream(&gone.stream).await)
        else {
            return false;
        };
        let is_like = |name: String| name.rsplit_once('_').is_some_and(|name| name.0 == kind);
        stream.consumer_names().any(async |name| name.is_ok_and(is_like)).await
    }
}
