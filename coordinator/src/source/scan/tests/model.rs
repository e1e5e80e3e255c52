//! Any history of a tree, scanned after each step, against what really is on the disk.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Write { path: String, content: u8 },
    Remove { path: String },
    Rename { from: String, to: String },
    Scan,
}

fn a_path() -> impl Strategy<Value = String> {
    let names = vec!["a", "b", "c.mkv", "c.nfo", "tvshow.nfo"];
    prop::collection::vec(prop::sample::select(names), 1..4).prop_map(|parts| parts.join("/"))
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (a_path(), 0..4_u8).prop_map(|(path, content)| Step::Write { path, content }),
        2 => a_path().prop_map(|path| Step::Remove { path }),
        2 => (a_path(), a_path()).prop_map(|(from, to)| Step::Rename { from, to }),
        3 => Just(Step::Scan),
    ]
}

/// Does what can be done; a step that makes no sense here changes nothing.
fn apply(fixture: &Fixture, step: &Step) {
    let at = |path: &str| fixture.root().join(path);
    let remove = |path: &Path| {
        if path.is_dir() { fs::remove_dir_all(path).is_ok() } else { fs::remove_file(path).is_ok() }
    };
    match step {
        Step::Write { path, content } => {
            let path = at(path);
            if path.is_dir() {
                remove(&path);
            }
            let parent = path.parent().unwrap();
            if fs::create_dir_all(parent).is_ok() {
                // Another length is another file even within one tick of the clock.
                fs::write(&path, "x".repeat(usize::from(*content))).unwrap();
            }
        }
        Step::Remove { path } => {
            remove(&at(path));
        }
        Step::Rename { from, to } => {
            // Where it cannot be renamed it stays.
            drop(fs::rename(at(from), at(to)));
        }
        Step::Scan => {}
    }
}

/// Everything below the root, folders and files.
fn on_disk(fixture: &Fixture) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![fixture.root()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            found.insert(fixture.name(&entry.path()));
            if entry.path().is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    found
}

async fn check(mut fixture: Fixture, steps: Vec<Step>) {
    fixture.options.allow_mass_deletion = true;
    fixture.options.move_candidates = 3;
    fixture.options.folder_piece = 2;
    fs::create_dir(fixture.root()).unwrap();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for step in steps.iter().chain([&Step::Scan]) {
        apply(&fixture, step);
        if !matches!(step, Step::Scan) {
            continue;
        }
        let report = fixture.scan().await;
        assert!(report.is_complete(), "{report:?}");

        // A subscriber that only hears of files and changes knows the tree as well.
        let submitted = fixture.names();
        for change in fixture.sink.changes.lock().unwrap().drain(..) {
            match change {
                Change::Deleted { path, .. } | Change::Moved { from: path, .. } => {
                    assert!(told.remove(&fixture.name(&path)), "{} was not known", path.display());
                }
                Change::Replaced { path, .. } => {
                    assert!(told.contains(&fixture.name(&path)), "{}", path.display());
                }
            }
        }
        told.extend(submitted);
        let disk = on_disk(&fixture);
        let files = disk.iter().filter(|name| fixture.root().join(name).is_file());
        assert_eq!(told, files.cloned().collect(), "files that were told");
        assert_eq!(fixture.known(), disk.into_iter().collect::<Vec<_>>(), "entries");
        for entry in fixture.index.index.all() {
            assert_eq!(entry.file().is_none(), entry.path.is_dir(), "{entry:?}");
        }

        let again = fixture.scan().await.counts;
        assert_eq!((again.submitted, again.hashed_bytes), (0, 0), "a second scan");
        assert_eq!((again.unchanged, again.deleted, again.moved), (told.len() as u64, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_index_and_the_subscriber_agree_with_the_disk(
        steps in prop::collection::vec(a_step(), 1..30),
        most_listed in prop::sample::select(vec![1, 2, 1000]),
    ) {
        let fixture = Fixture::with_index(MemoryIndex::with_limit(most_listed));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(fixture, steps));
    }
}
