//! The protocol as written: PROTOCOL.md says what the code does, and a worker that has nothing but
//! PROTOCOL.md (`tests/protocol/worker.py`) works in a real fleet.

mod document;
mod faults;
mod files;
mod lanes;
pub(crate) mod python;
mod tables;
mod transcript;
mod worker;
