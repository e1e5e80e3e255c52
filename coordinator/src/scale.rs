//! PURE: how many instances of each plugin run, from what waits, within bounds and a cap.
//!
//! ```text
//! work ─► number::needed ─► History: has it held for long enough? ─► cap::grant ─► numbers
//!                                                                        ▲
//!                                      cap of the fleet, all other plugins ┘
//! ```
//!
//! An instance that is one too many is not stopped, it drains: see [`drain`].

pub mod cap;
pub mod drain;
pub mod number;
pub mod recycle;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

pub use self::cap::{Cap, Grant, Share, Wish, grant};
pub use self::drain::{Drain, Sign, Step};
pub use self::number::{Busy, History, Mean, Pace, Work, needed};

/// Time since the one who decides began: it never goes back.
pub type Moment = Duration;

/// No machine runs more of one plugin.
pub const MAX_INSTANCES: u32 = 1_000;

/// Between how many and how many instances there are of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    min: u32,
    max: NonZeroU32,
}

impl Bounds {
    /// `None` unless `min` ≤ `max` ≤ [`MAX_INSTANCES`].
    #[must_use]
    pub fn new(min: u32, max: NonZeroU32) -> Option<Self> {
        (min <= max.get() && max.get() <= MAX_INSTANCES).then_some(Self { min, max })
    }

    /// Always so many.
    #[must_use]
    pub fn fixed(number: NonZeroU32) -> Self {
        Self { min: number.get(), max: number }
    }

    /// The fewest.
    #[must_use]
    pub fn min(self) -> u32 {
        self.min
    }

    /// The most.
    #[must_use]
    pub fn max(self) -> u32 {
        self.max.get()
    }

    /// Whether there is nothing to decide.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        self.min == self.max.get()
    }

    /// The number within the bounds that is nearest to `number`.
    #[must_use]
    pub fn clamp(self, number: u32) -> u32 {
        number.clamp(self.min, self.max.get())
    }
}
