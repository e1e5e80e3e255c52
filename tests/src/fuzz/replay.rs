//! Runs a target on what is kept of it, and on what becomes of that by chance.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;
use tokio::time::Instant;

use super::Target;

/// Mutations of one target; fewer where they take too long.
pub const MUTATIONS: usize = 4_000;
/// How long they may take together.
pub const TIME: Duration = Duration::from_secs(4);
/// Bytes of a mutation.
const LONGEST: usize = 16 << 10;
/// Pieces that tend to mean something to one target or another.
const PIECES: [&str; 28] = [
    "\0",
    "\u{feff}",
    "é",
    "\r\n",
    "%",
    "%2e%2e%2f",
    "%00",
    "%FF",
    "../",
    "/",
    ".",
    "_",
    "=",
    "=3A",
    "*",
    ">",
    "$",
    "${A}",
    "${A:-",
    "${KEY}",
    "\"",
    "[",
    "{\"a\":",
    "&a ",
    "*a",
    "18446744073709551616",
    "-1",
    "1e999",
];

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Inputs that are kept.
    pub kept: usize,
    /// Mutations of them.
    pub mutations: usize,
}

/// Where the inputs of a target are kept.
#[must_use]
pub fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

/// Runs a target on all that is kept, then on mutations that follow from the seed.
///
/// # Panics
///
/// As the target does; the input is printed.
pub fn replay(name: &str, target: Target, seed: u64) -> anyhow::Result<Ran> {
    let folder = corpus(name);
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    // The same order on every machine.
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    anyhow::ensure!(!inputs.is_empty(), "nothing is kept in {}", folder.display());
    for (path, input) in paths.iter().zip(&inputs) {
        run(target, input, &path.display().to_string());
    }
    let (mut rng, begun) = (Rng::with_seed(seed), Instant::now());
    let mut mutations = 0;
    while mutations < MUTATIONS && begun.elapsed() < TIME {
        let input = mutate(&mut rng, &inputs);
        run(target, &input, &format!("mutation {mutations} of {name} by seed {seed}"));
        mutations += 1;
    }
    Ok(Ran { kept: inputs.len(), mutations })
}

#[expect(clippy::print_stderr, reason = "shown where the test fails")]
fn run(target: Target, input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{what} is a finding: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// An input with a few changes.
fn mutate(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut Rng| rng.choice(inputs).cloned().unwrap_or_default();
    let mut bytes = pick(rng);
    for _ in 0..rng.usize(1..=6) {
        let at = rng.usize(0..=bytes.len());
        let end = rng.usize(at..=bytes.len().min(at + 64));
        match rng.u8(0..7) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.u8(0..8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece: Vec<u8> = bytes.get(at..end).unwrap_or_default().to_vec();
                let times = rng.usize(1..=4);
                insert(&mut bytes, at, &piece.repeat(times));
            }
            4 => {
                let piece = rng.choice(PIECES).unwrap_or_default().as_bytes();
                let times = if rng.u8(0..16) == 0 { 300 } else { 1 };
                insert(&mut bytes, at, &piece.repeat(times));
            }
            5 => {
                let other = pick(rng);
                let from = rng.usize(0..=other.len());
                let to = rng.usize(from..=other.len().min(from + 256));
                insert(&mut bytes, at, other.get(from..to).unwrap_or_default());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
