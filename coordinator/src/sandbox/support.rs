//! What of the sandbox this kernel knows.

use landlock::{
    ABI, AccessFs, LandlockStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
};
use seccompiler::TargetArch;
use serde::Serialize;

/// What of the sandbox can be had here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Support {
    /// The version of Landlock; 0 = there is none.
    pub landlock: i32,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
}

/// What Landlock brought with which version, and what plugins may do without it.
const BROUGHT: [(i32, &str); 6] = [
    (1, "files: plugins read and write what their user may"),
    (2, "links: plugins cannot move files between folders, also not within their own"),
    (3, "cutting files: plugins may empty files that their user may write to"),
    (4, "TCP: plugins connect to all addresses and listen on all ports"),
    (5, "devices: plugins may control devices that their user may open"),
    (6, "signals: plugins may end other programs of their user"),
];

impl Support {
    /// Asks the kernel.
    #[must_use]
    pub fn look() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let has_filters = status.lines().any(|line| line.starts_with("Seccomp:"));
        let knows_processor = TargetArch::try_from(std::env::consts::ARCH).is_ok();
        Self { landlock: landlock_version(), seccomp: has_filters && knows_processor }
    }

    /// What is missing, for people; empty = nothing.
    #[must_use]
    pub fn missing(self) -> Vec<String> {
        let landlock = BROUGHT
            .iter()
            .filter(|(version, _)| *version > self.landlock)
            .map(|(version, what)| format!("Landlock {version} or newer, which restricts {what}"));
        let seccomp = (!self.seccomp).then(|| {
            "a filter of system calls (seccomp): plugins may call all of the kernel".to_owned()
        });
        landlock.chain(seccomp).collect()
    }
}

/// The version that the kernel applies; a thread is restricted for it, because only then it is told.
fn landlock_version() -> i32 {
    let restricted = || -> Result<i32, RulesetError> {
        let ruleset = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        let status = ruleset.no_new_privs(true).restrict_self()?;
        Ok(match status.landlock {
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
            LandlockStatus::Available { effective_abi, kernel_abi } => {
                kernel_abi.unwrap_or_else(|| number(effective_abi))
            }
        })
    };
    // The restriction is the thread's and goes with it.
    std::thread::spawn(restricted).join().ok().and_then(Result::ok).unwrap_or_default()
}

fn number(version: ABI) -> i32 {
    (0..=ABI::V9 as i32).find(|number| ABI::from(*number) == version).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_by_what_it_means() {
        for (landlock, seccomp, expected) in
            [(6, true, 0), (9, true, 0), (5, true, 1), (3, true, 3), (0, true, 6), (0, false, 7)]
        {
            let missing = Support { landlock, seccomp }.missing();
            assert_eq!(missing.len(), expected, "{landlock} {seccomp}: {missing:?}");
        }
        let old = Support { landlock: 3, seccomp: true }.missing().join("\n");
        assert!(old.contains("Landlock 4 or newer, which restricts TCP"), "{old}");
    }

    #[test]
    fn asking_the_kernel_restricts_nobody() {
        let before = std::fs::read_to_string("/proc/self/status").unwrap();
        let support = Support::look();
        assert!((0..1000).contains(&support.landlock), "{support:?}");
        assert!(std::process::Command::new("true").status().unwrap().success());
        let line = |status: &str| {
            status.lines().find(|line| line.starts_with("NoNewPrivs:")).map(str::to_owned)
        };
        let after = std::fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(line(&before), line(&after));
    }
}
