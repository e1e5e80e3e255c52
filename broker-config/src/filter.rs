//! Which files a plugin wants; decided by the coordinator before a task is published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::file::FileFacts;

/// Criteria that must all hold; an absent one always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Filter {
    /// Media types; `video/*` matches every video. Any one must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_types: Option<Vec<String>>,
    /// File name extensions without the dot, case ignored. Any one must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
    /// Smallest size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u64>,
    /// Largest size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
}

impl Filter {
    /// Says why `file` is not wanted, or `None` if it is.
    #[must_use]
    pub fn mismatch(&self, file: &FileFacts) -> Option<String> {
        if let Some(wanted) = &self.mime_types
            && !wanted.iter().any(|pattern| mime_matches(pattern, &file.mime))
        {
            return Some(format!("mime type {} does not match filter", file.mime));
        }
        if let Some(wanted) = &self.extensions
            && !wanted
                .iter()
                .any(|want| want.trim_start_matches('.').eq_ignore_ascii_case(&file.extension))
        {
            return Some(format!("extension `{}` does not match filter", file.extension));
        }
        if let Some(least) = self.min_size.filter(|&least| file.size < least) {
            return Some(format!("size {} is under {least}", file.size));
        }
        if let Some(most) = self.max_size.filter(|&most| file.size > most) {
            return Some(format!("size {} is over {most}", file.size));
        }
        None
    }
}

fn mime_matches(pattern: &str, mime: &str) -> bool {
    let mime = mime.split(';').next().unwrap_or(mime).trim();
    match pattern.strip_suffix("/*") {
        Some("*") => true,
        Some(major) => mime.split('/').next().is_some_and(|m| m.eq_ignore_ascii_case(major)),
        None => pattern == "*" || pattern.eq_ignore_ascii_case(mime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_criterion_must_hold() {
        let file = FileFacts {
            size: 100,
            mime: "video/x-matroska".into(),
            extension: "mkv".into(),
            ..FileFacts::default()
        };
        let list = |items: &[&str]| Some(items.iter().map(|&s| s.to_owned()).collect());
        let all = Filter::default();
        for (case, filter, wanted) in [
            ("no filter", all.clone(), true),
            ("major type", Filter { mime_types: list(&["video/*"]), ..all.clone() }, true),
            ("any type", Filter { mime_types: list(&["*/*"]), ..all.clone() }, true),
            (
                "second type",
                Filter { mime_types: list(&["a/b", "VIDEO/x-matroska"]), ..all.clone() },
                true,
            ),
            ("other type", Filter { mime_types: list(&["audio/*"]), ..all.clone() }, false),
            ("no type at all", Filter { mime_types: list(&[]), ..all.clone() }, false),
            ("extension", Filter { extensions: list(&["MKV"]), ..all.clone() }, true),
            ("dotted", Filter { extensions: list(&[".mkv"]), ..all.clone() }, true),
            ("other extension", Filter { extensions: list(&["mp4"]), ..all.clone() }, false),
            ("large enough", Filter { min_size: Some(100), ..all.clone() }, true),
            ("too small", Filter { min_size: Some(101), ..all.clone() }, false),
            ("small enough", Filter { max_size: Some(100), ..all.clone() }, true),
            ("too large", Filter { max_size: Some(99), ..all.clone() }, false),
            (
                "one of two holds",
                Filter { extensions: list(&["mkv"]), max_size: Some(1), ..all },
                false,
            ),
        ] {
            assert_eq!(filter.mismatch(&file).is_none(), wanted, "{case}");
        }
    }
}
