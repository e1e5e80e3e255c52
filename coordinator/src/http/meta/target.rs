//! Whose metadata a request is about, and under which condition.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use broker_config::{Cid, MetaKey};
use sha2::{Digest as _, Sha256};

use super::super::Peer;
use super::super::problem::Problem;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A person, or a program in the person's name.
    Person,
    /// The attempt with this token.
    Attempt(String),
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) who: Who,
    pub(super) cid: Cid,
    key: Option<MetaKey>,
    pub(super) condition: Condition,
}

impl Target {
    pub(super) fn key(&self) -> Result<MetaKey, Problem> {
        self.key.clone().ok_or_else(|| Problem::not_found("there is no key in the path"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (mut token, mut cid, mut key) = (None, None, None);
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request(error.to_string()))?;
        for (name, value) in &params {
            let invalid = |error: &dyn std::fmt::Display| Problem::bad_request(error.to_string());
            match name {
                "token" => token = Some(value.to_owned()),
                "cid" => cid = Some(value.parse::<Cid>().map_err(|error| invalid(&error))?),
                _ => key = Some(value.parse::<MetaKey>().map_err(|error| invalid(&error))?),
            }
        }
        let who = match token {
            Some(token) => Who::Attempt(token),
            None => {
                let peer = parts.extensions.get::<Peer>();
                if !peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback()) {
                    let detail = "without a task, metadata is for programs of this machine";
                    return Err(Problem::forbidden(detail));
                }
                Who::Person
            }
        };
        let cid = cid.ok_or_else(|| Problem::not_found("there is no file in the path"))?;
        let condition = Condition::of(&parts.headers);
        Ok(Self { who, cid, key, condition })
    }
}

/// `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Condition {
    matches: Option<String>,
    none_matches: Option<String>,
}

impl Condition {
    pub(in crate::http) fn of(headers: &HeaderMap) -> Self {
        let all = |name: HeaderName| {
            let values: Vec<&str> =
                headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("")).collect();
            (!values.is_empty()).then(|| values.join(","))
        };
        Self { matches: all(header::IF_MATCH), none_matches: all(header::IF_NONE_MATCH) }
    }

    /// Whether it asks for nothing.
    pub(in crate::http) const fn is_none(&self) -> bool {
        self.matches.is_none() && self.none_matches.is_none()
    }

    /// Whether what is there, with this tag, may be written over.
    pub(in crate::http) fn allows(&self, tag: Option<&str>) -> Result<(), Problem> {
        let wanted = self.matches.as_ref().is_none_or(|list| listed(list, tag));
        let unwanted = self.none_matches.as_ref().is_some_and(|list| listed(list, tag));
        if wanted && !unwanted {
            return Ok(());
        }
        let detail = "what is there is not what the condition says; read it again";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail))
    }

    /// Whether the reader has what is there already.
    pub(in crate::http) fn is_fresh(&self, tag: &str) -> bool {
        self.none_matches.as_ref().is_some_and(|list| listed(list, Some(tag)))
    }
}

fn listed(list: &str, tag: Option<&str>) -> bool {
    let Some(tag) = tag else { return false };
    list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// The tag of a value or a file.
pub(in crate::http) fn tag_of(content: &str) -> String {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
    format!("\"{}\"", hash.get(..32).unwrap_or(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_by_the_table() {
        let (a, b) = (tag_of("a"), tag_of("b"));
        let both = format!("{b}, W/{a}");
        for (matches, none_matches, there, allowed) in [
            (None, None, None, true),
            (Some(a.as_str()), None, Some(&a), true),
            (Some(a.as_str()), None, Some(&b), false),
            (Some(both.as_str()), None, Some(&a), true),
            (Some("*"), None, Some(&a), true),
            (Some("*"), None, None, false),
            (None, Some("*"), None, true),
            (None, Some("*"), Some(&a), false),
            (None, Some(a.as_str()), Some(&b), true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in
                [(header::IF_MATCH, matches), (header::IF_NONE_MATCH, none_matches)]
            {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            let condition = Condition::of(&headers);
            let found = condition.allows(there.map(String::as_str)).is_ok();
            assert_eq!(found, allowed, "{matches:?} {none_matches:?} {there:?}");
        }
    }
}
