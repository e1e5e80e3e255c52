//! What a plugin makes of a file beside metadata: kept in the broker, where everybody can read it.

use async_nats::HeaderMap;
use broker_config::header::CONTENT_TYPE;
use broker_config::{Artifact, Lane, Task};
use bytes::Bytes;
use tracing::Span;

use crate::outcome::Failure;
use crate::rim::Rim;
use crate::telemetry;

/// Stores the bytes that `artifact` describes; returns when the broker has confirmed them.
pub(crate) async fn put(
    rim: &Rim,
    task: &Task,
    carried: Option<&HeaderMap>,
    artifact: Artifact,
    bytes: Bytes,
) -> Result<Artifact, Failure> {
    let lane = if task.trial { Lane::Next } else { Lane::Main };
    let subject = rim.names.artifact(&task.cid, &rim.manifest.id, lane, &artifact.artifact);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, artifact.media_type.as_str());
    telemetry::inject(&Span::current(), carried, &mut headers);
    // The same bytes in the same place: storing them twice does no harm.
    match crate::settle::publish_until_stored(rim, subject, headers, bytes).await {
        Ok(()) => Ok(artifact),
        Err(error) if error.is_retryable() => Err(Failure::retryable(error)),
        Err(error) => Err(Failure::permanent(error)),
    }
}

/// Whether it is a type and a subtype, and maybe parameters, as PROTOCOL.md has it.
pub(crate) fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(fits)
    };
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    // Spaces may stand before the parameters, and nowhere else outside.
    let essence = text.split_once(';').map_or(text, |(essence, _)| essence.trim_end_matches(' '));
    let is_type = essence.split_once('/').is_some_and(|(kind, sub)| is_name(kind) && is_name(sub));
    text.len() <= 255 && is_plain && is_type && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_held_against_the_protocol() {
        let longest = format!("a/{}", "x".repeat(253));
        for text in [
            "image/jpeg",
            "application/vnd.a+b.c-d_e",
            "text/plain; charset=utf-8",
            "text/plain ;x=y",
            "text/plain;",
            "text/plain; title=\"a; b/c\"",
            &longest,
        ] {
            assert!(is_media_type(text), "{text}");
        }
        let too_long = format!("{longest}x");
        for text in [
            "",
            "jpeg",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "a/b c",
            " image/png",
            "image/png ",
            "image/png\n",
            "text/plain; ",
            "é/x",
            "text/plain; x=é",
            "a\r\nMf-Dead-Letter: 1",
            "text/plain\r\nX: y",
            "text/plain; x\ty",
            &too_long,
        ] {
            assert!(!is_media_type(text), "{text:?}");
        }
    }
}
