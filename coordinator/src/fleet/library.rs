//! One scan of folders into a fleet, from the first event to the last.

use std::path::PathBuf;
use std::time::Duration;

use broker_config::wire::event::{Fact, ScanCounts};
use broker_config::{PluginId, Queue};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::mark;
use crate::source::{PortError, Progress, ScanError, ScanOptions, ScanReport, Scanner};
use crate::store::paths::BrokerIndex;
use crate::store::patience::Patience;
use crate::store::submit::{BrokerSink, SubmitOptions};
use crate::store::{Store, StoreError};

/// How often subscribers hear how far a scan is.
const TELL: Duration = Duration::from_secs(5);
/// More threads than this read no faster from one disk.
const MOST_THREADS: usize = 8;

/// What to scan, and how to hand it in.
#[derive(Clone, Debug, Default)]
pub struct LibraryScan {
    /// Names the scan; see [`scan_id`].
    pub id: String,
    /// Absolute paths, as [`crate::source::root_path`] makes them.
    pub roots: Vec<PathBuf>,
    /// Every task goes into this queue; `None` = as the manifests say.
    pub queue: Option<Queue>,
    /// Run again what is up to date.
    pub force: bool,
    /// Only these plugins and what they need; empty = all.
    pub only: Vec<PluginId>,
    /// Take files for deleted also where so many are gone that it looks like a fault.
    pub allow_mass_deletion: bool,
    /// Whether somebody waits until all is settled.
    pub waits: bool,
}

/// What a scan did.
#[derive(Debug)]
pub struct Scanned {
    /// What was found.
    pub report: ScanReport,
    /// Files that are as they were and were not handed in: there is nothing left to run on them.
    pub left_alone: u64,
    /// Files that were handed in.
    pub handed_in: u64,
}

/// A scan could not be done.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The fleet's state could not be read or written.
    #[error("scan")]
    Store(#[from] StoreError),
    /// The scan itself broke off.
    #[error("scan")]
    Scan(#[from] ScanError),
    /// Subscribers could not be told.
    #[error("could not tell of the scan")]
    Tell(#[source] PortError),
}

/// A name for a scan that no other scan has.
#[must_use]
pub fn scan_id() -> String {
    format!("{}-{:08x}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(..))
}

impl LibraryScan {
    /// Scans, tells subscribers, and remembers how far it came. `runs` hears of each run opened;
    /// it is closed when nothing more is handed in.
    ///
    /// # Errors
    ///
    /// [`LibraryError`]; the same scan again goes on where this one ended.
    pub async fn run(
        &self,
        store: &Store,
        runs: Option<mpsc::Sender<u64>>,
        progress: &watch::Sender<Progress>,
        cancel: &CancellationToken,
    ) -> Result<Scanned, LibraryError> {
        let scan_id = self.id.as_str();
        let graph = store.graph_mark().await?;
        let is_partial = !self.only.is_empty();
        if is_partial {
            mark::forget(store).await?;
        }
        let all = self.force
            || is_partial
            || !mark::covers(store, &self.roots, &graph, self.waits).await?;
        let patience = Patience::new(cancel.clone());
        let index = BrokerIndex::new(store.clone(), patience.clone());
        let submit = SubmitOptions {
            scan_id: scan_id.to_owned(),
            queue: self.queue,
            force: self.force,
            only: self.only.clone(),
        };
        let sink = BrokerSink::new(store.clone(), patience.clone(), submit, runs);
        let roots = self.roots.iter().map(|root| root.to_string_lossy().into_owned()).collect();
        let started = Fact::ScanStarted { scan_id: scan_id.to_owned(), roots };
        sink.tell(started).await.map_err(LibraryError::Tell)?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let options = ScanOptions {
            force: all,
            hash_threads: threads.min(MOST_THREADS),
            allow_mass_deletion: self.allow_mass_deletion,
            ..ScanOptions::default()
        };
        let scanner = Scanner { index: &index, sink: &sink, options: &options, progress, cancel };

        let ended = tokio::select! {
            ended = scanner.run(&self.roots) => ended,
            never = tell(&sink, scan_id, progress) => match never {},
        };

        let error = match &ended {
            Ok(report) if report.cancelled => Some("interrupted".to_owned()),
            Ok(report) => report.failed_roots.first().map(ToString::to_string),
            Err(error) => Some(broker_config::Chain(error).to_string()),
        };
        let counts = counts(&progress.borrow());
        let duration_ms = ended.as_ref().map_or(0, |report| millis(report.seconds));
        let completed =
            Fact::ScanCompleted { scan_id: scan_id.to_owned(), counts, duration_ms, error };
        let told = sink.tell(completed).await;
        let report = ended?;
        told.map_err(LibraryError::Tell)?;
        if report.is_complete() && !is_partial {
            let now = Timestamp::now().to_string();
            mark::put(store, &patience, &self.roots, &graph, &now).await?;
        }
        let unchanged = if all { 0 } else { report.counts.unchanged };
        let left_alone = (unchanged + sink.left_alone()).saturating_sub(sink.taken_over());
        Ok(Scanned { report, left_alone, handed_in: sink.handed_in() })
    }
}

/// Tells subscribers how far the scan is, as long as it is polled.
async fn tell(
    sink: &BrokerSink,
    scan_id: &str,
    progress: &watch::Sender<Progress>,
) -> std::convert::Infallible {
    let mut due = interval(TELL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.tick().await;
    loop {
        due.tick().await;
        let counts = counts(&progress.borrow());
        let fact = Fact::ScanProgress { scan_id: scan_id.to_owned(), counts };
        if let Err(error) = sink.tell(fact).await {
            tracing::debug!(error = %broker_config::Chain(error.as_ref()), "progress was not told");
        }
    }
}

fn counts(progress: &Progress) -> ScanCounts {
    ScanCounts {
        directories: progress.dirs,
        files: progress.files,
        unchanged: progress.unchanged,
        hashed: progress.hashed_files,
        hashed_bytes: progress.hashed_bytes,
        submitted: progress.submitted,
        skipped: progress.skipped.values().sum(),
        unreadable: progress.unreadable,
        deleted: progress.deleted,
        moved: progress.moved,
    }
}

fn millis(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds.max(0.0)).as_millis()).unwrap_or(u64::MAX)
}
