//! The core as a whole, on real brokers; see `tests/FEATURES.md` for what shows which feature.

mod chaos;
mod cli;
mod fleets;
mod graph;
mod incremental;
mod junk;
mod later;
mod lease;
mod limits;
mod plugins;
mod protocol;
mod repair;
mod restart;
mod retry;
mod secrets;
mod seed;
mod takeover;
mod tidy;
mod trace;
