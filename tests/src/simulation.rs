//! The core of the coordinator in a simulated world: its real decisions, a simulated JetStream,
//! workers of every kind, faults, and a clock that jumps. All of it follows from one seed.
//!
//! A world is a few files that go through a few plugins while things go wrong ([`World`]). What must
//! never happen is checked with every step; where the faults come to an end, everything has to settle in
//! bounded time after them, and nothing may be left over. A world that goes wrong is made smaller until
//! every part of it is needed ([`shortest`]), and is played again for ever after.
//!
//! Left out: versions of plugins, routes, and the registry, which have tests of their own; and the
//! events by which subscribers are told of each record.

mod audit;
mod breach;
mod broker;
mod coordinator;
mod drive;
pub mod mirror;
mod plan;
mod runtime;
mod shrink;
mod sim;
mod sweep;
mod tell;
mod worker;

pub use breach::Breach;
pub use drive::{Played, play};
pub use plan::{Part, World};
pub use shrink::shortest;
pub use sweep::{Failure, Report, sweep, worlds};
