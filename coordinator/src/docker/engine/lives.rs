//! Single containers, whoever made them: their signals, their ends, their labels.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::time::sleep;

use super::super::found::{Exit, State};
use super::look::state_of;
use super::{CALL, Engine, EngineError, within};

/// Between two looks at a container that the engine says nothing about.
const PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Sends a signal to the first process of a container.
    ///
    /// # Errors
    ///
    /// [`EngineError`], also when the container does not run.
    pub async fn kill(&self, id: &str, signal: i32) -> Result<(), EngineError> {
        let what = format!("send signal {signal} to the container {id}");
        let options = KillContainerOptionsBuilder::new().signal(&signal.to_string()).build();
        within(&what, CALL, self.docker.kill_container(id, Some(options))).await
    }

    /// Waits, without a limit of time, until a container that was started has ended.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn ended(&self, id: &str) -> Result<Exit, EngineError> {
        let what = format!("look at the container {id}");
        loop {
            // Whatever it says, also that its own time is over, the look says how it is.
            let mut wait = std::pin::pin!(self.docker.wait_container(id, None));
            let _said = wait.next().await;
            let inspected = self.docker.inspect_container(id, None);
            let inspected = within(&what, CALL, inspected).await?;
            if let State::Exited(exit) = state_of(&inspected.state.unwrap_or_default()) {
                return Ok(exit);
            }
            sleep(PAUSE).await;
        }
    }

    /// All containers that have a label, with all labels of each.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn labelled(
        &self,
        label: &str,
    ) -> Result<Vec<(String, BTreeMap<String, String>)>, EngineError> {
        let filters = HashMap::from([("label", vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let call = self.docker.list_containers(Some(options));
        let found = within("list containers", CALL, call).await?;
        let named = found.into_iter().filter_map(|summary| {
            Some((summary.id?, summary.labels.unwrap_or_default().into_iter().collect()))
        });
        Ok(named.collect())
    }
}
