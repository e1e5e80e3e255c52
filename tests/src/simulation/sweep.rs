//! Many seeds, one after the other, on several threads.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::{Breach, World, play, shortest};

/// Seeds that go wrong after which a sweep ends.
const MOST_FAILURES: usize = 5;

/// A seed that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What went wrong first.
    pub wrong: String,
    /// The shortest world found in which anything goes wrong.
    pub world: World,
    /// What goes wrong in that.
    pub last: String,
}

impl Failure {
    /// The line by which it is played again.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("seed {}", self.world.seed);
        for part in &self.world.without {
            // Writing into a text cannot fail.
            write!(line, " without {part}").unwrap_or_default();
        }
        line
    }
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds played.
    pub seeds: u64,
    /// How often something was done, over all of them.
    pub steps: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Those that went wrong, the first ones only.
    pub failures: Vec<Failure>,
}

impl Report {
    /// One line of figures.
    #[must_use]
    pub fn figures(&self) -> String {
        let a_minute = self.seeds * 60_000 / self.took_ms.max(1);
        format!(
            "{} seeds, {} steps, {} ms, {a_minute} seeds a minute, {} wrong",
            self.seeds,
            self.steps,
            self.took_ms,
            self.failures.len()
        )
    }

    /// The figures, and of each failure what to do to see it again.
    #[must_use]
    pub fn text(&self, commit: &str) -> String {
        let mut text = self.figures();
        for failure in &self.failures {
            let again = &failure.last;
            write!(
                text,
                "\n\ncommit {commit}, {}\nwrong: {}\nthe shortest: {again}\n{}",
                failure.line(),
                failure.wrong,
                failure.world.tell(),
            )
            .unwrap_or_default();
        }
        text
    }
}

/// Plays all seeds of a range, and looks for the shortest world of each that goes wrong.
#[must_use]
pub fn sweep(seeds: Range<u64>, threads: usize, breach: Option<Breach>) -> Report {
    let begun = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    let lock = || report.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || lock().failures.len() >= MOST_FAILURES {
                        return;
                    }
                    let world = World::of(seed);
                    let played = play(&world, breach, false);
                    let failure = played.wrong.map(|wrong| {
                        let world = shortest(&world, breach);
                        let last = play(&world, breach, false).wrong.unwrap_or_default();
                        Failure { wrong, world, last }
                    });
                    let mut report = lock();
                    report.seeds += 1;
                    report.steps += played.steps;
                    report.failures.extend(failure);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|failure| failure.world.seed);
    report.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

/// Reads the lines by which worlds are played again; what follows a `#` is for people.
///
/// # Errors
///
/// The first line that makes no sense.
pub fn worlds(lines: &str) -> anyhow::Result<Vec<World>> {
    let mut worlds = Vec::new();
    for line in lines.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["seed", seed, rest @ ..] = words.as_slice() else {
            anyhow::bail!("not a world: {line}");
        };
        let mut without = std::collections::BTreeSet::new();
        for pair in rest.chunks(2) {
            let ["without", part] = pair else { anyhow::bail!("not a world: {line}") };
            without.insert(part.parse()?);
        }
        worlds.push(World::without(seed.parse()?, without));
    }
    Ok(worlds)
}
