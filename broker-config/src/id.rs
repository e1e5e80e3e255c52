//! Names that identify things; each is a validated newtype, so that an invalid one cannot exist.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The text cannot be the kind of name that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{text}` {rule}")]
pub struct InvalidId {
    /// What the text should have been, e.g. `plugin id`.
    pub kind: &'static str,
    /// The text as it came, shortened.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    let text = text.chars().take(80).collect();
                    Err(InvalidId { kind: $kind, text, rule: $rule })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

text_id!(
    /// Names a plugin, e.g. `ffmpeg`; safe as a token of a subject, a consumer or a container name.
    PluginId,
    "plugin id",
    "must be 1 to 64 characters of `a-z`, `0-9` or `-`, not beginning or ending with `-`",
    is_label
);

text_id!(
    /// Names one running process or container of a plugin, e.g. `plugin-ffmpeg-1-4f2a`.
    InstanceId,
    "instance id",
    "must be 1 to 128 characters of `A-Z`, `a-z`, `0-9`, `_` or `-`",
    |text| (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

text_id!(
    /// The content id of a file: what all its metadata is filed under, whatever its paths.
    ///
    /// Any text without control characters; [`crate::codec`] makes it a token.
    Cid,
    "content id",
    "must be 1 to 255 bytes without control characters",
    |text| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
);

text_id!(
    /// Names something that a plugin made of a file, e.g. `still.jpg`; unique per file and plugin.
    ///
    /// [`crate::codec`] makes it a token.
    ArtifactName,
    "name of an artefact",
    "must be 1 to 128 bytes without control characters",
    |text| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
);

text_id!(
    /// The first token of all subjects of a fleet, `mf` unless told otherwise.
    Prefix,
    "prefix",
    "must be 1 to 24 characters of `a-z`, `0-9` or `-`, not beginning or ending with `-`",
    |text| text.len() <= 24 && is_label(text)
);

impl PluginId {
    /// The id under which the person's own edits are kept; no plugin may announce it.
    pub const USER: &'static str = "user";

    /// The login of the coordinator at a broker; no plugin may announce it.
    pub const COORDINATOR: &'static str = "coordinator";

    /// What this id is kept for, if no plugin may have it: the rule for manifests, `plugins.yml`,
    /// accounts and logins, wherever those are written.
    #[must_use]
    pub fn kept_for(&self) -> Option<&'static str> {
        match self.as_str() {
            Self::USER => Some("the person's own edits"),
            Self::COORDINATOR => Some("the coordinator's login at the broker"),
            _ => None,
        }
    }

    /// The author of the person's own layer of metadata.
    #[must_use]
    pub fn user() -> Self {
        Self(Self::USER.to_owned())
    }

    /// Whether this is the person's layer and not a plugin.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.0 == Self::USER
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("mf".to_owned())
    }
}

/// One pass of one file through the graph: the stream sequence of the submission that opened it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

text_id!(
    /// Names one task: a UUID that follows from what the task is, so that whoever publishes the
    /// same work again, also after a restart, gives it the same name.
    TaskId,
    "task id",
    "must be a UUID in lower case",
    |text| text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
);

impl TaskId {
    /// Derives the id (UUID version 8) of the attempt series that turns record revision
    /// `replaces` of (`cid`, `plugin`) into one with `fingerprint`.
    #[must_use]
    pub fn derive(cid: &Cid, plugin: &PluginId, fingerprint: &str, replaces: u64) -> Self {
        let mut hash = Sha256::new();
        for part in [cid.as_str(), plugin.as_str(), fingerprint] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(replaces.to_be_bytes());
        let digest = hash.finalize();
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        Self(format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_ids_are_checked_however_they_come() {
        for (text, valid) in [
            ("ffmpeg", true),
            ("a", true),
            ("x-1", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a.b", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(text.parse::<PluginId>().is_ok(), valid, "{text}");
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(serde_json::from_str::<PluginId>(&json).is_ok(), valid, "{text} as JSON");
        }
        assert!("a".repeat(65).parse::<PluginId>().is_err());
    }

    #[test]
    fn some_ids_are_kept_for_others_than_plugins() {
        for (id, kept_for) in [
            ("user", Some("the person's own edits")),
            ("coordinator", Some("the coordinator's login at the broker")),
            // Logins and accounts of other names stand elsewhere, or in another form.
            ("users", None),
            ("coordinator-2", None),
            ("sys", None),
            ("plugin", None),
            ("fleet", None),
            ("mf", None),
            ("later", None),
        ] {
            let id: PluginId = id.parse().unwrap();
            assert_eq!(id.kept_for(), kept_for, "{id}");
        }
    }

    #[test]
    fn a_task_id_is_a_uuid_that_depends_on_each_part() {
        let cid: Cid = "c".parse().unwrap();
        let (a, b): (PluginId, PluginId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let id = TaskId::derive(&cid, &a, "f", 1);
        assert!(id.as_str().parse::<TaskId>().is_ok());
        assert_eq!(id, TaskId::derive(&cid, &a, "f", 1));
        for other in [
            TaskId::derive(&cid, &b, "f", 1),
            TaskId::derive(&cid, &a, "g", 1),
            TaskId::derive(&cid, &a, "f", 2),
            TaskId::derive(&"d".parse().unwrap(), &a, "f", 1),
        ] {
            assert_ne!(id, other);
        }
    }
}
