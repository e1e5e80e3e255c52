//! Tries whether a worker, in whatever language, does what `PROTOCOL.md` says.
//!
//! A black box: each case starts the worker anew, as a process or as a container, against a broker that is thrown away
//! afterwards, plays the coordinator, listens to what passes, and judges. Workers that say
//! `capabilities.conformance` follow a script (`worker-sdk/conformance/README.md`), so that more of
//! them can be tried.

mod case;
mod cases;
mod files;
mod image;
mod judge;
mod kit;
mod lane;
mod report;
mod seen;
mod stage;
mod tape;
mod worker;

pub use case::{Case, Kind, all, chosen};
pub use image::{FOLDER, HOST, ImageError, LOCK, Tried};
pub use kit::{Options, run};
pub use report::{CaseReport, Report, Verdict, Written};
pub use worker::Subject;

/// The version of the kit; it rises when a case is added, taken away or becomes stricter.
pub const VERSION: u32 = 1;
