//! PURE: what a plugin wants and what it is granted → how its containers are kept apart.
//!
//! Nothing else decides it: no field of a manifest and no label of an image reaches a container's
//! host configuration but through [`isolate`].

use std::num::NonZeroU64;

use serde::Serialize;

use crate::config::plugins::Resources;
use crate::permission::effective;
pub use crate::permission::{Asked, Permission};

/// Memory of a container when nothing is said.
pub const DEFAULT_MEMORY: u64 = 1 << 30;
/// Billionths of a processor when nothing is said; any machine has that much.
pub const DEFAULT_NANO_CPUS: i64 = 1_000_000_000;
/// Processes and threads of a container.
pub const PIDS: i64 = 256;
/// Bytes of `/tmp`.
pub const TMP_BYTES: u64 = 64 << 20;
/// The user and group of containers when this process is root: nobody.
pub const NOBODY: u32 = 65_534;

/// How a container is kept apart. All that is not here is the same for every one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Isolation {
    /// `uid:gid`; `None` = the image's.
    pub user: Option<String>,
    /// Whether its network leads outside.
    pub is_open: bool,
    /// Whether programs may be run from `/tmp`.
    pub tmp_exec: bool,
    /// Bytes of memory, swap included; `None` = no limit.
    pub memory: Option<NonZeroU64>,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Whether it sees graphics processors.
    pub gpu: bool,
}

/// Decides how containers of a plugin are kept apart.
///
/// A grant counts only for what the plugin wants, unless it does not say what it wants.
///
/// # Errors
///
/// Why they must not be started.
pub fn isolate(
    asked: &Asked<'_>,
    resources: Resources,
    user: (u32, u32),
) -> Result<Isolation, String> {
    let effective = effective(asked)?;
    let has = |permission| effective.contains(&permission);
    let default = NonZeroU64::new(DEFAULT_MEMORY);
    let memory = resources.memory.or(default).filter(|_| !has(Permission::MemoryUnlimited));
    Ok(Isolation {
        user: (!has(Permission::Root)).then(|| user_of(user)),
        is_open: has(Permission::NetworkHttp),
        tmp_exec: has(Permission::SystemExec),
        memory,
        nano_cpus: resources.cpus.map_or(DEFAULT_NANO_CPUS, nano_cpus),
        gpu: has(Permission::GpuAccess),
    })
}

/// The user of this process reads what its own plugins read; root is never handed on.
fn user_of((uid, gid): (u32, u32)) -> String {
    if uid == 0 { format!("{NOBODY}:{NOBODY}") } else { format!("{uid}:{gid}") }
}

#[expect(clippy::cast_possible_truncation, reason = "held between bounds that fit")]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9).clamp(1e7, 1e15).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn with(declared: Option<&[&str]>, granted: &[&str]) -> Result<Isolation, String> {
        let (declared, granted) = (declared.map(texts), texts(granted));
        let asked =
            Asked { declared: declared.as_deref(), granted: &granted, has_writable_mount: false };
        isolate(&asked, Resources::default(), (0, 0))
    }

    #[test]
    fn nothing_is_allowed_when_nothing_is_said() {
        let expected = Isolation {
            user: Some("65534:65534".to_owned()),
            is_open: false,
            tmp_exec: false,
            memory: NonZeroU64::new(DEFAULT_MEMORY),
            nano_cpus: DEFAULT_NANO_CPUS,
            gpu: false,
        };
        assert_eq!(with(None, &[]), Ok(expected.clone()));
        assert_eq!(with(Some(&[]), &[]), Ok(expected.clone()));
        // A grant that nobody asked for opens nothing.
        let all: Vec<&str> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
        assert_eq!(with(Some(&[]), &all), Ok(expected));
    }

    #[test]
    fn each_permission_opens_what_it_names_and_nothing_else() {
        let base = with(None, &[]).unwrap();
        for (permission, expected) in [
            ("network.http", Isolation { is_open: true, ..base.clone() }),
            ("filesystem.write", base.clone()),
            ("gpu.access", Isolation { gpu: true, ..base.clone() }),
            ("memory.unlimited", Isolation { memory: None, ..base.clone() }),
            ("system.exec", Isolation { tmp_exec: true, ..base.clone() }),
            ("root", Isolation { user: None, ..base }),
        ] {
            assert_eq!(with(Some(&[permission]), &[permission]), Ok(expected.clone()));
            assert_eq!(with(None, &[permission]), Ok(expected), "the image says nothing");
            let refused = with(Some(&[permission]), &[]).unwrap_err();
            assert!(refused.contains(&format!("it wants `{permission}`")), "{refused}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_wherever_it_stands() {
        for (declared, granted) in [(Some(&["all"] as &[_]), &[] as &[&str]), (None, &["all"])] {
            let refused = with(declared, granted).unwrap_err();
            assert!(refused.contains("unknown permission `all`"), "{refused}");
        }
    }

    #[test]
    fn a_mount_to_write_to_needs_its_permission() {
        let granted = texts(&["filesystem.write"]);
        let asked = Asked { declared: None, granted: &[], has_writable_mount: true };
        assert!(isolate(&asked, Resources::default(), (0, 0)).is_err());
        assert!(
            isolate(&Asked { granted: &granted, ..asked }, Resources::default(), (0, 0)).is_ok()
        );
    }

    #[test]
    fn limits_and_the_user_are_those_of_the_person() {
        let resources = Resources { memory: NonZeroU64::new(5 << 20), cpus: Some(1.5) };
        let isolation = isolate(&Asked::default(), resources, (1000, 100)).unwrap();
        assert_eq!(isolation.user.as_deref(), Some("1000:100"));
        assert_eq!(isolation.memory, NonZeroU64::new(5 << 20));
        assert_eq!(isolation.nano_cpus, 1_500_000_000);
    }
}
