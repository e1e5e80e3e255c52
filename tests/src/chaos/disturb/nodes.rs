//! The servers of a cluster: killed where they lead, told to step down, restarted one by one.

use std::time::Duration;

use anyhow::Context as _;
use broker_config::{Names, Queue};
use tokio::time::{Instant, timeout};

use super::Due;
use crate::chaos::GRAPH;
use crate::chaos::check::{Kill, Victim};
use crate::chaos::experiment::Chaos;
use crate::chaos::now;
use crate::cluster::{Cluster, NODES};

/// How often is looked whether every copy is up to date again.
const LOOK: Duration = Duration::from_millis(100);
/// How long that may take before it is a problem of its own.
const WHOLE: Duration = Duration::from_secs(30);
/// How long the servers may take to say who leads.
const ANSWER: Duration = Duration::from_secs(2);

impl Due {
    /// Wait until every copy is up to date.
    pub(super) fn whole(kill: usize) -> Self {
        Self::Whole { kill, until: Instant::now() + WHOLE, roll: None }
    }
}

impl Chaos {
    /// What a number stands for: the streams that everything goes through.
    fn streams(&self) -> [String; 4] {
        let names = &self.fleet.names;
        [names.task_stream(), names.record_stream(), names.submit_stream(), names.event_stream()]
    }

    /// How many records were ever stored, if somebody can say so.
    pub(super) async fn records(&self) -> Option<u64> {
        let stream = self.fleet.names.record_stream();
        let (_, last) = timeout(ANSWER, self.fleet.state(&stream)).await.ok()?.ok()?;
        Some(last)
    }

    /// Kills the server that leads a stream; tries again a little later while nobody does.
    pub(super) async fn kill_leader(
        &mut self,
        number: usize,
        away: Duration,
    ) -> anyhow::Result<Option<(Instant, Due)>> {
        let streams = self.streams();
        let stream = streams.get(number % streams.len()).context("a stream")?;
        let cluster = self.cluster.as_ref().context("a cluster")?;
        let leader = timeout(ANSWER, cluster.leader(&self.fleet.js, stream)).await;
        let Ok(Ok(Some(node))) = leader else { return Ok(None) };
        let kill = self.away();
        self.done.leader_kills += 1;
        self.node(node)?.kill()?;
        Ok(Some((Instant::now() + away, Due::NodeStart { kill, node, roll: None })))
    }

    /// Notes that a server is away from now on.
    fn away(&mut self) -> usize {
        self.kills.push(Kill { victim: Victim::Broker, at: now(), back: i64::MAX });
        self.kills.len() - 1
    }

    fn node(&self, node: usize) -> anyhow::Result<&crate::Server> {
        let cluster = self.cluster.as_ref().context("a cluster")?;
        Ok(cluster.nodes.get(node).context("a server")?)
    }

    /// Tells somebody who leads to step down; nobody is away, but what is on its way may get lost.
    pub(super) async fn step_down(&mut self, number: usize) -> anyhow::Result<(Instant, Due)> {
        let kill = self.kills.len();
        self.kills.push(Kill { victim: Victim::Broker, at: now(), back: i64::MAX });
        self.done.step_downs += 1;
        let (which, of) = (number % 3, number / 3);
        let streams = self.streams();
        let stream = streams.get(of % streams.len()).context("a stream")?;
        let plugin = GRAPH.get(of % GRAPH.len()).context("a plugin")?.0;
        let consumer = Names::consumer(&plugin.parse()?, Queue::Fast);
        let asked = async {
            let nothing = serde_json::json!({});
            match which {
                0 => self.fleet.api(&format!("STREAM.LEADER.STEPDOWN.{stream}"), &nothing).await,
                1 => {
                    let tasks = self.fleet.names.task_stream();
                    let what = format!("CONSUMER.LEADER.STEPDOWN.{tasks}.{consumer}");
                    self.fleet.api(&what, &nothing).await
                }
                _ => {
                    let cluster = self.cluster.as_ref().context("a cluster")?;
                    cluster.step_down().await.map(|()| nothing)
                }
            }
        };
        // Who steps down may not come to answer.
        if let Ok(Err(error)) = timeout(ANSWER, asked).await {
            tracing::debug!(%error, "nobody stepped down");
        }
        Ok((Instant::now() + LOOK, Due::whole(kill)))
    }

    /// Stops a server in good order; the others follow when it is back.
    pub(super) async fn roll(
        &mut self,
        node: usize,
        away: Duration,
    ) -> anyhow::Result<(Instant, Due)> {
        let kill = self.away();
        self.node(node)?.stop().await?;
        Ok((Instant::now() + away, Due::NodeStart { kill, node, roll: Some(away) }))
    }

    pub(super) async fn start_node(
        &self,
        kill: usize,
        node: usize,
        roll: Option<Duration>,
    ) -> anyhow::Result<(Instant, Due)> {
        self.node(node)?.restart().await?;
        let roll = roll.map(|away| (node + 1, away));
        let until = Instant::now() + WHOLE;
        Ok((Instant::now() + LOOK, Due::Whole { kill, until, roll }))
    }

    /// Waits until every copy is up to date: before, nobody else is killed.
    pub(super) async fn whole(
        &mut self,
        kill: usize,
        until: Instant,
        roll: Option<(usize, Duration)>,
    ) -> anyhow::Result<Option<(Instant, Due)>> {
        let mut whole = true;
        for stream in self.streams() {
            let look = timeout(ANSWER, Cluster::is_whole(&self.fleet.js, &stream)).await;
            whole &= matches!(look, Ok(Ok(true)));
        }
        if !whole && Instant::now() < until {
            return Ok(Some((Instant::now() + LOOK, Due::Whole { kill, until, roll })));
        }
        if !whole {
            self.problems.push(format!("copies were not up to date {WHOLE:?} after a fault"));
        }
        self.is_back(kill);
        match roll {
            Some((node, away)) if node < NODES => return self.roll(node, away).await.map(Some),
            Some(_) => self.done.rolling_restarts += 1,
            None => {}
        }
        self.strikes_cluster = false;
        Ok(None)
    }
}
