//! What an instance in containers prints, one container after the other.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;

use axum::body::Bytes;
use broker_config::{Chain, InstanceId};
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::watch;
use tracing::debug;

use crate::docker::engine::{Engine, EngineError, LogPart};
use crate::docker::{ContainerInfo, ContainerState};
use crate::process::log::Lines;

type Board = watch::Receiver<BTreeMap<InstanceId, ContainerInfo>>;
type Output = Pin<Box<dyn Stream<Item = Result<Bytes, EngineError>> + Send>>;

/// A container, and when it was started: each start is another life.
type Life = (String, Option<Timestamp>);

/// The log of an instance.
pub(super) struct BoxedLog {
    name: InstanceId,
    /// Where the engine listens.
    engine: String,
    /// What containers there are; `None` = the log ends with the one that there is.
    board: Option<Board>,
    life: Life,
    output: Option<Output>,
    lines: Lines,
}

impl BoxedLog {
    /// Begins with so many lines from before of the container that there is.
    pub(super) async fn open(
        (name, container, started): (&InstanceId, String, Option<Timestamp>),
        engine: &str,
        tail: usize,
        board: Option<Board>,
    ) -> Result<Self, EngineError> {
        let reached = Engine::connect(engine).await?;
        let part = LogPart { last: Some(tail), since: None, follow: board.is_some() };
        let output: Output = Box::pin(reached.follow(&container, part));
        Ok(Self {
            name: name.clone(),
            engine: engine.to_owned(),
            board,
            life: (container, started),
            output: Some(output),
            lines: Lines::default(),
        })
    }

    /// Waits for lines; says whether more may come.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has been read is in `ready` or comes with the next call.
    pub(super) async fn fill(&mut self, ready: &mut VecDeque<Vec<u8>>) -> bool {
        let Some(output) = &mut self.output else { return self.go_on().await };
        match output.next().await {
            Some(Ok(bytes)) => {
                self.lines.feed(&bytes, |line| ready.push_back(line.to_vec()));
                return true;
            }
            Some(Err(error)) => {
                debug!(error = %Chain(&error), "a log cannot be followed any further");
                self.board = None;
            }
            None => {}
        }
        self.lines.finish(|line| ready.push_back(line.to_vec()));
        self.output = None;
        self.board.is_some()
    }

    /// Waits for the next life of the instance.
    async fn go_on(&mut self) -> bool {
        let Some(board) = &mut self.board else { return false };
        let (name, before) = (&self.name, &self.life);
        let next = board.wait_for(|all| all.get(name).is_some_and(|info| is_next(info, before)));
        // An error says that the runtime has ended.
        let Ok(info) = next.await.map(|all| all.get(name).cloned()) else { return false };
        let Some((container, started)) =
            info.and_then(|info| Some((info.container?, info.started)))
        else {
            return true;
        };
        let reached = match Engine::connect(&self.engine).await {
            Ok(reached) => reached,
            Err(error) => {
                debug!(error = %Chain(&error), "a log cannot be followed any further");
                return false;
            }
        };
        // The same container has the lines of all its lives.
        let since = started.filter(|_| container == self.life.0);
        let part = LogPart { last: None, since, follow: true };
        self.output = Some(Box::pin(reached.follow(&container, part)));
        self.life = (container, started);
        true
    }
}

fn is_next(info: &ContainerInfo, (container, started): &Life) -> bool {
    let is_other = info.container.as_ref() != Some(container) || info.started != *started;
    info.state == ContainerState::Running && info.container.is_some() && is_other
}
