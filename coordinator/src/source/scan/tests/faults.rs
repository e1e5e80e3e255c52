//! What happens when something fails in the middle.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn what_was_handed_in_but_not_noted_is_handed_in_again() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.index.puts_fail.store(true, Ordering::Relaxed);

    let error = fixture.try_scan(&[fixture.root()]).await.unwrap_err();
    let before = fixture.names();
    fixture.index.puts_fail.store(false, Ordering::Relaxed);
    let report = fixture.scan().await;

    let ScanError::Index { path, .. } = error else { panic!("{error}") };
    assert_eq!(path, fixture.root().join("a.txt"));
    assert_eq!(before, ["a.txt"]);
    assert_eq!(fixture.names(), ["a.txt"]);
    assert_eq!(report.counts.submitted, 1);
}

#[tokio::test]
async fn what_the_sink_refuses_is_not_noted() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.sink.refuse.store(true, Ordering::Relaxed);

    let error = fixture.try_scan(&[fixture.root()]).await.unwrap_err();

    let ScanError::Sink { path, .. } = error else { panic!("{error}") };
    assert_eq!(path, fixture.root().join("a.txt"));
    assert!(fixture.known().is_empty());
}

#[tokio::test]
async fn a_cancelled_scan_deletes_nothing_and_says_so() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.write("b.txt", "b");
    fixture.scan().await;
    fs::remove_file(fixture.root().join("a.txt")).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let scanner = Scanner {
        index: &fixture.index,
        sink: &fixture.sink,
        options: &fixture.options,
        progress: &watch::Sender::new(Progress::default()),
        cancel: &cancel,
    };

    let report = scanner.run(&[fixture.root()]).await.unwrap();

    assert!(report.cancelled && !report.is_complete());
    assert_eq!(fixture.known(), ["a.txt", "b.txt"]);
}

/// Tells the scan to stop when the first files arrive.
struct Stops<'a>(&'a Recorder, CancellationToken);

impl Sink for Stops<'_> {
    async fn submit(&self, files: Vec<FoundFile>) -> Result<(), PortError> {
        self.1.cancel();
        self.0.submit(files).await
    }

    async fn changes(&self, changes: Vec<Change>) -> Result<(), PortError> {
        self.0.changes(changes).await
    }
}

#[tokio::test]
async fn a_scan_stopped_in_the_middle_is_finished_by_the_next() {
    let fixture = Fixture::new();
    for n in 0..2000 {
        fixture.write(&format!("{}/{n}.txt", n % 40), &format!("{n}"));
    }
    let cancel = CancellationToken::new();
    let scanner = Scanner {
        index: &fixture.index,
        sink: &Stops(&fixture.sink, cancel.clone()),
        options: &fixture.options,
        progress: &watch::Sender::new(Progress::default()),
        cancel: &cancel,
    };

    let first = scanner.run(&[fixture.root()]).await.unwrap();
    let second = fixture.scan().await;

    assert!(first.cancelled && first.counts.submitted > 0);
    assert!(first.counts.submitted < 2000, "{}", first.counts.submitted);
    assert_eq!(second.counts.unchanged, first.counts.submitted);
    assert_eq!(fixture.names().len(), 2000, "each of them once");
}

#[tokio::test]
async fn the_last_progress_is_the_final_count() {
    let fixture = Fixture::new();
    for n in 0..300 {
        fixture.write(&format!("{}/{n}.txt", n % 7), &format!("{n}"));
    }
    let (sender, receiver) = watch::channel(Progress::default());
    let scanner = Scanner {
        index: &fixture.index,
        sink: &fixture.sink,
        options: &fixture.options,
        progress: &sender,
        cancel: &CancellationToken::new(),
    };

    let report = scanner.run(&[fixture.root()]).await.unwrap();

    assert_eq!(*receiver.borrow(), report.counts);
    assert_eq!((report.counts.submitted, report.counts.dirs), (300, 8));
}

#[tokio::test]
async fn a_root_that_is_no_file_and_no_folder_is_refused() {
    let fixture = Fixture::new();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.root()).unwrap();

    let report = fixture.scan().await;

    assert!(matches!(report.failed_roots[..], [RootError::Special { .. }]), "{report:?}");
}

/// Every call needs the one permit for a while, as calls over one connection may.
struct Narrow {
    index: MemoryIndex,
    permit: Semaphore,
}

impl Narrow {
    async fn pass(&self) {
        let _permit = self.permit.acquire().await.unwrap();
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
}

impl PathIndex for Narrow {
    async fn entries_of(&self, dirs: &[DirHash]) -> Result<Vec<Listing>, PortError> {
        self.pass().await;
        self.index.entries_of(dirs).await
    }

    async fn lookup(&self, keys: &[EntryKey]) -> Result<Vec<Option<PathEntry>>, PortError> {
        self.pass().await;
        self.index.lookup(keys).await
    }

    fn list_large(&self, dir: DirHash) -> impl Stream<Item = Result<PathEntry, PortError>> + Send {
        self.index.list_large(dir)
    }

    async fn put(&self, entries: Vec<PathEntry>) -> Result<(), PortError> {
        self.pass().await;
        self.index.put(entries).await
    }

    async fn remove(&self, ids: Vec<EntryId>) -> Result<(), PortError> {
        self.pass().await;
        self.index.remove(ids).await
    }
}

impl Sink for Narrow {
    async fn submit(&self, _files: Vec<FoundFile>) -> Result<(), PortError> {
        self.pass().await;
        Ok(())
    }

    async fn changes(&self, _changes: Vec<Change>) -> Result<(), PortError> {
        self.pass().await;
        Ok(())
    }
}

#[tokio::test]
async fn calls_that_wait_for_each_other_do_not_stop_the_scan() {
    let fixture = Fixture::new();
    for n in 0..3000 {
        fixture.write(&format!("{}/{}/{n}.txt", n % 3, n % 500), &format!("{n}"));
    }
    let narrow = Narrow { index: MemoryIndex::with_limit(100), permit: Semaphore::new(1) };
    let scanner = Scanner {
        index: &narrow,
        sink: &narrow,
        options: &fixture.options,
        progress: &watch::Sender::new(Progress::default()),
        cancel: &CancellationToken::new(),
    };

    let roots = [fixture.root()];
    let scan = scanner.run(&roots);
    let report = tokio::time::timeout(Duration::from_secs(20), scan).await.unwrap().unwrap();

    assert_eq!(report.counts.submitted, 3000);
}
