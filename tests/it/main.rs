//! The core as a whole, on real brokers; see `tests/FEATURES.md` for what shows which feature.

mod graph;
mod incremental;
mod later;
mod lease;
mod limits;
mod protocol;
mod repair;
mod restart;
mod retry;
mod seed;
