//! What the kernel says of processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::Reading;
use super::tree::{Stat, memory_limit, parse, sum};

/// One look at all processes of this machine.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    all: BTreeMap<u32, Stat>,
    clock: Duration,
}

impl Processes {
    /// Looks; `clock` says when that is. Those that end meanwhile are left out.
    #[must_use]
    pub fn look(clock: Duration) -> Self {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let stats = pids.filter_map(|pid| {
            // A name need not be UTF-8.
            let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
            parse(&String::from_utf8_lossy(&text))
        });
        Self { all: stats.map(|stat| (stat.pid, stat)).collect(), clock }
    }

    /// What the instance with this first process uses; `None` when that is gone.
    #[must_use]
    pub fn reading(&self, first: u32) -> Option<Reading> {
        let sum = sum(&self.all, first)?;
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        let limits = fs::read_to_string(format!("/proc/{first}/limits")).unwrap_or_default();
        Some(Reading {
            life: format!("{first} {}", sum.started),
            clock: self.clock,
            cpu_time: time(sum.ticks),
            memory: sum.pages.saturating_mul(page),
            memory_limit: memory_limit(&limits),
            pids: sum.threads,
        })
    }
}

/// The time that so many ticks are.
fn time(ticks: u64) -> Duration {
    let each = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs(ticks / each)
        + Duration::from_secs(ticks % each) / u32::try_from(each).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::rate;
    use super::*;

    /// A process whose child does the work, and is gone before the second look.
    #[test]
    fn what_children_use_counts_also_when_they_have_ended() -> anyhow::Result<()> {
        let script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo; read x";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let first = Processes::look(Duration::ZERO).reading(child.id());

        let mut said = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said)?;
        let elapsed = Duration::from_secs(1);
        let second = Processes::look(elapsed).reading(child.id());
        child.kill()?;
        child.wait()?;

        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(second.cpu_time > first.cpu_time, "{first:?} {second:?}");
        assert!(rate(&first, &second).is_some_and(|cpu| cpu > 0.0), "{first:?} {second:?}");
        assert!((100_000..100_000_000).contains(&second.memory), "{second:?}");
        assert_eq!(second.pids, 1);
        let gone = Processes::look(elapsed).reading(child.id());
        assert!(gone.is_none_or(|now| now.life != second.life), "it is gone");
        Ok(())
    }
}
