//! Where files come from: scans of folders, compared with what earlier scans know.
//!
//! ```text
//! walk (names) ─► examine (status + index) ─► diff ─► hash ─► sink ─► index
//!                                               └► missing ─► sink ─► index
//! ```
//!
//! Memory does not grow with the tree. A file is handed in before its entry is written, so a crash
//! hands in again and loses nothing; an entry that stands for a missing file is removed after the
//! change was told. The broker is behind [`PathIndex`] and [`Sink`].

mod again;
pub mod bench;
pub mod diff;
mod examine;
pub mod found;
pub mod glob;
mod hash;
pub mod index;
pub mod report;
pub mod scan;
pub mod sidecar;
mod walk;

pub use again::{look_again, look_at};
pub use found::{Change, FoundFile, Sink, Why};
pub use index::{PathEntry, PathIndex, PortError};
pub use report::{Problem, Progress, RootError, ScanError, ScanReport, SkipReason};
pub use scan::{ScanOptions, Scanner, root_path};
pub use walk::Links;
