//! Landlock: what a process may open, where it may connect to.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};

use super::needs::{DEVICES, GPU_DEVICES, Needs, RESOLVERS, SYSTEM};
use super::reach::{Entry, is_too_wide, reach};
use super::{Network, Sandbox};
use crate::config::private_file;
use crate::permission::Permission;

/// The newest rules that are asked for; of these the kernel applies those that it knows.
const NEWEST: ABI = ABI::V9;
/// Where removable media are mounted, below a folder that is otherwise kept.
const MEDIA: &str = "/run/media";

/// What may be opened, by how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    read: BTreeSet<PathBuf>,
    run: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    devices: BTreeSet<PathBuf>,
}

/// Decides what may be opened, by looking at what there is.
pub(super) fn rules(sandbox: &Sandbox, needs: &Needs) -> Rules {
    let kept: Vec<PathBuf> = sandbox.kept.iter().map(|path| real(path)).collect();
    let open = |path: &Path| reach(&real(path), &kept, &list);
    let mut rules = Rules::default();
    if sandbox.reads.anywhere {
        rules.read.extend(open(Path::new("/")));
        rules.read.extend(open(Path::new(MEDIA)));
    }
    for root in &sandbox.reads.below {
        // What belongs to a file lies beside it.
        let folder = if root.is_file() { root.parent().unwrap_or(root) } else { root };
        rules.read.extend(open(folder));
    }
    for path in SYSTEM.iter().map(Path::new).chain(needs.runs.iter().map(PathBuf::as_path)) {
        rules.run.extend(open(path));
    }
    for folder in &needs.folders {
        rules.run.extend(open(folder));
    }
    for file in &needs.files {
        let (file, folder) = (real(file), file.parent().map(real));
        let narrow = folder.filter(|folder| !is_too_wide(folder, &kept));
        rules.run.insert(narrow.unwrap_or(file));
    }
    // What the plugin chose itself opens nothing that is kept.
    let chosen = needs.chosen.iter().map(|file| real(file));
    rules.run.extend(chosen.filter(|file| !kept.iter().any(|kept| file.starts_with(kept))));
    for path in &sandbox.own {
        rules.run.extend(open(path));
    }
    rules.read.extend(RESOLVERS.iter().map(PathBuf::from));
    rules.write.insert(sandbox.scratch.clone());
    rules.write.extend(sandbox.writes.iter().cloned());
    rules.devices.extend(DEVICES.iter().map(PathBuf::from));
    if sandbox.allowed.contains(&Permission::GpuAccess) {
        rules.devices.extend(GPU_DEVICES.iter().map(PathBuf::from));
    }
    if sandbox.allowed.contains(&Permission::SystemExec) {
        rules.run.insert(sandbox.scratch.clone());
    }
    rules
}

/// Where a path really leads, as far as it is there.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

fn list(folder: &Path) -> Vec<Entry> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entry = |entry: std::fs::DirEntry| Entry {
        path: entry.path(),
        is_link: entry.file_type().is_ok_and(|kind| kind.is_symlink()),
    };
    entries.flatten().map(entry).collect()
}

/// Applies the rules to this thread.
pub(super) fn restrict(sandbox: &Sandbox, rules: &Rules) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write: BitFlags<AccessFs> = AccessFs::from_all(NEWEST)
        & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(NEWEST))?;
    let ports = match &sandbox.network {
        Network::Open => None,
        Network::Ports { connect, .. } => {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
            Some(connect)
        }
    };
    let connect = ports.into_iter().flatten().map(|port| (port, AccessNet::ConnectTcp));
    let bind = sandbox.listens.iter().map(|port| (port, AccessNet::BindTcp));
    let ports = connect
        .chain(bind)
        .map(|(port, access)| Ok::<_, RulesetError>(NetPort::new(*port, access)));
    ruleset
        .create()?
        .add_rules(path_beneath_rules(&rules.read, read))?
        .add_rules(path_beneath_rules(&rules.run, read | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&rules.write, write))?
        .add_rules(path_beneath_rules(&rules.devices, device))?
        .add_rules(ports)?
        .restrict_self()
        .map(drop)
}

/// Makes a folder that is the owner's alone, and empty.
pub(super) fn empty(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private_file::make_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::super::Reads;
    use super::*;

    #[test]
    fn libraries_are_read_programs_run_and_only_its_own_folder_is_written() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let root = home.path().canonicalize()?;
        for folder in ["films", "data/secrets", "plugin", "scratch", "script"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        std::fs::write(root.join("films/film.mkv"), "")?;
        std::os::unix::fs::symlink(root.join("data"), root.join("films/link"))?;
        let sandbox = Sandbox {
            reads: Reads { below: vec![root.join("films/film.mkv")], anywhere: false },
            kept: vec![root.join("data")],
            own: vec![root.join("plugin")],
            scratch: root.join("scratch"),
            ..Sandbox::default()
        };
        let script = root.join("script/x.py");
        let needs = Needs {
            // A script in a folder with the data: only the script.
            files: vec![script, root.join("y.py")],
            chosen: vec![root.join("interpreter"), root.join("data/secrets/key")],
            ..Needs::default()
        };

        let found = rules(&sandbox, &needs);

        assert!(found.read.contains(&root.join("films")), "{found:?}");
        for path in ["plugin", "script", "y.py", "interpreter"] {
            assert!(found.run.contains(&root.join(path)), "{path}: {found:?}");
        }
        assert!(!found.run.iter().any(|path| root.join("data").starts_with(path)), "{found:?}");
        assert!(!found.run.iter().any(|path| path.starts_with(root.join("data"))), "{found:?}");
        assert_eq!(found.write, [root.join("scratch")].into());
        let wide =
            Sandbox { reads: Reads { below: vec![root.clone()], anywhere: false }, ..sandbox };
        let found = rules(&wide, &Needs::default());
        assert!(found.read.contains(&root.join("films")), "{found:?}");
        assert!(!found.read.iter().any(|path| root.join("data").starts_with(path)), "{found:?}");
        Ok(())
    }
}
