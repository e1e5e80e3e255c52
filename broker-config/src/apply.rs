//! Puts a topology on a server: creates what is missing, changes what differs, and refuses what
//! would lose messages.

mod consumers;
mod keepers;
mod passing;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, stream};

pub use self::consumers::make_consumer;
use crate::names::Names;
use crate::topology::{Discard, Retention, StreamSpec, TaskConsumerSpec, Topology};

/// The least JetStream API level that has everything the fleet needs (nats-server 2.12).
pub const API_LEVEL: usize = 2;

/// Why a topology could not be put on a server.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The server does not offer JetStream to this account, or did not answer.
    #[error(
        "the server does not answer JetStream requests (is JetStream enabled for this account?)"
    )]
    NoJetStream(#[source] async_nats::jetstream::context::AccountError),
    /// The server is too old.
    #[error(
        "nats-server {version} has JetStream API level {level}, MetaFleet needs {API_LEVEL} (nats-server 2.12 or newer; 2.15.1 is recommended)"
    )]
    TooOld {
        /// What the server says it is.
        version: String,
        /// The level it has.
        level: usize,
    },
    /// A stream exists in a shape that cannot be changed without losing messages.
    #[error("stream {stream} was left as it is: {}", reasons.join("; "))]
    WouldLose {
        /// The stream.
        stream: String,
        /// Each change that would lose messages.
        reasons: Vec<String>,
    },
    /// The server refused.
    #[error("the server refused to {action} {name}")]
    Refused {
        /// `create`, `update` or `read`.
        action: &'static str,
        /// The stream or consumer.
        name: String,
        /// What the server said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What happened, or would happen, to one stream.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// It is as it should be.
    Unchanged,
    /// It does not exist.
    Create,
    /// These settings differ.
    Update {
        /// Setting: found → wanted.
        differences: Vec<String>,
    },
    /// It differs in ways that would lose messages.
    Refuse {
        /// Why.
        reasons: Vec<String>,
    },
}

/// Checks that the server can carry a fleet.
///
/// # Errors
///
/// [`ApplyError::NoJetStream`] and [`ApplyError::TooOld`].
pub async fn check_server(js: &jetstream::Context, version: &str) -> Result<usize, ApplyError> {
    let account = js.query_account().await.map_err(ApplyError::NoJetStream)?;
    check_level(version, account.requests.level)
}

/// Whether a server of this JetStream API level is new enough; one before 2.11 says none, which is
/// read as 0. Pure.
fn check_level(version: &str, level: usize) -> Result<usize, ApplyError> {
    if level < API_LEVEL {
        return Err(ApplyError::TooOld { version: version.to_owned(), level });
    }
    Ok(level)
}

/// Says what [`apply`] would do, stream by stream.
///
/// # Errors
///
/// [`ApplyError::Refused`] when a stream cannot be read.
pub async fn check(
    js: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<(String, Change)>, ApplyError> {
    let mut changes = Vec::new();
    for spec in &topology.streams {
        let change = match find(js, &spec.name).await? {
            Some(found) => keepers::with_missing(js, spec, compare(spec, &found)).await?,
            None => Change::Create,
        };
        changes.push((spec.name.clone(), change));
    }
    Ok(changes)
}

/// Makes the server's streams what `topology` says; doing it twice changes nothing.
///
/// # Errors
///
/// [`ApplyError::WouldLose`] before anything of that stream is touched, [`ApplyError::Refused`]
/// when the server says no. Streams before the failing one have been applied.
pub async fn apply(
    js: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<(String, Change)>, ApplyError> {
    let changes = check(js, topology).await?;
    for (spec, (name, change)) in topology.streams.iter().zip(&changes) {
        match change {
            Change::Unchanged => continue,
            Change::Refuse { reasons } => {
                return Err(ApplyError::WouldLose {
                    stream: name.clone(),
                    reasons: reasons.clone(),
                });
            }
            Change::Create => {
                js.create_stream(config(spec)).await.map_err(|e| refused("create", name, e))?;
            }
            Change::Update { .. } => {
                js.update_stream(config(spec)).await.map_err(|e| refused("update", name, e))?;
            }
        }
        keepers::apply(js, spec).await?;
    }
    Ok(changes)
}

/// Makes those streams anew that are not there, and touches no other; returns which.
///
/// # Errors
///
/// [`ApplyError::Refused`] when a stream cannot be read or made. Those before it have been made.
pub async fn restore(
    js: &jetstream::Context,
    topology: &Topology,
) -> Result<Vec<String>, ApplyError> {
    let mut made = Vec::new();
    for spec in &topology.streams {
        if find(js, &spec.name).await?.is_none() {
            js.create_stream(config(spec)).await.map_err(|e| refused("create", &spec.name, e))?;
            keepers::apply(js, spec).await?;
            made.push(spec.name.clone());
        }
    }
    Ok(made)
}

/// Makes the consumer of a plugin's tasks what `spec` says.
///
/// # Errors
///
/// [`ApplyError::Refused`], for example when another consumer's filter overlaps.
pub async fn apply_consumer(
    js: &jetstream::Context,
    names: &Names,
    spec: &TaskConsumerSpec,
) -> Result<(), ApplyError> {
    use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};

    let config = pull::Config {
        durable_name: Some(spec.name.clone()),
        filter_subject: spec.filter.clone(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: std::time::Duration::from_millis(spec.lease_ms),
        max_deliver: spec.max_deliver,
        max_ack_pending: spec.max_ack_pending,
        max_waiting: spec.max_waiting,
        ..pull::Config::default()
    };
    Box::pin(make_consumer(js, &names.task_stream(), config))
        .await
        .map(drop)
        .map_err(|error| refused("create", &spec.name, error))
}

async fn find(js: &jetstream::Context, name: &str) -> Result<Option<stream::Config>, ApplyError> {
    match js.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(inner) if inner.code() == 404 => Ok(None),
            GetStreamErrorKind::EmptyName
            | GetStreamErrorKind::Request
            | GetStreamErrorKind::InvalidStreamName
            | GetStreamErrorKind::JetStream(_) => Err(refused("read", name, error)),
        },
    }
}

fn refused(
    action: &'static str,
    name: &str,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> ApplyError {
    ApplyError::Refused { action, name: name.to_owned(), cause: Box::new(cause) }
}

/// Compares a stream with what it should be; pure.
#[must_use]
pub fn compare(spec: &StreamSpec, found: &stream::Config) -> Change {
    let wanted = config(spec);
    let mut reasons = Vec::new();
    let mut differences = Vec::new();
    if found.retention != wanted.retention {
        reasons.push(format!("retention is {:?}, not {:?}", found.retention, wanted.retention));
    }
    if found.storage != wanted.storage {
        reasons.push(format!("storage is {:?}, not {:?}", found.storage, wanted.storage));
    }
    for subject in &found.subjects {
        if !wanted.subjects.contains(subject) {
            reasons.push(format!("it also keeps `{subject}`"));
        }
    }
    // A tighter limit drops what is over it at once.
    let tighter = |found: i64, wanted: i64| wanted > 0 && (found <= 0 || found > wanted);
    if tighter(found.max_messages_per_subject, wanted.max_messages_per_subject) {
        reasons.push(format!(
            "messages per subject would shrink from {} to {}",
            found.max_messages_per_subject, wanted.max_messages_per_subject
        ));
    }
    if tighter(found.max_bytes, wanted.max_bytes) {
        reasons
            .push(format!("bytes would shrink from {} to {}", found.max_bytes, wanted.max_bytes));
    }
    if !wanted.max_age.is_zero() && (found.max_age.is_zero() || found.max_age > wanted.max_age) {
        reasons.push(format!("age would shrink from {:?} to {:?}", found.max_age, wanted.max_age));
    }
    if !reasons.is_empty() {
        return Change::Refuse { reasons };
    }
    let mut differ = |name: &str, found: String, wanted: String| {
        if found != wanted {
            differences.push(format!("{name}: {found} → {wanted}"));
        }
    };
    differ("subjects", sorted(&found.subjects), sorted(&wanted.subjects));
    differ("max_age", format!("{:?}", found.max_age), format!("{:?}", wanted.max_age));
    differ(
        "max_messages_per_subject",
        unlimited(found.max_messages_per_subject),
        unlimited(wanted.max_messages_per_subject),
    );
    differ("max_bytes", unlimited(found.max_bytes), unlimited(wanted.max_bytes));
    differ("discard", format!("{:?}", found.discard), format!("{:?}", wanted.discard));
    differ("replicas", found.num_replicas.to_string(), wanted.num_replicas.to_string());
    differ("max_consumers", found.max_consumers.to_string(), wanted.max_consumers.to_string());
    differ("allow_direct", found.allow_direct.to_string(), wanted.allow_direct.to_string());
    differ("deny_delete", found.deny_delete.to_string(), wanted.deny_delete.to_string());
    differ("allow_rollup_hdrs", found.allow_rollup.to_string(), wanted.allow_rollup.to_string());
    differ("no_ack", found.no_ack.to_string(), wanted.no_ack.to_string());
    differ("republish", format!("{:?}", found.republish), format!("{:?}", wanted.republish));
    differ("deny_purge", found.deny_purge.to_string(), wanted.deny_purge.to_string());
    differ(
        "duplicate_window",
        format!("{:?}", found.duplicate_window),
        format!("{:?}", wanted.duplicate_window),
    );
    differ(
        "allow_msg_schedules",
        found.allow_message_schedules.to_string(),
        wanted.allow_message_schedules.to_string(),
    );
    differ(
        "allow_msg_ttl",
        found.allow_message_ttl.to_string(),
        wanted.allow_message_ttl.to_string(),
    );
    if differences.is_empty() { Change::Unchanged } else { Change::Update { differences } }
}

fn sorted(subjects: &[String]) -> String {
    let mut subjects = subjects.to_vec();
    subjects.sort();
    subjects.join(",")
}

fn unlimited(limit: i64) -> String {
    if limit <= 0 { "no limit".to_owned() } else { limit.to_string() }
}

fn config(spec: &StreamSpec) -> stream::Config {
    stream::Config {
        name: spec.name.clone(),
        description: Some(spec.description.to_owned()),
        subjects: spec.subjects.clone(),
        retention: match spec.retention {
            Retention::Limits => stream::RetentionPolicy::Limits,
            Retention::WorkQueue => stream::RetentionPolicy::WorkQueue,
        },
        discard: match spec.discard {
            Discard::Old => stream::DiscardPolicy::Old,
            Discard::New => stream::DiscardPolicy::New,
        },
        storage: stream::StorageType::File,
        max_age: spec.max_age,
        max_messages_per_subject: spec.max_messages_per_subject,
        max_bytes: spec.max_bytes,
        duplicate_window: if spec.max_age.is_zero() {
            spec.duplicate_window
        } else {
            spec.duplicate_window.min(spec.max_age)
        },
        // A schedule takes the place of the one before, so that the server insists on it there.
        allow_rollup: spec.allow_schedules,
        allow_direct: true,
        allow_message_ttl: spec.allow_ttl,
        allow_message_schedules: spec.allow_schedules,
        deny_delete: spec.deny_delete,
        deny_purge: spec.deny_purge,
        num_replicas: spec.replicas,
        max_consumers: spec.max_consumers,
        ..stream::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_told_so() {
        for (version, level, new_enough) in
            [("2.10.29", 0, false), ("2.11.10", 1, false), ("2.12.0", 2, true), ("2.15.1", 5, true)]
        {
            match check_level(version, level) {
                Ok(found) => assert!(new_enough && found == level, "{version}"),
                Err(error) => {
                    assert!(!new_enough, "{version}: {error}");
                    let said = error.to_string();
                    for part in [version, &format!("level {level}"), "needs 2", "2.12 or newer"] {
                        assert!(said.contains(part), "{part}: {said}");
                    }
                }
            }
        }
    }

    #[test]
    fn changes_that_would_lose_messages_are_refused() {
        let spec = Topology::of(&Names::default(), 1)
            .streams
            .into_iter()
            .find(|s| s.name == "MF_EVENTS")
            .unwrap();
        type Edit = fn(&mut stream::Config);
        let table: [(&str, Edit, &str); 9] = [
            ("the same", |_| {}, "unchanged"),
            ("other retention", |c| c.retention = stream::RetentionPolicy::Interest, "refuse"),
            ("in memory", |c| c.storage = stream::StorageType::Memory, "refuse"),
            ("more subjects", |c| c.subjects.push("other.>".into()), "refuse"),
            ("kept for longer", |c| c.max_age = std::time::Duration::ZERO, "refuse"),
            ("kept for shorter", |c| c.max_age = std::time::Duration::from_secs(5), "update"),
            ("fewer consumers", |c| c.max_consumers = 10, "update"),
            ("one message may take the place of all", |c| c.allow_rollup = true, "update"),
            (
                "repetitions known for shorter",
                |c| c.duplicate_window = std::time::Duration::from_secs(1),
                "update",
            ),
        ];
        for (case, edit, expected) in table {
            let mut found = config(&spec);
            edit(&mut found);
            let change = match compare(&spec, &found) {
                Change::Unchanged => "unchanged",
                Change::Create => "create",
                Change::Update { .. } => "update",
                Change::Refuse { .. } => "refuse",
            };
            assert_eq!(change, expected, "{case}");
        }
    }
}
