//! PURE: what the kernel says of all processes → what those of one instance use together.
//!
//! An instance is the process that was started, all that descend from it, and whoever is in its
//! process group: one whose parent has ended belongs to nobody by descent any more.

use std::collections::{BTreeMap, BTreeSet};

/// One process, as its `stat` says; see `proc_pid_stat(5)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Which.
    pub pid: u32,
    /// Who has started it.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Ticks of processor time, its own and those of children that it has waited for.
    pub ticks: u64,
    /// Its threads.
    pub threads: u64,
    /// When it was started, in ticks since the machine was; another process under the same number has
    /// another.
    pub started: u64,
    /// Pages in memory.
    pub pages: u64,
}

/// What several processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// When the first one was started, in ticks.
    pub started: u64,
    /// Ticks of processor time.
    pub ticks: u64,
    /// Pages in memory; what several share counts for each.
    pub pages: u64,
    /// Threads of all.
    pub threads: u64,
}

/// Reads one `stat`; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Stat> {
    // The name may hold anything, also blanks and brackets.
    let (pid, rest) = text.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Counted as the manual does; the first field after the name is the third.
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    let id = |number: usize| u32::try_from(field(number)?).ok();
    // Those of children may be negative in broken kernels; they are worth nothing then.
    let waited = |number: usize| field(number).unwrap_or_default();
    Some(Stat {
        pid: pid.parse().ok()?,
        parent: id(4)?,
        group: id(5)?,
        ticks: field(14)?
            .saturating_add(field(15)?)
            .saturating_add(waited(16))
            .saturating_add(waited(17)),
        threads: field(20)?,
        started: field(22)?,
        pages: field(24)?,
    })
}

/// What the instance with this first process uses; `None` when that is gone.
#[must_use]
pub fn sum(all: &BTreeMap<u32, Stat>, first: u32) -> Option<Sum> {
    let started = all.get(&first)?.started;
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for stat in all.values() {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let in_group = all.values().filter(|stat| stat.group == first).map(|stat| stat.pid);
    let mut left: Vec<u32> = in_group.chain([first]).collect();
    let mut seen = BTreeSet::new();
    let mut sum = Sum { started, ..Sum::default() };
    while let Some(pid) = left.pop() {
        if !seen.insert(pid) {
            continue;
        }
        left.extend(children.get(&pid).into_iter().flatten());
        if let Some(stat) = all.get(&pid) {
            sum.ticks = sum.ticks.saturating_add(stat.ticks);
            sum.pages = sum.pages.saturating_add(stat.pages);
            sum.threads = sum.threads.saturating_add(stat.threads);
        }
    }
    Some(sum)
}

/// The bytes that a process may write to, from its `limits`; `None` = as many as there are.
#[must_use]
pub fn memory_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max data size"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_program_is_called() {
        let rest = "S 10 12 12 0 -1 4194560 9 8 7 6 50 5 3 2 20 0 4 0 1234 9999 300 18446744073709551615 1";
        for name in ["python3", "a) R 1 1 1 (", "", "two words"] {
            let expected = Stat {
                pid: 42,
                parent: 10,
                group: 12,
                ticks: 60,
                threads: 4,
                started: 1234,
                pages: 300,
            };
            assert_eq!(parse(&format!("42 ({name}) {rest}\n")), Some(expected), "{name}");
        }
        for wrong in ["", "42", "42 (x)", "42 (x) S 1 2", "x (x) S 1 2"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_instance_is_its_tree_and_its_group() {
        let stat = |pid, parent, group| Stat {
            pid,
            parent,
            group,
            ticks: 1 << pid,
            threads: 1,
            started: u64::from(pid),
            pages: 1,
        };
        // 2 is an instance with 3 and 4 below it; 5 has lost its parent, 6 went into a group of its
        // own; 7 and 8 are another instance.
        let all = [
            stat(1, 0, 1),
            stat(2, 1, 2),
            stat(3, 2, 2),
            stat(4, 3, 2),
            stat(5, 0, 2),
            stat(6, 5, 6),
            stat(7, 1, 7),
            stat(8, 7, 7),
        ];
        let all: BTreeMap<u32, Stat> = all.into_iter().map(|stat| (stat.pid, stat)).collect();
        for (first, expected) in
            [(2, Some((0b111_1100, 5))), (7, Some((0b1_1000_0000, 2))), (9, None)]
        {
            let found = sum(&all, first).map(|sum| (sum.ticks, sum.threads));
            assert_eq!(found, expected, "{first}");
        }
        assert_eq!(sum(&all, 7).map(|sum| (sum.started, sum.pages)), Some((7, 2)));
    }

    #[test]
    fn the_limit_is_that_of_what_may_be_written_to() {
        let limits = |data: &str| {
            format!(
                "Limit  Soft  Hard  Units\nMax cpu time  9  9  seconds\nMax data size  {data}\n"
            )
        };
        assert_eq!(memory_limit(&limits("1048576  1048576  bytes")), Some(1 << 20));
        assert_eq!(memory_limit(&limits("unlimited  unlimited  bytes")), None);
        assert_eq!(memory_limit(""), None);
    }
}
