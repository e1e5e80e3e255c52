//! PURE: whether two patterns of keys can mean the same key.

/// Whether some key matches both; see [`broker_config::meta::matches_pattern`] for what they mean.
#[must_use]
pub fn overlaps(one: &str, other: &str) -> bool {
    let (one, other): (Vec<&str>, Vec<&str>) =
        (one.split('/').collect(), other.split('/').collect());
    meet(&one, &other)
}

fn meet(one: &[&str], other: &[&str]) -> bool {
    match (one, other) {
        ([], []) => true,
        // At the end, `*` stands for one segment or more.
        (["*"], [_, ..]) | ([_, ..], ["*"]) => true,
        ([a, one @ ..], [b, other @ ..]) => same(a, b) && meet(one, other),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

fn same(a: &str, b: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match (a, b) {
        ("*", _) | (_, "*") | ("{n}", "{n}") => true,
        ("{n}", text) | (text, "{n}") => is_number(text),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_when_a_key_fits_both() {
        for (one, other, expected) in [
            ("title", "title", true),
            ("title", "year", false),
            ("title", "title/0", false),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("a/*", "b/*", false),
            ("*", "anything/at/all", true),
            ("a/{n}/b", "a/3/b", true),
            ("a/{n}/b", "a/x/b", false),
            ("a/{n}/b", "a/*/b", true),
            ("a/{n}/b", "a/{n}/c", false),
            ("a/{n}", "a/{n}", true),
            ("a/*/c", "a/b/*", true),
            ("a/*/c", "a/b/d", false),
            ("a/*", "a/{n}/b/*", true),
        ] {
            assert_eq!(overlaps(one, other), expected, "{one} {other}");
            assert_eq!(overlaps(other, one), expected, "{other} {one}");
        }
    }
}
