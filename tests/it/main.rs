//! The core as a whole, on real brokers; see `tests/FEATURES.md` for what shows which feature.

mod graph;
mod incremental;
mod retry;
mod seed;
