//! Who descends from this process.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Pid, Signal};

/// Kills all that descends from this process and can be seen at the moment.
pub(super) fn kill_descendants() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for pid in descendants(own, &parents()) {
        if let Some(pid) = Pid::from_raw(pid) {
            // An error says that it is gone.
            rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Every process with its parent.
fn parents() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parent_in(&stat)?))
    })
    .collect()
}

/// The parent in a line of `/proc/<pid>/stat`: the second field after the name, which is in
/// brackets and may hold anything.
fn parent_in(stat: &[u8]) -> Option<i32> {
    let after = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(of: i32, parents: &[(i32, i32)]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for &(pid, parent) in parents {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = BTreeSet::new();
    let mut open = vec![of];
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            // Numbers come again: what was read at different times may form a ring.
            if child != of && found.insert(child) {
                open.push(child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_whatever_the_name_is() {
        for (stat, parent) in [
            (b"12 (sh) S 7 12 12 0".as_slice(), Some(7)),
            (b"12 (a) S 9) R 7 12", Some(7)),
            (b"12 (\xff\xfe) Z 1 1", Some(1)),
            (b"12 (sh) S", None),
            (b"12", None),
            (b"", None),
        ] {
            assert_eq!(parent_in(stat), parent, "{}", String::from_utf8_lossy(stat));
        }
    }

    #[test]
    fn descendants_are_found_in_any_order_and_through_rings() {
        let parents = [(5, 4), (4, 2), (2, 1), (3, 1), (9, 8), (8, 9), (6, 5), (2, 6)];
        assert_eq!(descendants(2, &parents), [4, 5, 6].into());
        assert_eq!(descendants(8, &parents), [9].into());
        assert_eq!(descendants(7, &parents), [].into());
    }

    #[test]
    fn our_own_child_is_seen() -> anyhow::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let own = i32::try_from(std::process::id())?;
        let found = descendants(own, &parents());
        child.kill()?;
        child.wait()?;
        assert!(found.contains(&i32::try_from(child.id())?));
        Ok(())
    }
}
