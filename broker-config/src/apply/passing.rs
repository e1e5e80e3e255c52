//! Which refusals pass by themselves.

use async_nats::jetstream::context::{
    AccountErrorKind, CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::jetstream::{Error, ErrorCode};

use super::ApplyError;

/// What a server says that is not ready yet, or a cluster without a leader.
const NOT_READY: [ErrorCode; 6] = [
    ErrorCode::CLUSTER_INCOMPLETE,
    ErrorCode::CLUSTER_NO_PEERS,
    ErrorCode::CLUSTER_NOT_ACTIVE,
    ErrorCode::CLUSTER_NOT_ASSIGNED,
    ErrorCode::CLUSTER_NOT_AVAILABLE,
    ErrorCode::CLUSTER_NOT_LEADER,
];

impl ApplyError {
    /// Whether the same may succeed in a while, with nobody doing anything about it.
    ///
    /// A server on which nobody answers for JetStream has none, or not for this account: that does not
    /// pass. One that has answered for it, and is silent then, has too much to do or is choosing a leader.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoJetStream(cause) => match cause.kind() {
                AccountErrorKind::TimedOut | AccountErrorKind::Other => true,
                AccountErrorKind::JetStreamUnavailable => false,
                AccountErrorKind::JetStream(error) => passes(&error),
            },
            Self::TooOld { .. } | Self::WouldLose { .. } => false,
            Self::Refused { cause, .. } => is_passing(cause.as_ref()),
        }
    }
}

fn passes(error: &Error) -> bool {
    NOT_READY.contains(&error.error_code())
}

fn is_passing(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<GetStreamError>() {
        return match error.kind() {
            GetStreamErrorKind::Request => true,
            GetStreamErrorKind::JetStream(error) => passes(&error),
            GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => false,
        };
    }
    if let Some(error) = cause.downcast_ref::<CreateStreamError>() {
        return match error.kind() {
            CreateStreamErrorKind::TimedOut
            | CreateStreamErrorKind::JetStreamUnavailable
            | CreateStreamErrorKind::Response => true,
            CreateStreamErrorKind::JetStream(error) => passes(&error),
            CreateStreamErrorKind::EmptyStreamName
            | CreateStreamErrorKind::InvalidStreamName
            | CreateStreamErrorKind::DomainAndExternalSet
            | CreateStreamErrorKind::NotFound
            | CreateStreamErrorKind::ResponseParse => false,
        };
    }
    if let Some(error) = cause.downcast_ref::<ConsumerError>() {
        return match error.kind() {
            ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request => true,
            ConsumerErrorKind::JetStream(error) => passes(&error),
            ConsumerErrorKind::InvalidConsumerType
            | ConsumerErrorKind::InvalidName
            | ConsumerErrorKind::Other => false,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::context::AccountError;

    use super::*;

    fn said(code: u64) -> Error {
        let error = serde_json::json!({ "code": 500, "err_code": code, "description": "no" });
        serde_json::from_value(error).unwrap()
    }

    fn refused(cause: impl std::error::Error + Send + Sync + 'static) -> ApplyError {
        super::super::refused("create", "S", cause)
    }

    #[test]
    fn only_what_nobody_has_to_do_anything_about_passes() {
        use CreateStreamErrorKind as Create;
        use GetStreamErrorKind as Get;
        let account = |kind| ApplyError::NoJetStream(AccountError::new(kind));
        let create = |kind| refused(CreateStreamError::new(kind));
        let get = |kind| refused(GetStreamError::new(kind));
        let consumer = |kind| refused(ConsumerError::new(kind));
        let shape = ApplyError::WouldLose { stream: "S".into(), reasons: Vec::new() };
        for (case, error, expected) in [
            ("no answer", account(AccountErrorKind::TimedOut), true),
            ("the connection", account(AccountErrorKind::Other), true),
            ("no JetStream", account(AccountErrorKind::JetStreamUnavailable), false),
            ("none for the account", account(AccountErrorKind::JetStream(said(10_039))), false),
            ("none at all", account(AccountErrorKind::JetStream(said(10_076))), false),
            ("no leader of the cluster", account(AccountErrorKind::JetStream(said(10_008))), true),
            ("too old", ApplyError::TooOld { version: "1".into(), level: 0 }, false),
            ("another shape", shape, false),
            ("a stream is not told of in time", get(Get::Request), true),
            ("a stream has no leader", get(Get::JetStream(said(10_009))), true),
            ("a stream that nobody may see", get(Get::JetStream(said(10_059))), false),
            ("a name", get(Get::InvalidStreamName), false),
            ("a stream is not made in time", create(Create::TimedOut), true),
            ("nobody answers any more", create(Create::JetStreamUnavailable), true),
            ("servers are missing", create(Create::JetStream(said(10_005))), true),
            ("no room", create(Create::JetStream(said(10_047))), false),
            ("subjects overlap", create(Create::JetStream(said(10_065))), false),
            ("a consumer is not made in time", consumer(ConsumerErrorKind::TimedOut), true),
            ("filters overlap", consumer(ConsumerErrorKind::JetStream(said(10_100))), false),
            ("nothing that is known", refused(std::fmt::Error), false),
        ] {
            assert_eq!(error.is_passing(), expected, "{case}");
        }
    }
}
