//! Workers on another host: a network of their own, and no library.
//!
//! They need root for that; `METAFLEET_TEST_NETNS=0` leaves them out.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use broker_config::RecordStatus;
use broker_config::wire::signal::{Signal, What};
use coordinator::config::DataDir;
use futures_util::StreamExt as _;
use integration_tests::cli::look::Found;
use integration_tests::cli::{Home, Look, Up};
use integration_tests::far::{Door, Far, Sees, Start};
use integration_tests::{LIMIT, eventually, heavy, within};
use rustix::process::Signal as Kill;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Each after those that it depends on: one that comes too early is not accepted, and ends.
const PLUGINS: [&str; 10] = [
    "audio-tags",
    "file-info",
    "filename-parser",
    "full-hash",
    "ffmpeg",
    "still-extractor",
    "jellyfin-nfo",
    "subtitle",
    "language",
    "anime-detector",
];

fn is_allowed() -> bool {
    std::env::var_os("METAFLEET_TEST_NETNS").is_none_or(|said| said != "0")
}

/// A fleet that starts no plugins and offers its library at the cable.
async fn offering(home: &Home, far: &Far) -> anyhow::Result<(Up, Look, Door)> {
    let library = format!("demo={}", home.library().display());
    let listen = format!("{}:0", far.here);
    let more = ["--library", &library, "--files-listen", &listen];
    let (up, look) = Up::fleet_with(home, 0, &more).await?;
    let data = DataDir::new(home.data());
    let broker = move || {
        let url = data.running().ok()??.connection.url;
        url.rsplit('/').next()?.parse().ok()
    };
    let door = Door::open(far.here, broker).await?;
    Ok((up, look, door))
}

/// Bytes that the workers have got by HTTP, as their signs of life say after this moment.
async fn fetched(look: &Look) -> anyhow::Result<u64> {
    let now = jiff::Timestamp::now().to_string();
    eventually("signs of life", async || {
        let all: Vec<_> = look.store.instances().await?.into_values().flatten().collect();
        let is_new = all.iter().all(|instance| instance.at > now);
        let bytes = all.iter().map(|instance| instance.totals.fetched_bytes).sum();
        Ok((is_new && !all.is_empty()).then_some(bytes))
    })
    .await
}

/// What workers on the other host find, how many bytes came by HTTP, and in how many seconds.
async fn found_far(home: &Home, sees: Sees) -> anyhow::Result<(Found, u64, f64)> {
    let far = Far::new()?;
    let (up, look, door) = offering(home, &far).await?;
    look.first_scan().await?;
    let begun = Instant::now();
    let mut workers: Vec<Child> = Vec::new();
    for plugin in PLUGINS {
        let start = Start { plugin, broker: door.address, sees, vars: &[] };
        home.run(&["plugin", "login", plugin]).await?.ok()?;
        workers.push(far.start(home, &start)?);
        look.ready(workers.len()).await?;
    }
    let found = look.scanned(home).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = fetched(&look).await?;
    drop(workers);
    drop(look);
    up.stop().await?;
    Ok((found, bytes, seconds))
}

/// The contents that were looked at under another name of the same bytes: of copies, the one that the
/// scanner comes to first counts.
fn other_copies(local: &Found, found: &Found, library: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut copies = BTreeSet::new();
    for (of, here) in local.iter().filter(|((_, plugin), _)| plugin == "file-info") {
        let there = found.get(of).with_context(|| format!("{of:?} is missing"))?;
        let [here, there] = [here, there].map(|record| record["meta"]["file/name"].as_str());
        if let (Some(here), Some(there)) = (here, there)
            && here != there
        {
            let [one, other] = [named(library, here)?, named(library, there)?];
            anyhow::ensure!(one.is_some() && one == other, "{here} is no copy of {there}");
            copies.insert(of.0.clone());
        }
    }
    Ok(copies)
}

/// The bytes of the first file with this name.
fn named(folder: &Path, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            if let Some(found) = named(&entry.path(), name)? {
                return Ok(Some(found));
            }
        } else if entry.file_name() == name {
            return Ok(Some(std::fs::read(entry.path())?));
        }
    }
    Ok(None)
}

fn size(library: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(library)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[tokio::test]
async fn workers_without_the_library_find_what_local_ones_find() -> anyhow::Result<()> {
    if !is_allowed() {
        return Ok(());
    }
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    let library = format!("demo={}", home.library().display());
    let begun = Instant::now();
    let (up, look) = Up::fleet_with(&home, PLUGINS.len(), &["--library", &library]).await?;
    look.first_scan().await?;
    let local = look.scanned(&home).await?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(look);
    up.stop().await?;
    println!("local: {} records, 0 bytes by HTTP, {seconds:.1} s", local.len());
    assert!(local.len() > 50, "{}", local.len());

    let none = home.root().join("no-plugins");
    std::fs::create_dir_all(&none)?;
    let mut home = home.with_var("METAFLEET_PLUGIN_PATH", none.to_string_lossy());
    let all = size(&home.library())?;
    for (name, sees) in [("elsewhere", Sees::Elsewhere), ("no-mount", Sees::Nothing)] {
        let data = home.root().join(format!("data-{name}"));
        home = home.with_data(data);
        let (found, bytes, seconds) = found_far(&home, sees).await?;
        println!("{name}: {} records, {bytes} bytes of {all} by HTTP, {seconds:.1} s", found.len());

        let copies = other_copies(&local, &found, &home.library())?;
        for (of, expected) in &local {
            let found = found.get(of).with_context(|| format!("{name}: {of:?} is missing"))?;
            if copies.contains(&of.0) {
                assert_eq!(found["status"], expected["status"], "{name}: {of:?}");
            } else {
                assert_eq!(found, expected, "{name}: {of:?}");
            }
        }
        assert_eq!(found.len(), local.len(), "{name}");
        match sees {
            Sees::Elsewhere => assert_eq!(bytes, 0),
            Sees::Nothing => assert!(bytes > 0, "how did they read?"),
        }
    }
    Ok(())
}

/// A fleet with one worker on the other host.
async fn one_far(
    home: &Home,
    far: &Far,
    plugin: &str,
    vars: &[(&str, &str)],
) -> anyhow::Result<(Up, Look, Door, Child)> {
    let (up, look, door) = offering(home, far).await?;
    let start = Start { plugin, broker: door.address, sees: Sees::Nothing, vars };
    home.run(&["plugin", "login", plugin]).await?.ok()?;
    let worker = far.start(home, &start)?;
    look.ready(1).await?;
    Ok((up, look, door, worker))
}

fn without_plugins() -> anyhow::Result<Home> {
    let home = Home::new()?;
    let none = home.root().join("no-plugins");
    std::fs::create_dir_all(&none)?;
    Ok(home.with_var("METAFLEET_PLUGIN_PATH", none.to_string_lossy()))
}

#[tokio::test]
async fn a_wrong_token_is_a_clear_error_and_no_bytes() -> anyhow::Result<()> {
    if !is_allowed() {
        return Ok(());
    }
    let _place = heavy().await?;
    let home = without_plugins()?;
    home.write("a.txt", "a text")?;
    let far = Far::new()?;
    let vars = [("METAFLEET_FILES_TOKEN", "file-info.not-right")];
    let (up, look, _door, _worker) = one_far(&home, &far, "file-info", &vars).await?;

    home.run(&["scan", &home.file(""), "--wait"]).await?.ended(6)?;

    let records = look.records().await?;
    let record = records.first().context("a record")?;
    assert_eq!(record.status, RecordStatus::Failed);
    let error = record.error.clone().unwrap_or_default();
    for words in ["is not on this machine", "(401)", "METAFLEET_FILES_TOKEN"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(!error.contains("not-right"), "{error}");
    let log = std::fs::read_to_string(home.root().join("far-file-info.log"))?;
    assert!(!log.contains("not-right"), "{log}");
    drop(look);
    up.stop().await
}

#[tokio::test]
async fn a_transfer_that_the_coordinator_dies_in_is_begun_again() -> anyhow::Result<()> {
    if !is_allowed() {
        return Ok(());
    }
    let _place = heavy().await?;
    let home = without_plugins()?;
    let big = home.library().join("big.bin");
    std::fs::File::create(&big)?.set_len(1 << 30)?;
    let far = Far::new()?;
    let (mut up, look, _door, _worker) = one_far(&home, &far, "full-hash", &[]).await?;
    let names = look.store.names();
    let mut told = look.store.client().subscribe(names.signals("progress")).await?;
    home.run(&["scan", &home.file("")]).await?.ok()?;
    let in_the_middle = async {
        while let Some(message) = told.next().await {
            let signal: Signal = serde_json::from_slice(&message.payload)?;
            if matches!(signal.what, What::Progress { fraction, .. } if fraction > 0.0) {
                return Ok(());
            }
        }
        anyhow::bail!("nobody tells of progress")
    };
    tokio::time::timeout(LIMIT * 2, in_the_middle).await.context("no progress")??;

    up.signal(Kill::KILL)?;
    up.ended().await?;
    assert!(!up.said().contains("a file was sent"));
    drop((up, look));
    let library = format!("demo={}", home.library().display());
    let listen = format!("{}:0", far.here);
    let more = ["--library", &library, "--files-listen", &listen];
    let (up, look) = Up::fleet_with(&home, 0, &more).await?;

    let record = within(LIMIT * 4, "the record of the big file", async || {
        Ok(look.records().await?.into_iter().find(|it| it.plugin_id.as_str() == "full-hash"))
    })
    .await?;
    assert_eq!(record.status, RecordStatus::Completed, "{record:?}");
    let sum = Command::new("sha256sum").arg(&big).output().await?;
    let sum = String::from_utf8(sum.stdout)?;
    let found = record.meta.get("hash/sha256").and_then(|value| value.as_text());
    assert_eq!(found, sum.split(' ').next(), "{record:?}");
    assert!(record.attempt > 1, "{record:?}");
    drop(look);
    up.stop().await
}
