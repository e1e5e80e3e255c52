//! The few requests to the broker's JetStream API that commands make.

use std::collections::BTreeMap;

use broker_config::id::PluginId;
use broker_config::names::Names;
use broker_config::topology::LATER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Store, StoreError};
use crate::broker::api::{ApiError, ask, delete_message};

/// What a stream holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamState {
    /// Messages kept.
    pub messages: u64,
    /// Sequence of the oldest.
    pub first_seq: u64,
    /// Sequence of the newest that ever was.
    pub last_seq: u64,
    /// Messages by subject, where they were asked for.
    pub subjects: Option<BTreeMap<String, u64>>,
}

/// A consumer's numbers.
#[derive(Clone, Debug, Deserialize)]
pub struct ConsumerState {
    /// Its durable name.
    pub name: String,
    /// Messages not yet delivered.
    #[serde(default)]
    pub num_pending: u64,
    /// Messages delivered and not yet acknowledged.
    #[serde(default)]
    pub num_ack_pending: u64,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
}

/// Far enough that nobody waits for it: a pause ends when somebody ends it.
const PAUSE_UNTIL: &str = "2999-01-01T00:00:00Z";

impl Store {
    /// Asks the JetStream API.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<T, StoreError> {
        let answer = ask(&self.client, what.to_owned(), body).await?;
        let unreadable = |cause| StoreError::Unreadable { what: what.to_owned(), cause };
        serde_json::from_value(answer).map_err(unreadable)
    }

    /// What a stream holds.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where no fleet has been on this broker yet.
    pub async fn stream_state(&self, stream: &str) -> Result<StreamState, StoreError> {
        self.state(stream, &Value::Null).await
    }

    /// Messages of a stream by subject.
    ///
    /// # Errors
    ///
    /// As [`Store::stream_state`].
    pub async fn subjects(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let state = self.state(stream, &json!({ "subjects_filter": filter })).await?;
        Ok(state.subjects.unwrap_or_default())
    }

    async fn state(&self, stream: &str, body: &Value) -> Result<StreamState, StoreError> {
        #[derive(Deserialize)]
        struct Info {
            state: StreamState,
        }
        let info: Info = self.api(&format!("STREAM.INFO.{stream}"), body).await?;
        Ok(info.state)
    }

    /// All consumers of a stream that somebody pulls from, by name.
    ///
    /// # Errors
    ///
    /// As [`Store::stream_state`].
    pub async fn consumers(
        &self,
        stream: &str,
    ) -> Result<BTreeMap<String, ConsumerState>, StoreError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            total: usize,
            consumers: Option<Vec<ConsumerState>>,
        }
        let (mut all, mut offset) = (BTreeMap::new(), 0);
        loop {
            let page: Page =
                self.api(&format!("CONSUMER.LIST.{stream}"), &json!({ "offset": offset })).await?;
            let consumers = page.consumers.unwrap_or_default();
            offset += consumers.len();
            let last = consumers.is_empty() || offset >= page.total;
            let pulled = consumers.into_iter().filter(|found| found.name != LATER);
            all.extend(pulled.map(|found| (found.name.clone(), found)));
            if last {
                return Ok(all);
            }
        }
    }

    /// Whether some of a plugin's files go to workers of their own.
    ///
    /// # Errors
    ///
    /// As [`Store::stream_state`].
    pub async fn has_routes(&self, plugin: &PluginId) -> Result<bool, StoreError> {
        let all = self.consumers(&self.names.task_stream()).await?;
        let lanes = all.keys().filter_map(|name| Names::parse_consumer(name));
        let mut its = lanes.filter(|(of, _, _)| of == plugin);
        Ok(its.any(|(_, lane, _)| lane.route().is_some()))
    }

    /// Stops or restarts the delivery of a plugin's tasks in both queues, for the whole fleet.
    ///
    /// A queue for which the plugin has no consumer is passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not do it.
    pub async fn hold_tasks(&self, plugin: &PluginId, hold: bool) -> Result<(), StoreError> {
        let body = if hold { json!({ "pause_until": PAUSE_UNTIL }) } else { json!({}) };
        let all = self.consumers(&self.names.task_stream()).await?;
        let is_its =
            |name: &&String| Names::parse_consumer(name).is_some_and(|(of, _, _)| of == *plugin);
        for consumer in all.keys().filter(is_its) {
            let what = format!("CONSUMER.PAUSE.{}.{consumer}", self.names.task_stream());
            match self.api::<Value>(&what, &body).await {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes one message of a stream; one that is gone already is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not do it.
    pub async fn delete_message(&self, stream: &str, sequence: u64) -> Result<(), StoreError> {
        Ok(delete_message(&self.client, stream, sequence).await?)
    }
}

impl From<ApiError> for StoreError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Away { what, cause } => Self::Away { what, cause: cause.into() },
            ApiError::Refused { what, code: 404, .. } => Self::NotFound { what },
            ApiError::Refused { what, description, .. } => Self::Refused { what, description },
        }
    }
}
