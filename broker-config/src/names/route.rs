//! The name of a route: some of a plugin's tasks, which go to those workers that can do them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::InvalidId;

/// Longest name in bytes; it is a part of consumers' names.
const MOST: usize = 24;
/// Words that stand for other lanes.
const TAKEN: [&str; 2] = ["main", "next"];
const RULE: &str = "must be 1 to 24 characters of `a-z`, `0-9` or `-`, not beginning or ending with \
                    `-`, and not `main` or `next`";

/// Names a route of a plugin, e.g. `gpu`; safe as a part of a token of a subject or a consumer.
///
/// It is kept in place, filled up with zeros, so that a [`super::Lane`] can be copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RouteName([u8; MOST]);

impl RouteName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        // It was made of a text that is all ASCII.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl FromStr for RouteName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = !text.is_empty()
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !TAKEN.contains(&text);
        let mut name = [0; MOST];
        match name.get_mut(..text.len()).filter(|_| is_name) {
            Some(room) => room.copy_from_slice(text.as_bytes()),
            None => {
                let text = text.chars().take(80).collect();
                return Err(InvalidId { kind: "route", text, rule: RULE });
            }
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for RouteName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RouteName> for String {
    fn from(name: RouteName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_token_that_no_other_lane_has() {
        for (text, is_valid) in [
            ("gpu", true),
            ("big-files-2", true),
            ("abcdefghijklmnopqrstuvwx", true),
            ("abcdefghijklmnopqrstuvwxy", false),
            ("", false),
            ("main", false),
            ("next", false),
            ("GPU", false),
            ("a_b", false),
            ("a.b", false),
            ("-a", false),
            ("a-", false),
            ("é", false),
        ] {
            let name = text.parse::<RouteName>();
            assert_eq!(name.is_ok(), is_valid, "{text}");
            if let Ok(name) = name {
                assert_eq!(name.to_string(), text);
                let json = serde_json::to_string(&name).unwrap();
                assert_eq!(serde_json::from_str::<RouteName>(&json).unwrap(), name);
            }
        }
    }
}
