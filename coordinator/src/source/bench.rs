//! Measures the scanner: files/s of a first scan and of a second one, MB/s beside `sha256sum`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use broker_config::midhash::SAMPLE_BYTES;
use serde::Serialize;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::found::{Change, FoundFile, Sink};
use super::index::memory::MemoryIndex;
use super::index::{PathIndex, PortError};
use super::report::{Progress, ScanError, ScanReport};
use super::scan::{ScanOptions, Scanner};

/// What to measure with.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// An empty folder, or one that does not exist; what is put in it is removed again.
    pub dir: PathBuf,
    /// Small files, each with a content of its own.
    pub files: usize,
    /// Files of one folder.
    pub per_folder: usize,
    /// Files of 1 MiB for the speed of hashing.
    pub large_files: usize,
    /// Files hashed at the same time.
    pub hash_threads: usize,
}

impl BenchOptions {
    /// 100,000 small files and 512 MiB of large ones in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, files: 100_000, per_folder: 100, large_files: 512, hash_threads: 2 }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchReport {
    /// Small files.
    pub files: u64,
    /// Everything is hashed, handed in and written to the index.
    pub first_files_per_second: f64,
    /// Nothing has changed.
    pub rescan_files_per_second: f64,
    /// Must be 0.
    pub rescan_hashed_bytes: u64,
    /// Hashing by the scanner, in 10^6 bytes.
    pub hash_mb_per_second: f64,
    /// Hashing the same files by `sha256sum`; `None` where there is no such program.
    pub sha256sum_mb_per_second: Option<f64>,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The files to measure with could not be made or removed.
    #[error("bench files in {}", dir.display())]
    Files {
        dir: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A scan failed.
    #[error("scan of the bench files")]
    Scan(#[from] ScanError),
    /// A scan left something out, so its speed means nothing.
    #[error("the scan found {found} of {expected} files")]
    Incomplete { found: u64, expected: u64 },
}

/// Makes files, scans them twice with `index`, and removes them.
///
/// # Errors
///
/// [`BenchError`] where the files cannot be made or a scan does not see all of them.
pub async fn run<I: PathIndex>(
    index: &I,
    options: &BenchOptions,
) -> Result<BenchReport, BenchError> {
    let dir = options.dir.clone();
    let failed = |cause| BenchError::Files { dir: dir.clone(), cause };
    let made = make(options.clone()).await.map_err(failed)?;
    let result = measure(index, options).await;
    let removed = spawn_blocking(move || made.iter().try_for_each(fs::remove_dir_all)).await;
    removed.map_err(io::Error::other).and_then(|removed| removed).map_err(failed)?;
    result
}

async fn measure<I: PathIndex>(
    index: &I,
    options: &BenchOptions,
) -> Result<BenchReport, BenchError> {
    let small = small_in(&options.dir);
    let first = scan(index, &small, options).await?;
    let again = scan(index, &small, options).await?;
    let large = large_in(&options.dir);
    let hashed = scan(&MemoryIndex::default(), &large, options).await?;
    let megabytes = options.large_files as f64 * SAMPLE_BYTES as f64 / 1e6;
    let files = options.files as u64;
    for (found, expected) in [
        (first.counts.submitted, files),
        (again.counts.unchanged, files),
        (hashed.counts.hashed_files, options.large_files as u64),
    ] {
        if found != expected {
            return Err(BenchError::Incomplete { found, expected });
        }
    }
    Ok(BenchReport {
        files,
        first_files_per_second: files as f64 / first.seconds,
        rescan_files_per_second: files as f64 / again.seconds,
        rescan_hashed_bytes: again.counts.hashed_bytes,
        hash_mb_per_second: megabytes / hashed.seconds,
        sha256sum_mb_per_second: sha256sum(&large, options.large_files)
            .await
            .map(|seconds| megabytes / seconds),
    })
}

async fn scan<I: PathIndex>(
    index: &I,
    root: &Path,
    options: &BenchOptions,
) -> Result<ScanReport, ScanError> {
    let scanner = Scanner {
        index,
        sink: &TakesAll,
        options: &ScanOptions { hash_threads: options.hash_threads, ..ScanOptions::default() },
        progress: &watch::Sender::new(Progress::default()),
        cancel: &CancellationToken::new(),
    };
    scanner.run(&[root.to_owned()]).await
}

/// How long the program takes for the same files, in seconds.
async fn sha256sum(dir: &Path, files: usize) -> Option<f64> {
    let names = (0..files).map(large_name);
    let started = Instant::now();
    let status = Command::new("sha256sum")
        .args(names)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    status.ok().filter(std::process::ExitStatus::success).map(|_| started.elapsed().as_secs_f64())
}

/// Makes the files; the folders to remove afterwards.
async fn make(options: BenchOptions) -> io::Result<[PathBuf; 2]> {
    let make = move || {
        let (small, large) = (small_in(&options.dir), large_in(&options.dir));
        let per_folder = options.per_folder.max(1);
        for number in 0..options.files {
            let folder = small.join(format!("folder-{:06}", number / per_folder));
            if number % per_folder == 0 {
                fs::create_dir_all(&folder)?;
            }
            fs::write(folder.join(format!("file-{number:08}.txt")), format!("file {number}\n"))?;
        }
        fs::create_dir_all(&small)?;
        fs::create_dir_all(&large)?;
        let length = usize::try_from(SAMPLE_BYTES).unwrap_or(usize::MAX);
        let mut content: Vec<u8> = (0..=250).cycle().take(length).collect();
        for number in 0..options.large_files {
            let mark = number.to_be_bytes();
            content.splice(..mark.len(), mark);
            fs::write(large.join(large_name(number)), &content)?;
        }
        Ok([small, large])
    };
    spawn_blocking(make).await.map_err(io::Error::other)?
}

fn small_in(dir: &Path) -> PathBuf {
    dir.join("bench-small")
}

fn large_in(dir: &Path) -> PathBuf {
    dir.join("bench-large")
}

fn large_name(number: usize) -> String {
    format!("large-{number:06}.bin")
}

/// Takes files and changes and keeps none.
#[derive(Debug)]
struct TakesAll;

impl Sink for TakesAll {
    async fn submit(&self, _files: Vec<FoundFile>) -> Result<(), PortError> {
        Ok(())
    }

    async fn changes(&self, _changes: Vec<Change>) -> Result<(), PortError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_bench_measures_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            BenchOptions { files: 250, large_files: 2, ..BenchOptions::new(dir.path().to_owned()) };

        let report = run(&MemoryIndex::default(), &options).await.unwrap();

        assert_eq!(report.files, 250);
        assert_eq!(report.rescan_hashed_bytes, 0);
        assert!(report.rescan_files_per_second > 0.0, "{report:?}");
        assert!(report.hash_mb_per_second > 0.0, "{report:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
