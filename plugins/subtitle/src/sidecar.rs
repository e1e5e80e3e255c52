//! PURE  which of the files beside a video are subtitles.

use std::collections::BTreeSet;

use serde::Deserialize;
use worker_sdk::MetaValue;

/// Subtitle files of one video that are described, in the order of their names.
pub const MOST: usize = 64;

const EXTENSIONS: &[&str] =
    &["ass", "dfxp", "idx", "sami", "smi", "srt", "ssa", "sub", "sup", "ttml", "txt", "vtt"];

/// One entry of `file/sidecars`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
}

/// The names in `file/sidecars` that may be subtitles, sorted.
#[must_use]
pub fn names(sidecars: Option<&MetaValue>) -> Vec<String> {
    let entries: Vec<Entry> = match sidecars {
        Some(MetaValue::Json(list)) => serde_json::from_value(list.clone()).unwrap_or_default(),
        Some(MetaValue::Text(_) | MetaValue::Set(_)) | None => Vec::new(),
    };
    let names: BTreeSet<String> =
        entries.into_iter().map(|entry| entry.name).filter(|name| is_candidate(name)).collect();
    let pictures_of_an_index = |name: &String| {
        extension(name).is_some_and(|(stem, extension)| {
            extension.eq_ignore_ascii_case("sub") && names.contains(&format!("{stem}.idx"))
        })
    };
    names.iter().filter(|name| !pictures_of_an_index(name)).take(MOST).cloned().collect()
}

/// A name, not a path, with the extension of a subtitle.
fn is_candidate(name: &str) -> bool {
    let of_subtitle =
        |extension: &str| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension));
    !name.contains(['/', '\0']) && extension(name).is_some_and(|(_, found)| of_subtitle(found))
}

fn extension(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_names_of_subtitles_are_taken() {
        for (list, expected) in [
            (
                json!([{"name": "a.en.srt", "size": 1}, {"name": "a.ASS"}]),
                &["a.ASS", "a.en.srt"][..],
            ),
            (json!([{"name": "a.nfo"}, {"name": "srt"}, {"name": "a.xml"}]), &[]),
            (json!([{"name": "../b.srt"}, {"name": "/etc/b.srt"}]), &[]),
            (json!([{"name": "a.sub"}, {"name": "a.idx"}]), &["a.idx"]),
            (json!([{"name": "a.sub"}]), &["a.sub"]),
            (json!([{"name": "a.srt"}, {"name": "a.srt"}]), &["a.srt"]),
            (json!([{"size": 1}]), &[]),
            (json!({"name": "a.srt"}), &[]),
        ] {
            assert_eq!(names(Some(&MetaValue::Json(list.clone()))), expected, "{list}");
        }
        assert!(names(Some(&MetaValue::Set(BTreeSet::new()))).is_empty());
        assert!(names(None).is_empty());
    }
}
