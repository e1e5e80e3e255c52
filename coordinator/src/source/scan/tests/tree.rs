//! What is found, and what a second scan makes of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::*;
use crate::source::index::EntryFacts;

#[tokio::test]
async fn a_second_scan_hands_in_nothing_and_reads_nothing() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.write("deep/er/b.txt", "b");
    fixture.write("deep/empty", "");

    let first = fixture.scan().await;
    let names = fixture.names();
    let second = fixture.scan().await;

    assert_eq!(names, ["a.txt", "deep/empty", "deep/er/b.txt"]);
    assert_eq!((first.counts.dirs, first.counts.files, first.counts.new), (3, 3, 3));
    assert_eq!((first.counts.hashed_files, first.counts.hashed_bytes), (3, 2));
    assert_eq!(fixture.known(), ["a.txt", "deep", "deep/empty", "deep/er", "deep/er/b.txt"]);
    assert_eq!((second.counts.files, second.counts.unchanged), (3, 3));
    assert_eq!((second.counts.hashed_files, second.counts.hashed_bytes), (0, 0));
    assert_eq!(second.counts.submitted, 0);
    assert!(first.is_complete() && second.is_complete());
    assert!(fixture.files().is_empty() && fixture.changes().is_empty());
}

#[tokio::test]
async fn content_decides_the_type_and_the_id() {
    let fixture = Fixture::new();
    let path = fixture.write("picture.txt", "");
    fs::write(&path, b"\x89PNG\r\n\x1a\n....").unwrap();

    fixture.scan().await;

    let file = fixture.sink.files.lock().unwrap().pop().unwrap();
    assert_eq!(file.mime, "image/png");
    assert_eq!(file.cid, broker_config::midhash::cid_of(12, b"\x89PNG\r\n\x1a\n...."));
    assert_eq!(file.path, path);
}

#[tokio::test]
async fn forced_files_come_again_without_being_read() {
    let mut fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.scan().await;
    let before = std::mem::take(&mut *fixture.sink.files.lock().unwrap());
    fixture.options.force = true;

    let report = fixture.scan().await;

    assert_eq!(report.counts.hashed_bytes, 0);
    let after = fixture.sink.files.lock().unwrap().pop().unwrap();
    assert_eq!(after, FoundFile { why: Why::Forced, ..before[0].clone() });
}

#[tokio::test]
async fn all_paths_of_one_content_are_kept() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "same");
    fixture.write("copy/a.txt", "same");

    fixture.scan().await;

    let files = fixture.sink.files.lock().unwrap();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].cid, files[1].cid);
    drop(files);
    assert_eq!(fixture.known(), ["a.txt", "copy", "copy/a.txt"]);
}

#[tokio::test]
async fn a_name_that_is_not_utf8_survives() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.root()).unwrap();
    let path = fixture.root().join(OsStr::from_bytes(b"f\xff\xfe.txt"));
    fs::write(&path, "x").unwrap();

    fixture.scan().await;
    let second = fixture.scan().await;

    assert_eq!(fixture.sink.files.lock().unwrap()[0].path, path);
    assert_eq!((second.counts.unchanged, second.counts.hashed_bytes), (1, 0));
}

#[tokio::test]
async fn links_are_followed_only_inside_the_root_and_never_in_circles() {
    let fixture = Fixture::new();
    fixture.write("real/a.txt", "a");
    fs::create_dir_all(fixture.path("outside")).unwrap();
    fs::write(fixture.path("outside/secret"), "s").unwrap();
    let root = fixture.root();
    symlink("real/a.txt", root.join("to-file")).unwrap();
    symlink("real", root.join("to-folder")).unwrap();
    symlink("..", root.join("real/loop")).unwrap();
    symlink(".", root.join("self")).unwrap();
    symlink("snake", root.join("snake")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("../outside", root.join("out-folder")).unwrap();
    symlink(fixture.path("outside/secret"), root.join("out-file")).unwrap();

    let report = fixture.scan().await;

    assert_eq!(fixture.names(), ["real/a.txt", "to-file", "to-folder/a.txt"]);
    let expected = [
        ("dangling", SkipReason::DanglingLink),
        ("loop", SkipReason::LinkCycle),
        ("loop", SkipReason::LinkCycle),
        ("out-file", SkipReason::LinkLeavesRoot),
        ("out-folder", SkipReason::LinkLeavesRoot),
        ("self", SkipReason::LinkCycle),
        ("snake", SkipReason::LinkCycle),
    ];
    assert_eq!(skipped(&report), expected.map(|(name, reason)| (name.to_owned(), reason)));
    assert!(report.is_complete());
}

#[tokio::test]
async fn folders_that_link_to_each_other_end() {
    let fixture = Fixture::new();
    for n in 0..12 {
        fixture.write(&format!("{n}/a.txt"), "a");
        for name in ["x", "y"] {
            symlink(format!("../{}", n + 1), fixture.root().join(format!("{n}/{name}"))).unwrap();
        }
    }

    let report = fixture.scan().await;

    assert!(report.counts.skipped["linkDepth"] > 0);
    assert!(report.counts.files < 12 * 32, "{}", report.counts.files);
}

#[tokio::test]
async fn links_can_be_left_out() {
    let mut fixture = Fixture::new();
    fixture.write("a.txt", "a");
    symlink("a.txt", fixture.root().join("link")).unwrap();
    fixture.options.links = Links::Skip;

    let report = fixture.scan().await;

    assert_eq!(fixture.names(), ["a.txt"]);
    assert_eq!(skipped(&report), [("link".to_owned(), SkipReason::Link)]);
}

#[tokio::test]
async fn special_files_are_left_out() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    let fifo = fixture.root().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo_type = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, fifo_type, mode, 0).unwrap();
    symlink("fifo", fixture.root().join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.root().join("socket")).unwrap();

    let report = fixture.scan().await;

    assert_eq!(fixture.names(), ["a.txt"]);
    let special = |name: &str| (name.to_owned(), SkipReason::SpecialFile);
    assert_eq!(skipped(&report), [special("fifo"), special("link"), special("socket")]);
    assert_eq!(report.counts.skipped["specialFile"], 3);
}

#[tokio::test]
async fn excluded_names_are_left_out_and_what_is_known_of_them_stays() {
    let mut fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.write("b.tmp", "b");
    fixture.write("cache/c.txt", "c");
    fixture.scan().await;
    fixture.names();
    fixture.options.exclude = vec![Glob::new("*.tmp"), Glob::new("cache")];

    let report = fixture.scan().await;

    assert_eq!(report.counts.files, 1);
    assert_eq!(report.counts.skipped["excluded"], 2);
    assert!(report.problems.is_empty());
    assert!(fixture.changes().is_empty());
    assert_eq!(fixture.known(), ["a.txt", "b.tmp", "cache", "cache/c.txt"]);
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_only_that() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "old");
    fixture.write("b.txt", "b");
    fixture.scan().await;
    fixture.names();
    fixture.write("a.txt", "newer");

    let report = fixture.scan().await;

    let from = broker_config::midhash::cid_of(3, b"old");
    assert_eq!(fixture.files(), [("a.txt".to_owned(), Why::Changed { from })]);
    assert_eq!(fixture.changes(), ["replaced a.txt"]);
    assert_eq!((report.counts.changed, report.counts.hashed_bytes), (1, 5));
    let stale = fixture.index.removed.lock().unwrap().pop().and_then(|id| id.cid);
    assert_eq!(stale, Some(broker_config::midhash::cid_of(3, b"old")));
    assert_eq!(fixture.scan().await.counts.unchanged, 2);
}

#[tokio::test]
async fn a_file_with_a_new_time_is_handed_in_though_its_id_is_the_same() {
    let fixture = Fixture::new();
    let path = fixture.write("a.txt", "same");
    fixture.scan().await;
    fixture.names();
    let file = fs::File::options().append(true).open(&path).unwrap();
    let time = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(5);
    file.set_modified(time).unwrap();

    fixture.scan().await;

    let from = broker_config::midhash::cid_of(4, b"same");
    assert_eq!(fixture.files(), [("a.txt".to_owned(), Why::Changed { from })]);
    assert!(fixture.changes().is_empty(), "its content has no other id");
    assert_eq!(fixture.scan().await.counts.unchanged, 1);
}

#[tokio::test]
async fn an_edited_sidecar_hands_in_its_film_without_reading_it() {
    let fixture = Fixture::new();
    fixture.write("film.mkv", "film");
    fixture.write("film.nfo", "<movie/>");
    fixture.write("other.mkv", "other");
    fixture.scan().await;
    {
        let files = fixture.sink.files.lock().unwrap();
        let film = files.iter().find(|f| f.path.ends_with("film.mkv")).unwrap();
        assert_eq!(film.sidecars.len(), 1);
        assert_eq!(film.facts().sidecars[0].name, "film.nfo");
    }
    fixture.names();
    fixture.write("film.nfo", "<movie><title>T</title></movie>");

    let edited = fixture.scan().await;
    let by_edit = fixture.files();
    fixture.write("film.en.srt", "1");
    fixture.scan().await;
    let by_addition = fixture.files();

    let nfo = Why::Changed { from: broker_config::midhash::cid_of(8, b"<movie/>") };
    let film = ("film.mkv".to_owned(), Why::Sidecars);
    assert_eq!(by_edit, [film.clone(), ("film.nfo".to_owned(), nfo)]);
    assert_eq!(edited.counts.hashed_bytes, 31, "only the sidecar itself");
    assert_eq!(by_addition, [("film.en.srt".to_owned(), Why::New), film]);
    assert_eq!(fixture.scan().await.counts.unchanged, 4);
}

#[tokio::test]
async fn an_edited_show_hands_in_the_episodes_of_its_seasons() {
    let fixture = Fixture::new();
    let nfo = fixture.write("Show/tvshow.nfo", "<tvshow/>");
    fixture.write("Show/S1/e1.mkv", "episode");
    fixture.write("Show/S1/e1.nfo", "<episodedetails/>");
    fixture.write("Show/S1/theme.mp3", "music");
    fixture.write("Show/S1/extra/deep.mkv", "too deep");
    fixture.scan().await;
    let names: Vec<_> = {
        let files = fixture.sink.files.lock().unwrap();
        let episode = files.iter().find(|f| f.path.ends_with("e1.mkv")).unwrap();
        episode.facts().sidecars.into_iter().map(|sidecar| sidecar.name).collect()
    };
    fixture.names();
    let one_season = fixture.try_scan(&[fixture.root().join("Show/S1")]).await.unwrap();
    fixture.write("Show/tvshow.nfo", "<tvshow><title>T</title></tvshow>");

    let edited = fixture.scan().await;
    let by_edit = fixture.names();
    fs::remove_file(nfo).unwrap();
    fixture.scan().await;

    assert_eq!(names, ["../tvshow.nfo", "e1.nfo"]);
    assert_eq!(one_season.counts.submitted, 0, "a root below the show sees the same show");
    assert_eq!(by_edit, ["Show/S1/e1.mkv", "Show/tvshow.nfo"]);
    assert_eq!(edited.counts.hashed_files, 1, "only the sidecar itself");
    assert_eq!(fixture.files(), [("Show/S1/e1.mkv".to_owned(), Why::Sidecars)]);
    assert_eq!(fixture.scan().await.counts.submitted, 0);
}

#[tokio::test]
async fn a_single_file_is_a_root_too() {
    let fixture = Fixture::new();
    let film = fixture.write("film.mkv", "film");
    fixture.write("film.srt", "1");
    fixture.write("other.mkv", "other");

    let first = fixture.try_scan(std::slice::from_ref(&film)).await.unwrap();
    let sidecars = fixture.sink.files.lock().unwrap()[0].sidecars.len();
    let names = fixture.names();
    let second = fixture.try_scan(&[film]).await.unwrap();
    let whole = fixture.scan().await;

    assert_eq!(names, ["film.mkv"]);
    assert_eq!(sidecars, 1);
    assert_eq!((first.counts.new, second.counts.unchanged), (1, 1));
    assert_eq!((whole.counts.new, whole.counts.unchanged), (2, 1));
    assert!(fixture.changes().is_empty());
}

#[tokio::test]
async fn a_root_inside_a_root_is_scanned_once() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.write("disk/b.txt", "b");
    let roots = [fixture.root(), fixture.root().join("disk"), fixture.root()];

    let report = fixture.try_scan(&roots).await.unwrap();

    assert_eq!(report.counts.files, 2);
    assert_eq!(report.counts.skipped["otherRoot"], 1);
    assert_eq!(fixture.names(), ["a.txt", "disk/b.txt"]);
}

#[tokio::test]
async fn a_large_folder_is_read_in_pieces_and_its_sidecars_are_found() {
    let mut fixture = Fixture::with_index(MemoryIndex::with_limit(20));
    fixture.options.folder_piece = 7;
    for n in 0..30 {
        fixture.write(&format!("{n}.mkv"), &format!("film {n}"));
        fixture.write(&format!("{n}.srt"), &format!("subtitle {n}"));
        fixture.write(&format!("folder-{n}/a.txt"), "a");
    }

    let first = fixture.scan().await;
    let with_sidecar =
        fixture.sink.files.lock().unwrap().iter().filter(|f| f.sidecars.len() == 1).count();
    let second = fixture.scan().await;

    assert_eq!((first.counts.dirs, first.counts.files), (31, 90));
    assert_eq!(with_sidecar, 30);
    assert_eq!((second.counts.unchanged, second.counts.hashed_bytes), (90, 0));
    assert!(fixture.changes().is_empty());
}

#[tokio::test]
async fn a_folder_and_a_file_can_take_each_others_place() {
    let fixture = Fixture::new();
    fixture.write("keep.txt", "k");
    fixture.write("x", "file");
    fixture.write("y/inside.txt", "inside");
    fixture.scan().await;
    fixture.names();
    fs::remove_file(fixture.root().join("x")).unwrap();
    fixture.write("x/new.txt", "new");
    fs::remove_dir_all(fixture.root().join("y")).unwrap();
    fixture.write("y", "now a file");

    fixture.scan().await;

    assert_eq!(fixture.names(), ["x/new.txt", "y"]);
    assert_eq!(fixture.changes(), ["deleted x", "deleted y/inside.txt"]);
    assert_eq!(fixture.known(), ["keep.txt", "x", "x/new.txt", "y"]);
    let kinds: Vec<_> =
        fixture.index.index.all().into_iter().filter(|e| e.facts == EntryFacts::Dir).collect();
    assert_eq!(kinds.len(), 1);
    assert_eq!(fixture.scan().await.counts.unchanged, 3);
}

#[test]
fn a_root_is_known_under_one_path() {
    let dir = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir_all(base.join("a/b")).unwrap();
    for given in ["a/b", "a/b/", "a//b", "a/./b", "a/b/../b"] {
        assert_eq!(root_path(&base.join(given)).unwrap(), base.join("a/b"), "{given}");
    }
}
