//! The worker against a real broker; the test plays the coordinator.

mod artifacts;
mod drain;
mod faults;
mod guard;
mod hangs;
mod harness;
mod lanes;
mod outcomes;
mod process;
mod proxy;
mod queues;
mod readme;
mod script;
mod server;
mod stale;
mod standing;
