//! Limits and capabilities of the process that is about to become a plugin.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Bytes of a file: what containers have for all their temporary files.
const FILE_BYTES: u64 = 64 << 20;
/// Files open at once.
const OPEN_FILES: u64 = 65_536;
/// Processes and threads that may come to those that the user has; the kernel counts by user, and
/// does not count those of root.
const MORE_PROCESSES: u64 = 4_096;
/// What root keeps: it reads libraries whoever owns them, within what Landlock opens.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// Sets the limits that hold for every sandbox.
pub(super) fn set() -> io::Result<()> {
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, FILE_BYTES)?;
    lower(Resource::Nofile, OPEN_FILES)?;
    if !rustix::process::geteuid().is_root() {
        lower(Resource::Nproc, processes_of_user().saturating_add(MORE_PROCESSES))?;
    }
    Ok(())
}

/// Lowers a limit for good; one that is lower already stays.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    let limit = Rlimit { current: least(now.current), maximum: least(now.maximum) };
    Ok(setrlimit(resource, limit)?)
}

/// Processes and threads of this user, as far as they can be seen.
fn processes_of_user() -> u64 {
    let user = rustix::process::geteuid().as_raw();
    let Ok(all) = std::fs::read_dir("/proc") else { return 0 };
    all.flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| field(status, "Uid:") == Some(u64::from(user)))
        .filter_map(|status| field(&status, "Threads:"))
        .sum()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Drops all that root may do but reading, from every set, so that no program gets it back.
pub(super) fn drop_capabilities() -> io::Result<()> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(capability) {
            // An older kernel does not know all of them; who is not root has nothing to drop.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let has = rustix::thread::capabilities(None)?.permitted.intersection(KEPT);
    let sets =
        CapabilitySets { effective: has, permitted: has, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_status_are_read() {
        let status = "Name:\tx\nUid:\t1000\t1001\t0\t0\nThreads:\t12\n";
        for (name, expected) in [("Uid:", Some(1000)), ("Threads:", Some(12)), ("None:", None)] {
            assert_eq!(field(status, name), expected, "{name}");
        }
        assert!(processes_of_user() >= 1);
    }
}
