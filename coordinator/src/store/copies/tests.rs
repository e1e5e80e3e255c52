use std::fs;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::{Progress, ScanOptions, Scanner};
use crate::store::files::files_of;
use crate::store::paths::BrokerIndex;
use crate::store::records::blank;
use crate::store::submit::{BrokerSink, SubmitOptions};
use crate::store::testing::TestBroker;

#[test]
fn the_same_path_counts_whatever_the_order() {
    let cid: Cid = "c".parse().unwrap();
    let plain = || rank(false, "/a/copy.mkv".into());
    let film = || rank(true, "/z/film.mkv".into());
    let other = || rank(true, "/z/other.mkv".into());
    let chosen = |order: &[Rank]| {
        let copies = Copies::default();
        order.iter().filter(|rank| copies.is_best(&cid, (*rank).clone())).last().cloned()
    };
    for order in
        [[plain(), film(), other()], [other(), film(), plain()], [film(), plain(), other()]]
    {
        assert_eq!(chosen(&order), Some(film()), "{order:?}");
    }
    let copies = Copies::default();
    assert!(copies.is_best(&cid, film()));
    assert!(!copies.is_best(&cid, plain()), "it is left alone when the better one came first");
    assert!(copies.is_best(&cid, film()), "the same path again");
}

#[test]
fn a_path_takes_over_once_and_not_from_one_that_counts() {
    let cid: Cid = "c".parse().unwrap();
    let (first, second) = (|| rank(false, "/a".into()), || rank(false, "/b".into()));
    let gone = |path: &str| BTreeSet::from([PathBuf::from(path)]);
    let copies = Copies::default();

    assert!(copies.takes_over(&cid, second(), &gone("/0")), "nothing was handed in yet");
    assert!(!copies.takes_over(&cid, second(), &gone("/0")), "it was just handed in");
    assert!(copies.is_best(&cid, first()));
    assert!(!copies.takes_over(&cid, second(), &gone("/0")), "a better one was handed in");
    assert!(copies.takes_over(&cid, second(), &gone("/a")), "that one is gone as well");
}

/// A tree that is scanned into a real broker.
struct Library {
    dir: TempDir,
    _broker: TestBroker,
    store: Store,
    seen: u64,
}

impl Library {
    async fn new(files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (broker, store) = TestBroker::start().await?;
        let dir = tempfile::tempdir()?;
        for (name, content) in files {
            fs::write(dir.path().join(name), content)?;
        }
        let mut library = Self { dir, _broker: broker, store, seen: 0 };
        library.scan().await?;
        // As if all of them were settled: only then is it known which of them are copies.
        for file in library.store.files().await? {
            let record = blank(&file, &"a".parse()?);
            let subject = library.store.names().record(&record.cid, &record.plugin_id);
            let body = serde_json::to_vec(&record)?.into();
            library.store.publisher().publish(subject, async_nats::HeaderMap::new(), body).await?;
        }
        Ok(library)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The names of the files that one more scan hands in.
    async fn scan(&mut self) -> anyhow::Result<Vec<String>> {
        let cancel = CancellationToken::new();
        let patience = Patience::new(cancel.clone());
        let options = SubmitOptions { scan_id: self.seen.to_string(), ..SubmitOptions::default() };
        let sink = BrokerSink::new(self.store.clone(), patience.clone(), options, None);
        let scanner = Scanner {
            index: &BrokerIndex::new(self.store.clone(), patience.clone()),
            sink: &sink,
            options: &ScanOptions::default(),
            progress: &watch::Sender::new(Progress::default()),
            cancel: &cancel,
        };
        scanner.run(&[self.dir.path().to_owned()]).await?;
        let names = self.store.names();
        let all = self.store.all(names.submit_stream(), names.all_submits()).await?;
        let mut handed_in = Vec::new();
        let before = self.seen;
        for stored in all.iter().filter(|stored| stored.sequence > before) {
            let submission: broker_config::Submission = serde_json::from_slice(&stored.payload)?;
            handed_in.push(submission.file.name);
            self.seen = stored.sequence;
        }
        handed_in.sort();
        Ok(handed_in)
    }
}

impl Store {
    /// The content ids of all known files.
    async fn files(&self) -> anyhow::Result<BTreeSet<Cid>> {
        let found = self.path_cursor(None).read().await?;
        Ok(files_of(&found).iter().filter_map(|entry| Some(entry.file()?.cid.clone())).collect())
    }
}

#[tokio::test]
async fn when_the_path_that_counts_goes_the_next_one_is_handed_in_by_the_same_scan()
-> anyhow::Result<()> {
    let copies = [("b.txt", "same"), ("c.txt", "same"), ("d.txt", "same"), ("other.txt", "other")];
    let mut library = Library::new(&copies).await?;

    fs::write(library.path("a.txt"), "same")?;
    let better = library.scan().await?;
    fs::remove_file(library.path("a.txt"))?;
    let deleted = library.scan().await?;
    fs::write(library.path("b.txt"), "changed")?;
    let changed = library.scan().await?;
    fs::rename(library.path("c.txt"), library.path("e.txt"))?;
    let renamed = library.scan().await?;
    fs::remove_file(library.path("e.txt"))?;
    let no_longer_counted = library.scan().await?;
    fs::remove_file(library.path("d.txt"))?;
    let last = library.scan().await?;

    assert_eq!(better, ["a.txt"]);
    assert_eq!(deleted, ["b.txt"]);
    assert_eq!(changed, ["b.txt", "c.txt"]);
    assert_eq!(renamed, ["d.txt"]);
    assert_eq!(no_longer_counted, [""; 0]);
    assert_eq!(last, [""; 0]);
    assert_eq!(library.scan().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn sidecars_decide_which_path_counts_whenever_they_change() -> anyhow::Result<()> {
    let files = [("a.mkv", "film"), ("b.mkv", "film"), ("b.nfo", "<movie/>")];
    let mut library = Library::new(&files).await?;

    fs::write(library.path("b.nfo"), "<movie><title>T</title></movie>")?;
    let edited = library.scan().await?;
    fs::remove_file(library.path("b.nfo"))?;
    let lost = library.scan().await?;
    fs::write(library.path("b.srt"), "1")?;
    let gained = library.scan().await?;
    fs::write(library.path("a.srt"), "2")?;
    let both = library.scan().await?;
    fs::write(library.path("b.en.srt"), "3")?;
    let edited_in_vain = library.scan().await?;

    assert_eq!(edited, ["b.mkv", "b.nfo"]);
    assert_eq!(lost, ["a.mkv"]);
    assert_eq!(gained, ["b.mkv", "b.srt"]);
    assert_eq!(both, ["a.mkv", "a.srt"]);
    assert_eq!(edited_in_vain, ["b.en.srt"]);
    Ok(())
}

#[tokio::test]
async fn a_content_with_thousands_of_paths_is_no_obstacle() -> anyhow::Result<()> {
    let names: Vec<String> = (0..1100).map(|n| format!("{n:04}.txt")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let mut library = Library::new(&files).await?;

    fs::write(library.path("zzzz.txt"), "")?;
    let copy = library.scan().await?;
    fs::remove_file(library.path("0000.txt"))?;
    let deleted = library.scan().await?;

    assert_eq!(copy, [""; 0]);
    assert_eq!(deleted, ["0001.txt"]);
    let cid = library.store.find(library.path("0005.txt").as_os_str()).await?;
    assert_eq!(library.store.paths_of(&cid.unwrap()).await?.len(), 1100);
    Ok(())
}

#[tokio::test]
async fn many_at_once_are_told_apart_too() -> anyhow::Result<()> {
    let names: Vec<String> = (0..40).map(|n| format!("a{n:02}.txt")).collect();
    let copies: Vec<String> = (0..40).map(|n| format!("b{n:02}.txt")).collect();
    let all = names.iter().chain(&copies);
    let contents: Vec<(&str, String)> =
        all.map(|name| (name.as_str(), name[1..].to_owned())).collect();
    let files: Vec<(&str, &str)> =
        contents.iter().map(|(name, content)| (*name, content.as_str())).collect();
    let mut library = Library::new(&files).await?;

    for name in names.iter().take(30) {
        fs::remove_file(library.path(name))?;
    }
    for name in copies.iter().skip(30) {
        fs::remove_file(library.path(name))?;
    }
    let deleted = library.scan().await?;
    for name in copies.iter().take(30) {
        fs::rename(library.path(name), library.path(&name.replace('b', "c")))?;
    }
    let renamed = library.scan().await?;

    assert_eq!(deleted, copies[..30]);
    assert_eq!(renamed, (0..30).map(|n| format!("c{n:02}.txt")).collect::<Vec<_>>());
    Ok(())
}
