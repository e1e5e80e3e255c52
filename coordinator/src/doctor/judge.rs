//! PURE: facts of a machine → what is good, what is missing and what to do about it.

use serde::Serialize;

use super::{Data, Facts};

/// Files that a busy fleet has open at once.
const OPEN_FILES: u64 = 1_024;
/// Bytes that the broker's store should have.
const FREE: u64 = 1 << 30;
/// The clock of a machine that was never set shows an earlier year.
const YEAR: i16 = 2025;
/// File systems on which locks and the broker's store are not to be relied on.
const REMOTE: [&str; 5] = ["nfs", "cifs", "smb2", "9p", "fuse"];

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something will not be as it could be.
    Warning,
    /// A fleet cannot run as it is told to.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub topic: &'static str,
    /// How it is.
    pub level: Level,
    /// The same for people.
    pub what: String,
    /// What to do about it; empty = nothing.
    pub advice: String,
}

pub(super) fn found(topic: &'static str, level: Level, what: String, advice: &str) -> Finding {
    Finding { topic, level, what, advice: advice.to_owned() }
}

/// Judges what was seen, each topic once and in the same order.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![kernel(facts), landlock(facts), seccomp(facts), namespaces(facts)];
    all.extend([cgroups(facts), engine(facts), nats_server(facts), ffprobe(facts)]);
    all.extend([data(&facts.data), room(&facts.data), open_files(facts), clock(facts)]);
    all.extend([plugins(facts), isolation(facts)]);
    all.extend(facts.broker.iter().flat_map(super::broker::judge));
    all
}

/// The worst of them.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Good)
}

fn kernel(facts: &Facts) -> Finding {
    let user = if facts.is_root { ", and we are root" } else { "" };
    let what = format!("Linux {}{user}", facts.kernel);
    if facts.is_root {
        let advice = "a user of its own for the fleet takes from plugins what root may read";
        return found("kernel", Level::Note, what, advice);
    }
    found("kernel", Level::Good, what, "")
}

fn landlock(facts: &Facts) -> Finding {
    let version = facts.sandbox.landlock;
    let mut missing = facts.sandbox.missing();
    missing.retain(|missing| missing.starts_with("Landlock"));
    let (level, advice) = match (version, missing.is_empty()) {
        (_, true) => (Level::Good, ""),
        (0, _) => (
            Level::Warning,
            "boot Linux 5.13 or newer with `landlock` in `lsm=`, or run plugins in containers",
        ),
        _ => (Level::Warning, "a newer kernel restricts this, too; Linux 6.12 all of it"),
    };
    let mut what = match version {
        0 => "no Landlock".to_owned(),
        _ => format!("Landlock {version}"),
    };
    if !missing.is_empty() {
        what = format!("{what}; missing: {}", missing.join("; "));
    }
    found("landlock", level, what, advice)
}

fn seccomp(facts: &Facts) -> Finding {
    if facts.sandbox.seccomp {
        return found("seccomp", Level::Good, "system calls can be filtered".to_owned(), "");
    }
    let what = "system calls cannot be filtered: plugins may call all of the kernel".to_owned();
    found("seccomp", Level::Warning, what, "use a kernel with CONFIG_SECCOMP_FILTER")
}

fn namespaces(facts: &Facts) -> Finding {
    let what = if facts.user_namespaces { "may be made by users" } else { "are for root only" };
    let what = format!("user namespaces {what}; plugin processes never make any");
    found("user namespaces", Level::Good, what, "")
}

fn cgroups(facts: &Facts) -> Finding {
    let what = match facts.cgroups {
        0 => "no control groups are mounted: containers cannot be limited".to_owned(),
        version => format!("control groups {version}: limits of containers; processes have others"),
    };
    let wants = wants_containers(facts);
    let level = if facts.cgroups == 0 && wants { Level::Warning } else { Level::Good };
    found("cgroups", level, what, if level == Level::Good { "" } else { "mount cgroup2" })
}

fn wants_containers(facts: &Facts) -> bool {
    facts.plugins.as_ref().is_ok_and(|plugins| !plugins.in_containers.is_empty())
}

fn engine(facts: &Facts) -> Finding {
    let at = &facts.engine_address;
    match &facts.engine {
        Ok(about) => {
            let root = if about.is_rootless() { "rootless" } else { "as root" };
            let what = format!(
                "Docker {} at {at}: API {}, control groups {}, {root}",
                about.version, about.api, about.cgroups
            );
            found("docker", Level::Good, what, "")
        }
        Err(reason) => {
            let what = format!("no Docker engine at {at}: {reason}");
            let (level, advice) = if wants_containers(facts) {
                let advice = "plugins.yml wants containers: start the engine, let this user use \
                              it, or say where it is with DOCKER_HOST";
                (Level::Failure, advice)
            } else {
                (Level::Note, "only plugins with an `image` need one")
            };
            found("docker", level, what, advice)
        }
    }
}

fn nats_server(facts: &Facts) -> Finding {
    match (&facts.nats_server, facts.has_broker) {
        (Ok((path, version)), _) => {
            found("nats-server", Level::Good, format!("{version} at {}", path.display()), "")
        }
        (Err(reason), true) => {
            let what = format!("{reason}; a broker was named, so none is started here");
            found("nats-server", Level::Note, what, "")
        }
        (Err(reason), false) => {
            let advice = "install one, name it with NATS_SERVER_BIN, or use a broker with --nats";
            found("nats-server", Level::Failure, reason.clone(), advice)
        }
    }
}

fn ffprobe(facts: &Facts) -> Finding {
    match &facts.ffprobe {
        Ok(version) => found("ffprobe", Level::Good, version.clone(), ""),
        Err(reason) => {
            let advice = "install ffmpeg, without which the plugin `ffmpeg` fails";
            found("ffprobe", Level::Warning, reason.clone(), advice)
        }
    }
}

fn data(data: &Data) -> Finding {
    let path = data.path.display();
    if let Some(problem) = &data.problem {
        let what = format!("{path} cannot be written to: {problem}");
        let advice = "choose another with --data-dir, or let this user write there";
        return found("data folder", Level::Failure, what, advice);
    }
    let what = format!("{path} on {}", data.file_system);
    if REMOTE.contains(&data.file_system.as_str()) {
        let advice = "keep the data folder on a disk of this machine: the broker's store is there";
        return found("data folder", Level::Warning, what, advice);
    }
    if data.file_system == "tmpfs" {
        let advice = "it is gone after a restart of the machine; choose a disk with --data-dir";
        return found("data folder", Level::Warning, what, advice);
    }
    found("data folder", Level::Good, what, "")
}

fn room(data: &Data) -> Finding {
    let what = format!("{} MiB free for the broker's store", data.free >> 20);
    if data.free < FREE {
        return found("disk", Level::Warning, what, "make room, or choose another --data-dir");
    }
    found("disk", Level::Good, what, "")
}

fn open_files(facts: &Facts) -> Finding {
    let what = format!("{} files may be open at once", facts.open_files);
    if facts.open_files < OPEN_FILES {
        return found("open files", Level::Warning, what, "raise it: ulimit -n 65536");
    }
    found("open files", Level::Good, what, "")
}

fn clock(facts: &Facts) -> Finding {
    let year = facts.year;
    if year < YEAR {
        let what = format!("the clock says it is {year}");
        let advice = "set it: leases, retries and certificates go by it";
        return found("clock", Level::Failure, what, advice);
    }
    let what = match facts.clock_follows {
        Some(true) => format!("it is {year}, and the clock follows others"),
        Some(false) => format!("it is {year}, and the clock does not follow others yet"),
        None => format!("it is {year}; nothing here says whether the clock follows others"),
    };
    let level = if facts.clock_follows == Some(false) { Level::Note } else { Level::Good };
    let advice = "machines of one fleet need the same time; use NTP";
    found("clock", level, what, if level == Level::Good { "" } else { advice })
}

fn plugins(facts: &Facts) -> Finding {
    match &facts.plugins {
        Ok(plugins) if plugins.problems.is_empty() => {
            found("plugins.yml", Level::Good, "nothing is wrong in it".to_owned(), "")
        }
        Ok(plugins) => {
            let advice = "mend it; `up --dry-run` says what would run";
            found("plugins.yml", Level::Warning, plugins.problems.join("; "), advice)
        }
        Err(reason) => found("plugins.yml", Level::Failure, reason.clone(), "mend it"),
    }
}

fn isolation(facts: &Facts) -> Finding {
    let open = facts.plugins.as_ref().map(|plugins| plugins.without_isolation.as_slice());
    match open {
        Ok(open) if !open.is_empty() => {
            let what = format!("switched off for {}", open.join(", "));
            let advice =
                "they may do what the user of the fleet may; see `isolation` in plugins.yml";
            found("isolation", Level::Warning, what, advice)
        }
        _ => found("isolation", Level::Good, "switched on for all processes".to_owned(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plugins;
    use super::*;
    use crate::docker::engine::About;
    use crate::sandbox::Support;

    fn good() -> Facts {
        Facts {
            kernel: "6.12.1".to_owned(),
            is_root: false,
            sandbox: Support { landlock: 6, seccomp: true },
            user_namespaces: true,
            cgroups: 2,
            engine: Ok(About {
                version: "29.0.1".to_owned(),
                api: "1.52".to_owned(),
                cgroups: "2".to_owned(),
                security: vec!["name=rootless".to_owned()],
            }),
            engine_address: "unix:///var/run/docker.sock".to_owned(),
            nats_server: Ok(("/usr/bin/nats-server".into(), "2.15.1".to_owned())),
            has_broker: false,
            broker: None,
            ffprobe: Ok("ffprobe version 7.1".to_owned()),
            data: Data {
                path: "/d".into(),
                problem: None,
                file_system: "ext4".to_owned(),
                free: 9 << 30,
            },
            open_files: 1_048_576,
            year: 2026,
            clock_follows: Some(true),
            plugins: Ok(Plugins::default()),
        }
    }

    #[test]
    fn a_good_machine_has_nothing_to_be_done() {
        let findings = judge(&good());
        let odd: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.level != Level::Good || !finding.advice.is_empty())
            .collect();
        assert_eq!(odd, Vec::<&Finding>::new());
        assert_eq!(worst(&findings), Level::Good);
    }

    #[test]
    fn each_fault_is_found_under_its_topic_with_what_to_do() {
        let none = || Err("none".to_owned());
        let boxed = || Plugins { in_containers: vec!["a".to_owned()], ..Plugins::default() };
        let data = |change: fn(&mut Data)| {
            let mut facts = good();
            change(&mut facts.data);
            facts
        };
        use Level::{Failure, Note, Warning};
        for (topic, level, facts) in [
            ("kernel", Note, Facts { is_root: true, ..good() }),
            (
                "landlock",
                Warning,
                Facts { sandbox: Support { landlock: 0, seccomp: true }, ..good() },
            ),
            (
                "landlock",
                Warning,
                Facts { sandbox: Support { landlock: 3, seccomp: true }, ..good() },
            ),
            (
                "seccomp",
                Warning,
                Facts { sandbox: Support { landlock: 6, seccomp: false }, ..good() },
            ),
            ("cgroups", Warning, Facts { cgroups: 0, plugins: Ok(boxed()), ..good() }),
            ("docker", Note, Facts { engine: Err("none".to_owned()), ..good() }),
            (
                "docker",
                Failure,
                Facts { engine: Err("none".to_owned()), plugins: Ok(boxed()), ..good() },
            ),
            ("nats-server", Failure, Facts { nats_server: Err("none".to_owned()), ..good() }),
            ("ffprobe", Warning, Facts { ffprobe: none(), ..good() }),
            ("data folder", Failure, data(|data| data.problem = Some("no".to_owned()))),
            ("data folder", Warning, data(|data| data.file_system = "nfs".to_owned())),
            ("data folder", Warning, data(|data| data.file_system = "tmpfs".to_owned())),
            ("disk", Warning, data(|data| data.free = 1 << 20)),
            ("open files", Warning, Facts { open_files: 256, ..good() }),
            ("clock", Failure, Facts { year: 1970, ..good() }),
            ("clock", Note, Facts { clock_follows: Some(false), ..good() }),
            ("plugins.yml", Failure, Facts { plugins: Err("broken".to_owned()), ..good() }),
            (
                "plugins.yml",
                Warning,
                Facts {
                    plugins: Ok(Plugins { problems: vec!["x".to_owned()], ..Plugins::default() }),
                    ..good()
                },
            ),
            (
                "isolation",
                Warning,
                Facts {
                    plugins: Ok(Plugins {
                        without_isolation: vec!["a".to_owned()],
                        ..Plugins::default()
                    }),
                    ..good()
                },
            ),
        ] {
            let findings = judge(&facts);
            let odd: Vec<&Finding> =
                findings.iter().filter(|finding| finding.level != Level::Good).collect();
            assert_eq!(odd.len(), 1, "{topic}: {odd:?}");
            assert_eq!((odd[0].topic, odd[0].level), (topic, level));
            assert!(!odd[0].advice.is_empty() && !odd[0].what.is_empty(), "{odd:?}");
            assert_eq!(worst(&findings), level);
        }
    }

    #[test]
    fn a_broker_that_exists_needs_no_server() {
        let facts = Facts { nats_server: Err("none".to_owned()), has_broker: true, ..good() };
        assert_eq!(worst(&judge(&facts)), Level::Note);
    }
}
