//! The core as a whole, on real brokers; see `tests/FEATURES.md` for what shows which feature.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one event it waits for")]
#![expect(clippy::print_stdout, reason = "seeds and figures are shown when a test fails")]

mod api;
mod author;
mod bridge;
mod chaos;
mod cli;
mod compose;
mod conformance;
mod connection;
mod docker;
mod doctor;
mod fleets;
mod fuzz;
mod graph;
mod hostile;
mod hostile_http;
mod incremental;
mod internal;
mod junk;
mod later;
mod lease;
mod limits;
mod makers;
mod operator;
mod plugins;
mod plugins_yml;
mod protocol;
mod quarantine;
mod remote;
mod repair;
mod restart;
mod retry;
mod route;
mod sandbox;
mod secrets;
mod seed;
mod simulation;
mod standby;
mod takeover;
mod tidy;
mod trace;
mod transition;
