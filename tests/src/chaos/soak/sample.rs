//! What one look at a fleet sees.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

/// What the broker is called among processes.
pub const BROKER: &str = "nats-server";
/// What every coordinator is called: which of them leads changes.
pub const COORDINATOR: &str = "coordinator";
/// What this program is called; it is noted and not judged.
pub const HARNESS: &str = "harness";

/// One look; a line of `samples.jsonl`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// Executions begun so far.
    pub begun: usize,
    /// Executions in a second since the look before.
    pub rate: u64,
    /// Every process that runs; one that is stopped is left out.
    pub processes: Vec<ProcessState>,
    /// Every stream; none when the broker did not say.
    pub streams: Vec<StreamState>,
}

impl Sample {
    /// Executions in a second since another look.
    #[must_use]
    pub fn rate_since(&self, before: &Self) -> u64 {
        let begun = u64::try_from(self.begun.saturating_sub(before.begun)).unwrap_or(u64::MAX);
        let millis = self.at_ms.saturating_sub(before.at_ms);
        begun.saturating_mul(1_000).checked_div(millis).unwrap_or(0)
    }
}

/// A process.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState {
    /// What it is: a plugin's id, or one of the names above.
    pub role: String,
    /// Its process id.
    pub pid: u32,
    /// What it holds.
    #[serde(flatten)]
    pub held: Held,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Resident memory, in kB.
    pub memory_kb: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Held {
    /// What a process holds now.
    pub fn by(pid: u32) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let status = std::fs::read_to_string(folder.join("status"))?;
        let memory_kb = resident(&status).with_context(|| format!("no memory of {pid}"))?;
        let descriptors = std::fs::read_dir(folder.join("fd"))?.count().try_into()?;
        Ok(Self { memory_kb, descriptors })
    }
}

/// `VmRSS` of the status of a process; one that is dying has none.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A stream.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// Consumers that stay.
    pub durable: u64,
    /// Consumers that go when nobody has asked them for a while: of who watches a stream.
    pub ephemeral: u64,
    /// Messages that it holds.
    pub messages: u64,
    /// What they take.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_read_from_its_folder() -> anyhow::Result<()> {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t2\n"), Some(1_234));
        assert_eq!(resident("Name:\tx\nState:\tZ (zombie)\n"), None);

        let before = Held::by(std::process::id())?;
        let opened: Vec<std::fs::File> =
            (0..100).map(|_| std::fs::File::open("/dev/null")).collect::<Result<_, _>>()?;
        let after = Held::by(std::process::id())?;

        // Other tests of this process open and close some, too.
        assert!(after.descriptors > before.descriptors + 50, "{before:?}, {after:?}");
        assert!(before.memory_kb > 1_000, "{before:?}");
        drop(opened);
        Ok(())
    }

    #[test]
    fn the_rate_is_what_began_since_the_look_before() {
        let of = |at_ms, begun| Sample { at_ms, begun, ..Sample::default() };

        assert_eq!(of(7_500, 1_600).rate_since(&of(2_500, 500)), 220);
        assert_eq!(of(2_500, 500).rate_since(&of(2_500, 500)), 0);
    }
}
