//! PURE: `plugins.yml` + manifests on disk → the containers that should run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{InstanceId, Lane, PluginId, Prefix};
use semver::Version;

use super::naming::FleetId;
use crate::config::plugins::{Mount, Protocol, Resources};
use crate::config::{BaseUrl, PluginEntry, PluginsFile, Runtime, Vars};
use crate::process::{Discovered, instance_name};
use crate::transition::Versions;

/// What of our own environment containers see; nothing of it is secret.
const INHERITED: [&str; 3] = ["RUST_LOG", "METAFLEET_LOG", "METAFLEET_LOG_FORMAT"];
/// Tells an instance its name.
const INSTANCE: &str = "METAFLEET_INSTANCE";
/// Time a plugin leaves between its own drain and the engine's kill.
const MARGIN: Duration = Duration::from_secs(1);
/// A mount there would take the place of what the container itself needs.
const KEPT: [&str; 14] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys",
    "/tmp", "/usr", "/var",
];
/// Nothing below these is a file of a library.
const KERNEL: [&str; 4] = ["/dev", "/proc", "/sys", super::broker::SECRETS_DIR];

/// Instances by name.
pub type Instances = BTreeMap<InstanceId, Wanted>;

/// One container that should run, as far as that is known without an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin.
    pub plugin: PluginId,
    /// Whose tasks it is started for.
    pub lane: Lane,
    /// The version that must be in the image; `None` = any.
    pub version: Option<Version>,
    /// What it speaks, and so where its network leads to: the broker or the bridge.
    pub protocol: Protocol,
    /// The image's name.
    pub image: String,
    /// Arguments; `None` = the image's.
    pub command: Option<Vec<String>>,
    /// Variables, but those that lead to the broker.
    pub env: BTreeMap<String, String>,
    /// What of this machine it sees.
    pub mounts: Vec<Mount>,
    /// Labels of the person.
    pub labels: BTreeMap<String, String>,
    /// What the manifest on disk asks for; `None` = there is none.
    pub declared: Option<Vec<String>>,
    /// What the person grants.
    pub granted: Vec<String>,
    /// What it may use.
    pub resources: Resources,
}

impl Wanted {
    /// The same as instance `n` of its plugin.
    #[must_use]
    pub fn numbered(&self, n: u32) -> Option<Self> {
        let name = instance_name(&self.plugin, self.lane, n)?;
        let mut other = Self { name: name.clone(), ..self.clone() };
        other.env.insert(INSTANCE.to_owned(), name.to_string());
        Some(other)
    }
}

/// What all containers of a fleet share.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The fleet.
    pub fleet: FleetId,
    /// Its prefix.
    pub prefix: Prefix,
    /// How long a container may take to stop.
    pub grace: Duration,
    /// Folders and files that plugins read, each absolute.
    pub roots: Vec<PathBuf>,
    /// Variables that are passed on.
    inherited: BTreeMap<String, String>,
}

impl Surroundings {
    /// Takes log filters from `vars`; roots below other roots are left out.
    #[must_use]
    pub fn new(
        fleet: FleetId,
        prefix: Prefix,
        grace: Duration,
        roots: &[PathBuf],
        vars: &dyn Vars,
    ) -> Self {
        let inherited =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), vars.get(name)?)));
        let is_outermost =
            |root: &&PathBuf| !roots.iter().any(|other| other != *root && root.starts_with(other));
        let mut outermost: Vec<PathBuf> = roots.iter().filter(is_outermost).cloned().collect();
        outermost.sort();
        outermost.dedup();
        Self { fleet, prefix, grace, roots: outermost, inherited: inherited.collect() }
    }
}

/// What should run, and what of it cannot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// By name.
    pub instances: Instances,
    /// Plugins that should run in containers and cannot, with the reason.
    pub problems: BTreeMap<PluginId, String>,
}

/// Lists the containers of all entries that are switched on and say `docker`, of the versions that
/// were `decided` on.
#[must_use]
pub fn wanted(
    file: &PluginsFile,
    found: &Discovered,
    decided: &BTreeMap<PluginId, Versions>,
    shared: &Surroundings,
) -> Plan {
    let mut plan = Plan::default();
    for (id, entry) in &file.entries {
        let Some(images) = &entry.image else { continue };
        if !entry.enabled || entry.runtime != Runtime::Docker {
            continue;
        }
        let Some((main, next)) = images.choose(decided.get(id)) else { continue };
        let mounts = match mounts(entry, shared) {
            Ok(mounts) => mounts,
            Err(reason) => {
                plan.problems.insert(id.clone(), reason);
                continue;
            }
        };
        let manifest = found.plugins.get(id).map(|found| &found.manifest);
        // What is tried does not grow with what waits.
        let lanes = [
            (Lane::Main, Some(main), entry.bounds().max()),
            (Lane::Next, next, entry.bounds().min().max(1)),
        ];
        for (lane, chosen, most) in lanes {
            let Some(chosen) = chosen else { continue };
            for name in (1..=most).filter_map(|n| instance_name(id, lane, n)) {
                let wanted = Wanted {
                    name: name.clone(),
                    plugin: id.clone(),
                    lane,
                    version: chosen.version.clone(),
                    protocol: entry.protocol,
                    image: chosen.image.clone(),
                    command: entry.command.clone(),
                    env: env(id, &name, entry, shared),
                    mounts: mounts.clone(),
                    labels: entry.labels.clone(),
                    declared: manifest.map(|manifest| manifest.permissions.clone()),
                    granted: entry.permissions.clone(),
                    resources: entry.resources,
                };
                plan.instances.insert(name, wanted);
            }
        }
    }
    plan
}

fn env(
    plugin: &PluginId,
    name: &InstanceId,
    entry: &PluginEntry,
    shared: &Surroundings,
) -> BTreeMap<String, String> {
    let mut env = shared.inherited.clone();
    let grace = shared.grace.saturating_sub(MARGIN).as_millis();
    let own = [
        ("METAFLEET_PREFIX", shared.prefix.to_string()),
        ("METAFLEET_PLUGIN", plugin.to_string()),
        (INSTANCE, name.to_string()),
        ("METAFLEET_GRACE", format!("{grace}ms")),
        // The root is read-only, so that the image's own home would be, too.
        ("HOME", "/tmp".to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if entry.protocol == Protocol::Http {
        env.insert("PORT".to_owned(), BaseUrl::usual().endpoint().1.to_string());
    } else if let Some(concurrency) = entry.concurrency {
        env.insert("METAFLEET_CONCURRENCY".to_owned(), concurrency.to_string());
    }
    env
}

/// The person's mounts, and every root under the path that tasks name, read-only.
fn mounts(entry: &PluginEntry, shared: &Surroundings) -> Result<Vec<Mount>, String> {
    let root =
        |root: &PathBuf| Mount { source: root.clone(), target: root.clone(), writable: false };
    let is_mounted = |root: &&PathBuf| !entry.mounts.iter().any(|mount| mount.target == **root);
    let roots = shared.roots.iter().filter(is_mounted).map(root);
    let all: Vec<Mount> = entry.mounts.iter().cloned().chain(roots).collect();
    for mount in &all {
        check(mount)?;
    }
    Ok(all)
}

fn check(mount: &Mount) -> Result<(), String> {
    let (source, target) = (mount.source.display(), mount.target.display());
    if !mount.source.is_absolute() {
        return Err(format!("the mount of {source} must begin with `/`"));
    }
    let is_engine = mount.source.file_name().is_some_and(|name| {
        ["docker.sock", "podman.sock", "containerd.sock"].iter().any(|socket| name == *socket)
    });
    if is_engine {
        return Err(format!("{source} would hand the whole machine to the plugin; not mounted"));
    }
    let is_kept = KEPT.iter().any(|kept| mount.target == Path::new(kept));
    let is_kernel = KERNEL.iter().any(|kept| mount.target.starts_with(kept));
    if is_kept || is_kernel {
        return Err(format!("nothing can be mounted at {target} of a container"));
    }
    if mount.target.to_str().is_none() || mount.source.to_str().is_none() {
        return Err(format!("the path {source} is not UTF-8, which the engine needs"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vars::vars;
    use crate::process::discover::discover;
    use crate::process::discover::tests::plugin;

    fn shared(roots: &[&str]) -> Surroundings {
        let prefix: Prefix = "px".parse().unwrap();
        let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
        let vars = vars(&[("METAFLEET_LOG", "debug"), ("NATS_PASSWORD", "hush"), ("PATH", "/bin")]);
        let fleet = FleetId::new(&prefix, "12ab");
        Surroundings::new(fleet, prefix, Duration::from_secs(10), &roots, &vars)
    }

    fn file(text: &str) -> PluginsFile {
        PluginsFile::parse(Path::new("/etc/plugins.yml"), text, &vars(&[])).unwrap()
    }

    #[test]
    fn what_runs_follows_from_the_file() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        plugin(home.path(), "a", "1.2.3", "")?;
        let found = discover(&[home.path().to_owned()]);
        let file = file(
            "plugins:\n  a: {image: x/a, instances: 2, concurrency: 3, command: [-v]}\n  off: {image: i, \
             enabled: false}\n  far: {image: i, runtime: remote}\n  process: {command: [x]}\n  \
             b: {image: i, permissions: [root], labels: {l: v}, mounts: [\"/m:/m2:rw\"]}\n",
        );

        let plan =
            wanted(&file, &found, &BTreeMap::new(), &shared(&["/lib1", "/lib1/below", "/films"]));

        let names: Vec<&str> = plan.instances.keys().map(InstanceId::as_str).collect();
        assert_eq!(names, ["plugin-a-1", "plugin-a-2", "plugin-b-1"]);
        let a = &plan.instances[&"plugin-a-2".parse::<InstanceId>()?];
        assert_eq!((a.image.as_str(), a.declared.as_deref()), ("x/a", Some(&[] as &[String])));
        assert_eq!(a.command.as_deref(), Some(&["-v".to_owned()] as &[String]));
        let env: Vec<_> = a.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let expected = [
            ("HOME", "/tmp"),
            ("METAFLEET_CONCURRENCY", "3"),
            ("METAFLEET_GRACE", "9000ms"),
            ("METAFLEET_INSTANCE", "plugin-a-2"),
            ("METAFLEET_LOG", "debug"),
            ("METAFLEET_PLUGIN", "a"),
            ("METAFLEET_PREFIX", "px"),
            ("TMPDIR", "/tmp"),
        ];
        assert_eq!(env, expected);
        let b = &plan.instances[&"plugin-b-1".parse::<InstanceId>()?];
        let mounts: Vec<_> = b
            .mounts
            .iter()
            .map(|mount| {
                (mount.source.to_str().unwrap(), mount.target.to_str().unwrap(), mount.writable)
            })
            .collect();
        let roots = [("/films", "/films", false), ("/lib1", "/lib1", false)];
        assert_eq!(mounts, [&[("/m", "/m2", true)] as &[_], &roots].concat());
        assert_eq!((b.declared.as_deref(), b.granted.as_slice()), (None, &["root".to_owned()][..]));
        Ok(())
    }

    #[test]
    fn mounts_that_would_break_or_open_the_container_are_refused() {
        for (mount, rule) in [
            ("/x:/proc", "mounted at /proc"),
            ("/x:/proc/sys", "mounted at /proc/sys"),
            ("/x:/run/metafleet", "mounted at /run/metafleet"),
            ("/x:/etc", "mounted at /etc"),
            ("/x:/tmp", "mounted at /tmp"),
            ("/var/run/docker.sock:/d", "would hand the whole machine"),
            ("/r/podman.sock:/d", "would hand the whole machine"),
        ] {
            let file = file(&format!("plugins: {{p: {{image: i, mounts: [\"{mount}\"]}}}}"));
            let plan = wanted(&file, &Discovered::default(), &BTreeMap::new(), &shared(&[]));
            assert!(plan.instances.is_empty(), "{mount}");
            let reason = &plan.problems[&"p".parse::<PluginId>().unwrap()];
            assert!(reason.contains(rule), "{mount}: {reason}");
        }
        let file = file("plugins: {p: {image: i}}");
        for (root, is_mounted) in [("/tmp/films", true), ("/", false), ("/usr", false)] {
            let plan = wanted(&file, &Discovered::default(), &BTreeMap::new(), &shared(&[root]));
            assert_eq!(plan.instances.len() == 1, is_mounted, "{root}");
        }
    }
}
