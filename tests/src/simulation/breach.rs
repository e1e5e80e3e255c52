//! Rules that are broken on purpose, to see whether that is noticed.

use clap::ValueEnum;

/// One rule of the rim that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Breach {
    /// A worker acknowledges its task before it has put the record.
    AckBeforeRecord,
    /// A worker takes a record for stored of which it has heard nothing.
    UnknownRecord,
    /// Records are written whatever they replace.
    NoRecordFence,
    /// Tasks are published whatever there is already.
    NoTaskFence,
    /// A submission is acknowledged before its end is told.
    AckBeforeSettled,
    /// An event is taken for stored of which nobody has heard anything.
    UnknownEvent,
    /// Attempts have no limit.
    NoCap,
    /// What depends on something does not wait for it.
    ChildFirst,
    /// A signal is acknowledged before what follows from it is stored.
    AckSignalFirst,
    /// Who speaks is read from the message and not from its subject.
    IdentityFromBody,
    /// Nobody looks for lost tasks.
    NoReconciler,
    /// The advisory of an exhausted task is done with before its record is written.
    DeleteBeforeGivingUp,
}
