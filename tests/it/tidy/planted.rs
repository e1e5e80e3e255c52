//! Planted bugs are in no build but that of `make planted`.

use std::collections::BTreeSet;
use std::path::Path;

use broker_config::planted::{Bug, COMPILED_IN, planted};

use super::sources::{Source, all, root, text};

/// The feature, and all that may speak of it.
const FEATURE: &str = "planted-bugs";
const SPEAKS: [(&str, &str); 3] = [
    ("broker-config/Cargo.toml", "planted-bugs = []"),
    ("tests/Cargo.toml", r#"planted-bugs = ["broker-config/planted-bugs"]"#),
    ("tests/planted/planted.py", r#"FEATURE = "integration-tests/planted-bugs""#),
];

#[test]
fn this_build_has_no_planted_bug() {
    // With bugs, this is still to be compiled.
    assert!(!std::hint::black_box(COMPILED_IN));
    assert!(Bug::ALL.into_iter().all(|bug| !planted(bug)));
}

#[test]
fn nothing_but_make_planted_builds_with_planted_bugs() -> anyhow::Result<()> {
    let mut sources = all(&["toml", "py", "sh", "yml", "yaml", "json"])?;
    for path in ["Makefile", ".ci/run"] {
        sources.push(Source { path: path.to_owned(), text: text(&root().join(path))? });
    }
    let mut found = Vec::new();
    for source in sources {
        for line in source.text.lines().map(str::trim).filter(|line| line.contains(FEATURE)) {
            if !SPEAKS.contains(&(source.path.as_str(), line)) {
                found.push(format!("{}: {line}", source.path));
            }
        }
        // Whatever has all features has this one.
        if source.text.contains("--all-features") {
            found.push(format!("{}: --all-features", source.path));
        }
    }
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}

#[test]
fn each_planted_bug_is_somewhere_and_has_its_row() -> anyhow::Result<()> {
    let home = "broker-config/src/planted.rs";
    let product: String = all(&["rs"])?
        .iter()
        .filter(|source| source.is_product() && source.path != home)
        .map(Source::code)
        .collect();
    let rows = text(&root().join(Path::new("tests/CHAOS.md")))?;
    let mut names = BTreeSet::new();
    for bug in Bug::ALL {
        assert!(product.contains(&format!("planted(Bug::{bug:?})")), "{bug:?} is nowhere");
        assert!(rows.contains(&format!("\n| `{}` | ", bug.name())), "{bug:?} has no row");
        assert!(names.insert(bug.name()), "{bug:?}");
    }
    Ok(())
}
