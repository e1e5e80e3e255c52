//! PURE: markers of a template and what stands in their place.

use std::collections::BTreeMap;

/// What stands in the place of each marker.
pub(super) type Values = BTreeMap<&'static str, String>;

/// Puts the values in the place of their markers. A line in which every marker is empty and that
/// holds nothing else is left out.
pub(super) fn fill(template: &str, values: &Values) -> String {
    let mut filled = String::with_capacity(template.len());
    for line in template.split_inclusive('\n') {
        let text = fill_line(line, values);
        if text.trim().is_empty() && !line.trim().is_empty() {
            continue;
        }
        filled.push_str(&text);
    }
    filled
}

fn fill_line(line: &str, values: &Values) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('@') {
        text.push_str(before);
        let marker = after.split_once('@').and_then(|(name, left)| Some((values.get(name)?, left)));
        if let Some((value, left)) = marker {
            text.push_str(value);
            rest = left;
        } else {
            text.push('@');
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// The first marker in a text that nothing stands for.
#[cfg(test)]
pub(super) fn marker_left(text: &str) -> Option<&str> {
    text.split('@')
        .skip(1)
        .find(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_filled_and_other_at_signs_stay() {
        let values = Values::from([("ID", "a-b".to_owned()), ("NONE", String::new())]);
        for (template, expected) in [
            ("x @ID@ y", "x a-b y"),
            ("@ID@@ID@\n", "a-ba-b\n"),
            ("  @NONE@\nnext\n", "next\n"),
            ("keep @NONE@\n\nnext", "keep \n\nnext"),
            ("actions/checkout@v4", "actions/checkout@v4"),
            ("\"$@\" @metafleet/worker @ID@", "\"$@\" @metafleet/worker a-b"),
            ("@OTHER@", "@OTHER@"),
        ] {
            assert_eq!(fill(template, &values), expected, "{template:?}");
        }
        assert_eq!(marker_left("a @OTHER@ b"), Some("OTHER"));
        assert_eq!(marker_left("a@b \"$@\" @x@ @"), None);
    }
}
