//! Bugs that are planted on purpose, to see which experiment finds them (`make planted`).
//!
//! They are in the programs only with the feature `planted-bugs`, and of those at most one is alive: the one that
//! the environment names. Without the feature [`planted`] is the constant `false`, and nothing is left of a
//! bug in the program. A build for release refuses the feature.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("bugs are planted for tests only, never in a release");

/// Names the bug that is alive, in programs that have them. What begins as our own variables do is kept from
/// plugins.
pub const VARIABLE: &str = "PLANTED_BUG";

/// Whether this program has bugs that can come alive.
pub const COMPILED_IN: bool = cfg!(feature = "planted-bugs");

/// Something that is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A worker acknowledges its task before the record is stored.
    AckFirst,
    /// A worker writes its record whatever it replaces.
    NoRecordFence,
    /// Signals of one task look like repetitions of each other, whatever the attempt.
    IdWithoutAttempt,
    /// A worker takes for stored what nobody has acknowledged.
    UnknownIsStored,
    /// A worker gives a task back that may be somebody else's by now.
    LateNak,
    /// A request for tasks is over when its time is, whether or not the broker has read it.
    RequestForgotten,
    /// A file that has another size than the one that was found is read all the same.
    FileUnchecked,
    /// A failed attempt is always followed by another one.
    NoCap,
    /// A leader writes whether or not it still leads.
    NoWarrant,
    /// A candidate leads without waiting for the lease of another one to run out.
    LeaseTooSoon,
    /// What depends on something is published as soon as that is published.
    ChildFirst,
    /// What is recorded of a file while its records are being read is missed.
    MissedRecord,
    /// Tasks are published whatever is there already.
    NoTaskFence,
    /// A submission is acknowledged before its end is stored.
    SettledUnheard,
    /// A signal is acknowledged before what follows from it is stored.
    SignalFirst,
    /// Which plugin has failed is read from the message and not from its subject.
    IdentityFromBody,
    /// Nobody looks for tasks that are delivered no more and of which no advisory came.
    NoSweep,
    /// A task that waits for its time is taken for lost.
    WaitingIsMissing,
    /// Nothing says that an event was told before.
    ToldAgain,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::AckFirst,
        Self::NoRecordFence,
        Self::IdWithoutAttempt,
        Self::UnknownIsStored,
        Self::LateNak,
        Self::RequestForgotten,
        Self::FileUnchecked,
        Self::NoCap,
        Self::NoWarrant,
        Self::LeaseTooSoon,
        Self::ChildFirst,
        Self::MissedRecord,
        Self::NoTaskFence,
        Self::SettledUnheard,
        Self::SignalFirst,
        Self::IdentityFromBody,
        Self::NoSweep,
        Self::WaitingIsMissing,
        Self::ToldAgain,
    ];

    /// How the environment calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckFirst => "ack-first",
            Self::NoRecordFence => "no-record-fence",
            Self::IdWithoutAttempt => "id-without-attempt",
            Self::UnknownIsStored => "unknown-is-stored",
            Self::LateNak => "late-nak",
            Self::RequestForgotten => "request-forgotten",
            Self::FileUnchecked => "file-unchecked",
            Self::NoCap => "no-cap",
            Self::NoWarrant => "no-warrant",
            Self::LeaseTooSoon => "lease-too-soon",
            Self::ChildFirst => "child-first",
            Self::MissedRecord => "missed-record",
            Self::NoTaskFence => "no-task-fence",
            Self::SettledUnheard => "settled-unheard",
            Self::SignalFirst => "signal-first",
            Self::IdentityFromBody => "identity-from-body",
            Self::NoSweep => "no-sweep",
            Self::WaitingIsMissing => "waiting-is-missing",
            Self::ToldAgain => "told-again",
        }
    }
}

/// Whether this bug is alive.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this bug is alive.
///
/// # Panics
///
/// When the environment names a bug that there is not: nobody is to believe that it was not found.
#[cfg(feature = "planted-bugs")]
#[must_use]
#[expect(clippy::disallowed_methods, clippy::panic, reason = "never in a product")]
pub fn planted(bug: Bug) -> bool {
    static ALIVE: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let alive = ALIVE.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
        Some(found.unwrap_or_else(|| panic!("there is no bug called {name}")))
    });
    *alive == Some(bug)
}
