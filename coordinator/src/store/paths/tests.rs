use std::path::Path;

use futures_util::TryStreamExt as _;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::index::{EntryFacts, FileEntry, MOST_LISTED};
use crate::store::testing::TestBroker;

fn index(store: &Store) -> BrokerIndex {
    BrokerIndex::new(store.clone(), Patience::new(CancellationToken::new()))
}

fn file(path: &str, cid: &str) -> PathEntry {
    let facts = EntryFacts::File(FileEntry {
        cid: cid.parse().unwrap(),
        size: 7,
        mtime_ns: 1,
        inode: Some(3),
        mime: "text/plain".into(),
        sidecars: None,
    });
    PathEntry { path: path.into(), facts, missed: 0 }
}

fn names(listing: &Listing) -> Vec<String> {
    match listing {
        Listing::Known(entries) => {
            let mut names: Vec<_> = entries.iter().map(|e| e.path.display().to_string()).collect();
            names.sort();
            names
        }
        Listing::TooMany => vec!["too many".into()],
    }
}

#[tokio::test]
async fn entries_come_back_by_folder_and_by_key() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let index = index(&store);
    let odd = PathEntry { missed: 2, ..file("/a/x \u{1F600}.mkv", "c:2") };
    let entries =
        vec![file("/a/y", "c1"), odd.clone(), PathEntry::dir("/a/b".into()), file("/a/b/z", "c1")];

    index.put(entries).await.map_err(anyhow::Error::from_boxed)?;

    let dirs = ["/a", "/none", "/a/b"].map(|dir| DirHash::of(Path::new(dir)));
    let listings = index.entries_of(&dirs).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(names(&listings[0]), ["/a/b", "/a/x \u{1F600}.mkv", "/a/y"]);
    assert_eq!(names(&listings[1]), [""; 0]);
    assert_eq!(names(&listings[2]), ["/a/b/z"]);
    let keys = [odd.key(), EntryKey::of(Path::new("/a/none"))];
    let found = index.lookup(&keys).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(found, [Some(odd), None]);
    Ok(())
}

#[tokio::test]
async fn a_path_has_one_entry_whatever_it_held_before() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let index = index(&store);
    let subject = |cid: &str| {
        let key = EntryKey::of(Path::new("/a/y"));
        let cid = cid.parse().unwrap();
        store.names().path(&key.dir.to_string(), &key.name.to_string(), Some(&cid))
    };
    let old = file("/a/y", "old");
    index.put(vec![old.clone()]).await.map_err(anyhow::Error::from_boxed)?;
    index.put(vec![file("/a/y", "new")]).await.map_err(anyhow::Error::from_boxed)?;
    index.remove(vec![old.id()]).await.map_err(anyhow::Error::from_boxed)?;

    let dir = [DirHash::of(Path::new("/a"))];
    let listing = index.entries_of(&dir).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(names(&listing[0]), ["/a/y"]);
    assert!(store.paths_of(&"old".parse()?).await?.is_empty());

    // As after a crash between the two writes: the newer one counts.
    let body = Bytes::from(serde_json::to_vec(&file("/a/y", "newest"))?);
    store.publisher().publish(subject("newest"), HeaderMap::new(), body).await?;
    let key = [EntryKey::of(Path::new("/a/y"))];
    let newest = file("/a/y", "newest");
    let found = index.lookup(&key).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(found, [Some(newest.clone())]);
    let listing = index.entries_of(&dir).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(names(&listing[0]), ["/a/y"]);
    assert!(store.paths_of(&"new".parse()?).await?.is_empty(), "the older one is gone");

    let none = file("/a/none", "c").id();
    index.remove(vec![newest.id(), none]).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(index.lookup(&key).await.map_err(anyhow::Error::from_boxed)?, [None]);
    Ok(())
}

#[tokio::test]
async fn a_large_folder_is_said_to_be_large_and_can_be_listed() -> anyhow::Result<()> {
    let (_broker, store) = TestBroker::start().await?;
    let index = index(&store);
    let count = MOST_LISTED + 100;
    let many: Vec<_> = (0..count).map(|n| file(&format!("/big/{n}"), "c")).collect();
    for chunk in many.chunks(500) {
        index.put(chunk.to_vec()).await.map_err(anyhow::Error::from_boxed)?;
    }
    index.put(vec![file("/small/1", "c")]).await.map_err(anyhow::Error::from_boxed)?;

    let dirs = ["/small", "/big"].map(|dir| DirHash::of(Path::new(dir)));
    let listings = index.entries_of(&dirs).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(names(&listings[0]), ["/small/1"]);
    assert_eq!(names(&listings[1]), ["too many"]);
    let all: Vec<_> =
        index.list_large(dirs[1]).try_collect().await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(all.len(), count);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_comes_back_is_waited_for() -> anyhow::Result<()> {
    let (mut broker, store) = TestBroker::start().await?;
    let index = index(&store);
    index.put(vec![file("/a/1", "c")]).await.map_err(anyhow::Error::from_boxed)?;

    broker.restart()?;
    index.put(vec![file("/a/2", "c")]).await.map_err(anyhow::Error::from_boxed)?;

    let dirs = [DirHash::of(Path::new("/a"))];
    let listings = index.entries_of(&dirs).await.map_err(anyhow::Error::from_boxed)?;
    assert_eq!(names(&listings[0]), ["/a/1", "/a/2"]);
    Ok(())
}
