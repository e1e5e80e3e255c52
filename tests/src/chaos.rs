//! The experiment that kills everything: real processes, real kills, and a check that nothing of
//! what was promised got lost.
//!
//! One program, `metafleet-chaos`, plays all parts: it runs the experiment, and it starts itself as
//! coordinator and as workers. Workers keep a [`ledger`] of what they begin; a seeded [`plan`] says
//! who is killed when; [`check`] judges, from the ledgers and from what the broker holds in the end.

pub mod check;
pub mod clock;
pub mod disk;
mod disturb;
pub mod experiment;
pub mod ledger;
pub mod leftover;
pub mod net;
pub mod noop;
pub mod plan;
pub mod power;
pub mod process;
pub mod recovery;
pub mod report;
pub mod series;
pub mod soak;
pub mod stall;
pub mod submitter;

/// Plugins with their priority and what they need, in the shape of the seed's graph.
pub const GRAPH: [(&str, u8, &[&str]); 6] = [
    ("file-info", 10, &[]),
    ("ffmpeg", 15, &["file-info"]),
    ("filename-parser", 20, &["file-info"]),
    ("jellyfin-nfo", 25, &["filename-parser"]),
    ("anime-detector", 28, &["filename-parser"]),
    ("tmdb", 30, &["anime-detector"]),
];

/// A breach of the rules, to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Workers take their task out of its stream before they have written its record.
    AckFirst,
    /// A submission is taken out of its stream before its file is settled.
    ForgetFiles,
    /// What the broker did not acknowledge is not handed in again.
    SubmitOnce,
    /// Plugins begin without what they depend on.
    IgnoreOrder,
    /// A worker that was stopped writes its record over the one that is there by then.
    NoFence,
    /// Subscribers are told of an outcome once more.
    TellTwice,
}

/// Microseconds on the clock that all processes of a machine share.
#[must_use]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
