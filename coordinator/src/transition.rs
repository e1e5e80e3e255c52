//! One version of a plugin takes the place of another, and no task is lost or mixed; pure.
//!
//! ```text
//!              begin                     switch
//!  v1 current ───────▶ v1 current, v2 next ───────▶ v2 current (v1 is the one before)
//!       ▲                      │                          │
//!       └────── revert ────────┘                          │
//!       └──────────────── begin, the other way ───────────┘
//! ```
//!
//! A plugin has two versions at a time at most. What keeps them apart:
//!
//! - the fingerprint of a task, and of the record made of it, contains the version; a record of
//!   another version is not taken as the outcome;
//! - each task says for which version it is, and a worker of another gives it back;
//! - a worker pulls what the answer to its announcement says: the tasks of the current version, those
//!   of the next one from a lane of its own, or nothing.
//!
//! | way | what happens until the switch |
//! |---|---|
//! | immediate | nothing: the new version takes over when it is there, whatever the old one holds |
//! | graceful | the old one pulls no more; the new one begins when the old one holds nothing |
//! | gradual | a share of the files goes to the new one, and rises while that does not fail more |
//! | blue-green | the new one gets what the old one gets as well; its outcomes are only compared |
//!
//! The state lies in the bucket of plugins and is written with compare-and-set, by the commands and by
//! the leader. All here are functions from values to values; `registry::service::transition` acts.

pub mod admit;
pub mod diff;
pub mod judge;
pub mod pick;
pub mod plan;
pub mod share;
pub mod state;
pub mod step;

pub use self::plan::{How, Plan, Steps};
pub use self::state::{Transition, Versions, Way};
