//! PURE. How the time of an attempt is divided.

use std::time::Duration;

/// What is kept back for killing the command and saying so.
const LAST: Duration = Duration::from_millis(500);

/// How long a command may run, and then how long it may take to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) run: Duration,
    pub(crate) grace: Duration,
}

/// Divides what is left of an attempt: at most a twentieth is kept back, and a tenth is for ending.
pub(crate) fn of(remaining: Duration, grace: Duration) -> Budget {
    let last = LAST.min(remaining / 20);
    let grace = grace.min(remaining / 10);
    Budget { run: remaining.saturating_sub(last + grace), grace }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_over_before_the_attempt() {
        let ms = Duration::from_millis;
        for (remaining, grace, run, ending) in [
            (30_000, 1_000, 28_500, 1_000),
            (1_000, 1_000, 850, 100),
            (20, 1_000, 17, 2),
            (0, 1_000, 0, 0),
            (30_000, 0, 29_500, 0),
        ] {
            let expected = Budget { run: ms(run), grace: ms(ending) };
            assert_eq!(of(ms(remaining), ms(grace)), expected, "{remaining} {grace}");
        }
    }
}
