//! PURE: what no plugin reads although its user may: keys, passwords, and what leads to more.

use std::path::{Path, PathBuf};

/// In a person's folder.
const OF_PERSONS: [&str; 22] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".netrc",
    ".pgpass",
    ".git-credentials",
    ".password-store",
    ".cargo/credentials.toml",
    ".npmrc",
    ".pypirc",
    ".mozilla",
    ".thunderbird",
    ".config/gcloud",
    ".config/gh",
    ".config/nats",
    ".config/rclone",
    ".config/chromium",
    ".config/google-chrome",
    ".local/share/keyrings",
];
/// Of the machine; the devices that any program may use are opened one by one.
const OF_MACHINE: [&str; 6] =
    ["/dev", "/run", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/boot"];
/// Of the machine, where only root could read it: for others the folder is opened as a whole, so
/// that a file there may be replaced.
const OF_ROOT: [&str; 9] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/docker",
];

/// What is kept on a machine with these folders of persons.
#[must_use]
pub fn kept(data_dir: &Path, homes: &[PathBuf], is_root: bool) -> Vec<PathBuf> {
    let of_persons =
        homes.iter().flat_map(|home| OF_PERSONS.iter().map(move |name| home.join(name)));
    let of_machine = OF_MACHINE.iter().chain(OF_ROOT.iter().filter(|_| is_root));
    let of_machine = of_machine.map(PathBuf::from);
    std::iter::once(data_dir.to_owned()).chain(of_persons).chain(of_machine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_the_data_of_the_fleet_are_kept() {
        let homes = ["/root", "/home/ann"].map(PathBuf::from);
        let all = kept(Path::new("/home/ann/.local/share/metafleet"), &homes, true);
        for path in
            ["/home/ann/.local/share/metafleet", "/root/.ssh", "/home/ann/.ssh", "/etc/shadow"]
        {
            assert!(all.contains(&PathBuf::from(path)), "{path}");
        }
        let all = kept(Path::new("/d"), &homes, false);
        assert!(!all.iter().any(|path| path.starts_with("/etc")), "{all:?}");
    }
}
