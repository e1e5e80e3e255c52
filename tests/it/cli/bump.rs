//! A new version of a plugin.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::wire::event::Fact;
use integration_tests::cli::Home;
use serde_json::json;

use super::{add, counts_of_scan, ran};

const FILES: usize = 6;

/// How many files each plugin ran on.
fn by_plugin(facts: &[(u64, Fact)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for plugin in ran(facts).into_values().flat_map(BTreeSet::into_iter) {
        *counts.entry(plugin).or_default() += 1;
    }
    counts
}

/// base → reader → last, and a plugin that depends on nobody.
fn graph(behaviour: &str) -> anyhow::Result<Home> {
    let mut home = Home::new()?;
    home.write_many(FILES)?;
    add(&mut home, "base", &[behaviour], &json!({}))?;
    for (id, of) in [("reader", "base"), ("last", "reader")] {
        let reads = [format!("{of}/done")];
        add(&mut home, id, &["same"], &json!({"dependencies": [of], "reads": reads}))?;
    }
    add(&mut home, "other", &["completes"], &json!({}))?;
    Ok(home)
}

#[tokio::test]
async fn a_new_version_runs_again_with_what_reads_its_changed_output_and_nothing_else()
-> anyhow::Result<()> {
    for (behaviour, expected) in [
        // What it writes is another: whoever reads it runs too, and writes the same as before.
        ("completes", vec![("base", FILES), ("reader", FILES)]),
        ("same", vec![("base", FILES)]),
    ] {
        let mut home = graph(behaviour)?;
        let (code, first) = home.scan(&[]).await?;
        assert_eq!((code, &first["tasks"]["completed"]), (0, &json!(4 * FILES)));
        let since = home.next_event().await?;

        add(&mut home, "base", &[behaviour], &json!({"version": "1.0.1"}))?;
        let (code, second) = home.scan(&[]).await?;

        assert_eq!(code, 0, "{second}");
        let facts = home.events(since).await?;
        let expected: BTreeMap<String, usize> =
            expected.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect();
        assert_eq!(by_plugin(&facts), expected, "{behaviour}");
        let again: usize = expected.values().sum();
        let tasks =
            json!({"completed": again, "skipped": 0, "failed": 0, "cached": 4 * FILES - again});
        assert_eq!(second["tasks"], tasks);
        assert_eq!(counts_of_scan(&facts)?.hashed_bytes, 0, "no file was read again");
        let registered = facts.iter().any(|(_, fact)| {
            matches!(fact, Fact::PluginRegistered { plugin_id, version, previous: Some(previous) }
                if plugin_id.as_str() == "base" && version == "1.0.1" && previous == "1.0.0")
        });
        assert!(registered, "{facts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_new_runs_on_files_that_are_not() -> anyhow::Result<()> {
    let mut home = graph("completes")?;
    home.scan(&[]).await?;
    let since = home.next_event().await?;

    add(&mut home, "new", &["completes"], &json!({}))?;
    let (code, summary) = home.scan(&[]).await?;

    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(FILES)), "{summary}");
    assert_eq!(by_plugin(&home.events(since).await?), [("new".to_owned(), FILES)].into());
    Ok(())
}
