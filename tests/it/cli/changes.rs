//! What happens to a library between two scans.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use broker_config::wire::event::Fact;
use integration_tests::cli::{Home, Look, Up};
use integration_tests::heavy;
use serde_json::Value;

use super::{file_events, ran};

const HARBOUR: &str = "Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019)";
const PILOT: &str = "Shows/Night Signal/Season 01/Night Signal - S01E01 - Pilot.webm";

/// A fleet that has scanned the library once.
struct Scanned {
    home: Home,
    look: Look,
    up: Up,
}

/// What one more scan did.
struct Again {
    facts: Vec<(u64, Fact)>,
    summary: Value,
    tasks: u64,
}

impl Scanned {
    async fn start() -> anyhow::Result<Self> {
        let home = Home::with_demo_library().await?;
        let (up, look) = Up::fleet(&home, 8).await?;
        assert_eq!(home.scan(&[]).await?.0, 6, "one video is broken");
        Ok(Self { home, look, up })
    }

    async fn cid(&self, name: &str) -> anyhow::Result<String> {
        let shown: Value = self.home.json(&["file", "show", &self.home.file(name)]).await?;
        Ok(shown["cid"].as_str().context("a cid")?.to_owned())
    }

    async fn again(&self) -> anyhow::Result<Again> {
        let (since, tasks) = (self.home.next_event().await?, self.look.tasks_published().await?);
        let (code, summary) = self.home.scan(&[]).await?;
        let facts = self.home.events(since).await?;
        assert_eq!(code, 0, "{summary} {facts:?}");
        let tasks = self.look.tasks_published().await? - tasks;
        Ok(Again { facts, summary, tasks })
    }
}

fn plugins(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn a_changed_file_runs_through_everything_that_wants_it_and_no_other_file_does()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let fleet = Scanned::start().await?;
    let before = fleet.cid("Odd/notes.txt").await?;

    fleet.home.write("Odd/notes.txt", "This is another text.\n")?;
    let again = fleet.again().await?;

    assert_eq!(file_events(&again.facts), [("file.changed", "notes.txt".to_owned())]);
    let after = fleet.cid("Odd/notes.txt").await?;
    assert_ne!(before, after);
    let told = again.facts.iter().any(|(_, fact)| {
        matches!(fact, Fact::FileChanged { previous_cid, cid, .. }
            if previous_cid.as_str() == before && cid.as_str() == after)
    });
    assert!(told, "both contents are named: {:?}", again.facts);
    assert_eq!(ran(&again.facts), [(after, plugins(&["file-info", "full-hash"]))].into());
    assert_eq!((again.tasks, &again.summary["tasks"]["cached"]), (2, &25.into()));

    let quiet = fleet.again().await?;
    assert_eq!((quiet.tasks, ran(&quiet.facts)), (0, BTreeMap::new()));
    fleet.up.stop().await
}

#[tokio::test]
async fn a_renamed_file_moves_and_only_plugins_that_read_its_name_run() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let fleet = Scanned::start().await?;
    let cid = fleet.cid(PILOT).await?;
    let new = "Shows/Night Signal/Season 01/Night Signal - S01E03 - Other.webm";

    std::fs::rename(fleet.home.file(PILOT), fleet.home.file(new))?;
    let again = fleet.again().await?;

    let moved = again.facts.iter().any(|(_, fact)| {
        matches!(fact, Fact::FileMoved { from, path, .. }
            if *from == fleet.home.file(PILOT) && *path == fleet.home.file(new))
    });
    assert!(moved, "{:?}", again.facts);
    assert!(!again.facts.iter().any(|(_, fact)| matches!(fact, Fact::FileDeleted { .. })));
    let ran = ran(&again.facts).remove(&cid).unwrap_or_default();
    for (plugin, expected) in [
        ("file-info", true),
        ("filename-parser", true),
        ("jellyfin-nfo", true),
        ("ffmpeg", false),
        ("full-hash", false),
    ] {
        assert_eq!(ran.contains(plugin), expected, "{plugin} of {ran:?}");
    }
    let shown: Value = fleet.home.json(&["file", "show", &cid]).await?;
    assert_eq!(shown["paths"], serde_json::json!([fleet.home.file(new)]));
    let episode =
        fleet.home.run(&["meta", "get", &cid, "--key", "filename/episode"]).await?.ok()?;
    assert_eq!(episode.out, "3\n");
    fleet.up.stop().await
}

#[tokio::test]
async fn a_deleted_file_is_told_and_runs_nothing_and_a_copy_is_one_more_path() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    let fleet = Scanned::start().await?;
    let notes = fleet.cid("Odd/notes.txt").await?;

    std::fs::remove_file(fleet.home.file("Odd/notes.txt"))?;
    let again = fleet.again().await?;

    assert_eq!(file_events(&again.facts), [("file.deleted", "notes.txt".to_owned())]);
    assert_eq!((again.tasks, &again.summary["files"]), (0, &25.into()));
    fleet.home.run(&["file", "show", &fleet.home.file("Odd/notes.txt")]).await?.ended(3)?;
    let shown: Value = fleet.home.json(&["file", "show", &notes]).await?;
    assert_eq!(shown["paths"], serde_json::json!([]), "its records stay");

    let cid = fleet.cid("Pictures/diagram.png").await?;
    std::fs::copy(fleet.home.file("Pictures/diagram.png"), fleet.home.file("Copies/plan.png"))?;
    let again = fleet.again().await?;

    assert_eq!(file_events(&again.facts), [("file.discovered", "plan.png".to_owned())]);
    let ran = ran(&again.facts);
    assert!(ran.keys().all(|of| *of == cid), "{ran:?}");
    assert!(!ran.values().flatten().any(|plugin| plugin == "full-hash"), "{ran:?}");
    let shown: Value = fleet.home.json(&["file", "show", &cid]).await?;
    let paths = ["Copies/plan.png", "Pictures/diagram.png"].map(|name| fleet.home.file(name));
    assert_eq!(shown["paths"], serde_json::json!(paths));
    fleet.up.stop().await
}

#[tokio::test]
async fn a_new_subtitle_beside_a_film_runs_what_looks_at_sidecars_on_the_film() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    let fleet = Scanned::start().await?;
    let film = fleet.cid(&format!("{HARBOUR}.mkv")).await?;

    fleet.home.write(
        &format!("{HARBOUR}.es.srt"),
        "1\n00:00:00,500 --> 00:00:01,800\nEl puerto duerme.\n",
    )?;
    let again = fleet.again().await?;

    let name = "The Quiet Harbour (2019).es.srt".to_owned();
    assert_eq!(file_events(&again.facts), [("file.discovered", name)]);
    let subtitle = fleet.cid(&format!("{HARBOUR}.es.srt")).await?;
    let mut ran = ran(&again.facts);
    let on_film = ran.remove(&film).unwrap_or_default();
    for (plugin, expected) in [
        ("subtitle", true),
        ("language", true),
        ("ffmpeg", false),
        ("full-hash", false),
        ("file-info", false),
    ] {
        assert_eq!(on_film.contains(plugin), expected, "{plugin} of {on_film:?}");
    }
    assert!(ran.remove(&subtitle).is_some_and(|ran| ran.contains("subtitle")));
    assert_eq!(ran, BTreeMap::new(), "nothing else");
    let all: Value = fleet.home.json(&["meta", "get", &film]).await?;
    let languages = all["language/subtitle"].to_string();
    assert!(languages.contains("\"es\""), "the new language is known: {languages}");
    fleet.up.stop().await
}
