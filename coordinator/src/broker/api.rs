//! Requests to the broker's JetStream API whose refusal counts as a failure.
//!
//! The client reads an answer as whatever is asked for, so that a refusal looks like a success to
//! who only asks whether there was an answer.

use std::collections::BTreeSet;

use async_nats::{Client, RequestError, RequestErrorKind};
use broker_config::read::message_at;
use broker_config::{Lane, Names, PluginId, Queue, RouteName};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Broker;

/// The server's code when nobody listens to a request.
const NO_RESPONDERS: u64 = 503;

/// Why somebody who no longer leads changes nothing.
pub const DEPOSED: &str = "this coordinator does not lead any more";
/// Requests that change nothing end so, before the names of what they are about.
const READS: [&str; 6] = ["INFO", "NAMES", "LIST", "MSG.GET", "DIRECT.GET", "MSG.NEXT"];

/// Whether a request changes anything; what is not known to read does.
fn changes(what: &str) -> bool {
    let after = what.split_once('.').map_or(what, |(_, after)| after);
    !READS.iter().any(|read| what.starts_with(read) || after.starts_with(read))
}

/// The broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer came; asking again is safe.
    #[error("{what} was not answered")]
    Away {
        /// What was asked.
        what: String,
        /// What the client says.
        #[source]
        cause: RequestError,
    },
    /// It said no.
    #[error("{what} was refused: {description} ({code})")]
    Refused {
        /// What was asked.
        what: String,
        /// The server's HTTP-like code; 404 = there is none.
        code: u64,
        /// Its words.
        description: String,
    },
}

impl ApiError {
    /// Whether what was asked for is not there.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }
}

/// Asks the JetStream API, e.g. `STREAM.INFO.MF_TASKS`; a body that is null is left out.
///
/// # Errors
///
/// [`ApiError`]
pub async fn ask(client: &Client, what: String, body: &Value) -> Result<Value, ApiError> {
    let payload = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let refused = |what, code, description: &str| {
        Err(ApiError::Refused { what, code, description: description.to_owned() })
    };
    let answer = match client.request(format!("$JS.API.{what}"), payload).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            return refused(what, NO_RESPONDERS, "JetStream is not enabled for this account");
        }
        Err(cause) => return Err(ApiError::Away { what, cause }),
    };
    let Ok(answer) = serde_json::from_slice::<Value>(&answer.payload) else {
        return refused(what, 0, "the answer is no JSON");
    };
    let Some(error) = answer.get("error") else { return Ok(answer) };
    let code = error.get("code").and_then(Value::as_u64).unwrap_or(0);
    refused(what, code, error.get("description").and_then(Value::as_str).unwrap_or_default())
}

/// Deletes one message of a stream; one that is gone already is no error.
///
/// # Errors
///
/// [`ApiError`]; the message is still there, or nobody knows.
pub async fn delete_message(client: &Client, stream: &str, sequence: u64) -> Result<(), ApiError> {
    let what = format!("STREAM.MSG.DELETE.{stream}");
    match ask(client, what, &json!({ "seq": sequence, "no_erase": true })).await {
        Ok(_) => Ok(()),
        // The server has no code of its own for "it is gone already".
        Err(error) => match message_at(client, stream, sequence).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(error),
        },
    }
}

impl Broker {
    /// As [`ask`].
    ///
    /// # Errors
    ///
    /// [`ApiError`]
    pub async fn api(&self, what: String, body: &Value) -> Result<Value, ApiError> {
        if changes(&what) {
            self.allowed(&what).await?;
        }
        ask(&self.client, what, body).await
    }

    /// Fails where nothing may be changed any more.
    async fn allowed(&self, what: &str) -> Result<(), ApiError> {
        if self.may_write().await {
            return Ok(());
        }
        let description = DEPOSED.to_owned();
        Err(ApiError::Refused { what: what.to_owned(), code: 0, description })
    }

    /// As [`delete_message`].
    ///
    /// # Errors
    ///
    /// [`ApiError`]; the message is still there, or nobody knows.
    pub async fn delete_message(&self, stream: &str, sequence: u64) -> Result<(), ApiError> {
        self.allowed(&format!("STREAM.MSG.DELETE.{stream}")).await?;
        delete_message(&self.client, stream, sequence).await
    }

    /// Takes all tasks of a plugin out of their stream, and its consumers away.
    ///
    /// # Errors
    ///
    /// The first [`ApiError`]; doing it again is safe.
    pub async fn clear_tasks(&self, plugin: &PluginId) -> Result<(), ApiError> {
        for lane in [Lane::Main, Lane::Next] {
            self.clear_lane(plugin, lane).await?;
        }
        for (id, name) in self.routes().await?.into_iter().filter(|(id, _)| id == plugin) {
            self.clear_lane(&id, Lane::Route(name)).await?;
        }
        Ok(())
    }

    /// The routes that have consumers, of all plugins.
    ///
    /// # Errors
    ///
    /// [`ApiError`]
    pub async fn routes(&self) -> Result<BTreeSet<(PluginId, RouteName)>, ApiError> {
        let what = format!("CONSUMER.NAMES.{}", self.names.task_stream());
        let names = self.all(&what, "consumers").await?;
        let routes = names.iter().filter_map(Value::as_str).filter_map(|name| {
            let (plugin, lane, _) = Names::parse_consumer(name)?;
            Some((plugin, lane.route()?))
        });
        Ok(routes.collect())
    }

    /// All entries of an answer that comes in pages, from its `field`.
    ///
    /// # Errors
    ///
    /// [`ApiError`]
    pub async fn all(&self, what: &str, field: &str) -> Result<Vec<Value>, ApiError> {
        let mut all = Vec::new();
        loop {
            let page = self.api(what.to_owned(), &json!({ "offset": all.len() })).await?;
            let entries = page.get(field).and_then(Value::as_array);
            let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
                return Ok(all);
            };
            all.extend_from_slice(entries);
            if all.len() as u64 >= page.get("total").and_then(Value::as_u64).unwrap_or(0) {
                return Ok(all);
            }
        }
    }

    /// The same for the tasks of one lane.
    ///
    /// # Errors
    ///
    /// As [`Broker::clear_tasks`].
    pub async fn clear_lane(&self, plugin: &PluginId, lane: Lane) -> Result<(), ApiError> {
        let stream = self.names.task_stream();
        // Those that wait for a time first, so that none becomes a task in between.
        self.clear_later(plugin, lane).await?;
        for queue in Queue::ALL {
            self.purge(&stream, &self.names.tasks_in(lane, queue, plugin)).await?;
        }
        for queue in Queue::ALL {
            let consumer = Names::consumer_in(lane, plugin, queue);
            let what = format!("CONSUMER.DELETE.{stream}.{consumer}");
            match self.api(what, &json!({})).await {
                Ok(_) => {}
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes out the tasks of a lane that wait for their time.
    ///
    /// # Errors
    ///
    /// As [`Broker::clear_tasks`].
    pub async fn clear_later(&self, plugin: &PluginId, lane: Lane) -> Result<(), ApiError> {
        self.purge(&self.names.task_stream(), &self.names.all_later_in(lane, plugin)).await
    }

    /// Takes away all that a version of the plugin has said on trial.
    ///
    /// # Errors
    ///
    /// As [`Broker::clear_tasks`].
    pub async fn clear_trials(&self, plugin: &PluginId) -> Result<(), ApiError> {
        self.purge(&self.names.record_stream(), &self.names.trials_of(plugin)).await
    }

    async fn purge(&self, stream: &str, filter: &str) -> Result<(), ApiError> {
        self.api(format!("STREAM.PURGE.{stream}"), &json!({ "filter": filter })).await.map(drop)
    }

    /// The subjects of the task stream that match a filter.
    ///
    /// # Errors
    ///
    /// [`ApiError`]
    pub async fn task_subjects(&self, filter: &str) -> Result<Vec<String>, ApiError> {
        let mut found = Vec::new();
        let what = format!("STREAM.INFO.{}", self.names.task_stream());
        loop {
            let request = json!({ "subjects_filter": filter, "offset": found.len() });
            let info = self.api(what.clone(), &request).await?;
            let page = info.pointer("/state/subjects").and_then(Value::as_object);
            let Some(page) = page.filter(|page| !page.is_empty()) else { return Ok(found) };
            found.extend(page.keys().cloned());
            let total = info.get("total").and_then(Value::as_u64).unwrap_or(0);
            if found.len() as u64 >= total {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_is_told_from_what_changes_something() {
        for (what, expected) in [
            ("INFO", false),
            ("STREAM.INFO.MF_TASKS", false),
            ("STREAM.MSG.GET.MF_TASKS", false),
            ("DIRECT.GET.KV_mf-records", false),
            ("CONSUMER.NAMES.MF_TASKS", false),
            ("CONSUMER.LIST.MF_TASKS", false),
            ("CONSUMER.INFO.MF_TASKS.a_fast", false),
            ("STREAM.PURGE.MF_TASKS", true),
            ("STREAM.MSG.DELETE.MF_TASKS", true),
            ("STREAM.UPDATE.MF_TASKS", true),
            ("CONSUMER.DELETE.MF_TASKS.a_fast", true),
            ("CONSUMER.CREATE.MF_TASKS.INFO", true),
            ("CONSUMER.PAUSE.MF_TASKS.a_fast", true),
        ] {
            assert_eq!(changes(what), expected, "{what}");
        }
    }
}
