//! What a program needs to run, found out from the program: its interpreter, the folders of both, the
//! scripts among its arguments.
//!
//! So plugins say nothing about it, and those that were written before there was a sandbox go on
//! working in it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where systems keep programs, libraries and settings; a folder that is not there is passed over.
pub const SYSTEM: [&str; 15] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/var/lib/ca-certificates",
    "/proc",
    "/sys",
];
/// What names of machines are looked up with, where `/etc/resolv.conf` leads there.
pub const RESOLVERS: [&str; 4] = [
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager/resolv.conf",
    "/run/connman/resolv.conf",
];
/// Devices that any program may use.
pub const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Devices of graphics processors.
pub const GPU_DEVICES: [&str; 8] = [
    "/dev/dri",
    "/dev/kfd",
    "/dev/nvidia0",
    "/dev/nvidia1",
    "/dev/nvidiactl",
    "/dev/nvidia-modeset",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
];
/// Links and interpreters that are followed from one program.
const MOST_STEPS: usize = 16;
/// What of a script's first line counts; the kernel reads no more.
const FIRST_LINE: u64 = 256;

/// What a program needs besides the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Folders of programs with what lies beside them for them, and single files.
    pub runs: Vec<PathBuf>,
    /// Folders that a person has named among its arguments.
    pub folders: Vec<PathBuf>,
    /// Files that a person has named: what they need lies beside them.
    pub files: Vec<PathBuf>,
    /// Files that the plugin itself has named, by a link or a first line: no more than these.
    pub chosen: Vec<PathBuf>,
}

/// Looks at the program that is about to be run, with this process's folder and environment;
/// `arguments` are those that a person has written.
#[must_use]
pub fn look(program: &Path, arguments: &[OsString]) -> Needs {
    let mut needs = Needs::default();
    let search = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&search).filter(|folder| folder.is_absolute()).collect();
    for folder in &folders {
        needs.runs.extend(around(folder));
    }
    if let Some(home) = std::env::var_os("HOME") {
        // Where Python keeps the packages of a person.
        needs.runs.push(Path::new(&home).join(".local/lib"));
    }
    needs.follow(program, &folders, MOST_STEPS);
    for argument in arguments {
        let path = Path::new(argument);
        let Ok(path) = std::path::absolute(path) else { continue };
        if path.is_dir() {
            needs.folders.push(path);
        } else if path.is_file() {
            // Node looks for packages in the folders above a script.
            let above = path.ancestors().skip(1).map(|folder| folder.join("node_modules"));
            needs.runs.extend(above.filter(|modules| modules.is_dir()));
            needs.files.push(path);
        }
    }
    needs
}

impl Needs {
    /// Notes a program, what it is a link to and what interprets it.
    fn follow(&mut self, program: &Path, folders: &[PathBuf], steps: usize) {
        let Some(steps) = steps.checked_sub(1) else { return };
        let Some(path) = find(program, folders) else { return };
        if let Some(folder) = path.parent() {
            if is_of_programs(folder) {
                self.runs.extend(around(folder));
            } else {
                self.chosen.push(path.clone());
            }
            if let Ok(target) = std::fs::read_link(&path) {
                return self.follow(&folder.join(target), folders, steps);
            }
        }
        let mut first = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(FIRST_LINE).read_to_end(&mut first));
        if read.is_ok() {
            for interpreter in interpreters(&first) {
                self.follow(&interpreter, folders, steps);
            }
        }
    }
}

/// The file that a program's name stands for.
fn find(program: &Path, folders: &[PathBuf]) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok();
    }
    folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether a folder is one where programs lie by custom, with their libraries beside it.
fn is_of_programs(folder: &Path) -> bool {
    let name = folder.file_name().and_then(OsStr::to_str);
    matches!(name, Some("bin" | "sbin" | "libexec" | "shims"))
}

/// What belongs to the programs in `folder`.
fn around(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    let Some(prefix) = folder.parent().filter(|_| is_of_programs(folder)) else { return all };
    if folder.ends_with("shims") {
        // A manager of versions: its programs are scripts that look for the real one around here.
        all.push(prefix.to_owned());
    } else {
        all.extend(["lib", "lib64", "libexec", "pyvenv.cfg"].map(|name| prefix.join(name)));
    }
    all
}

/// What interprets a file that begins like this: programs by path, or by name behind `env`.
fn interpreters(first: &[u8]) -> Vec<PathBuf> {
    let Some(line) = first.strip_prefix(b"#!") else { return Vec::new() };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let Some(program) = words.next() else { return Vec::new() };
    let program = PathBuf::from(OsStr::from_bytes(program));
    let mut all = vec![program.clone()];
    if program.file_name() == Some(OsStr::new("env")) {
        let is_program = |word: &&[u8]| !word.starts_with(b"-") && !word.contains(&b'=');
        all.extend(words.find(is_program).map(|word| PathBuf::from(OsStr::from_bytes(word))));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn interpreters_are_read_from_the_first_line() {
        for (first, expected) in [
            ("", &[] as &[&str]),
            ("\x7fELF", &[]),
            ("#!", &[]),
            ("#!/bin/sh -e\nmore", &["/bin/sh"]),
            ("#! /usr/bin/env python3\n", &["/usr/bin/env", "python3"]),
            ("#!/usr/bin/env -S A=b node --x\n", &["/usr/bin/env", "node"]),
        ] {
            let found = interpreters(first.as_bytes());
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{first}");
        }
    }

    #[test]
    fn what_belongs_to_a_program_lies_around_it() {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        for (folder, expected) in [
            ("/v/bin", &["/v/bin", "/v/lib", "/v/lib64", "/v/libexec", "/v/pyvenv.cfg"] as &[_]),
            ("/home/ann/.pyenv/shims", &["/home/ann/.pyenv/shims", "/home/ann/.pyenv"]),
            ("/home/ann", &["/home/ann"]),
        ] {
            assert_eq!(around(Path::new(folder)), paths(expected), "{folder}");
        }
    }

    #[test]
    fn a_script_a_link_and_an_environment_of_python_are_followed() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let root = home.path();
        for folder in ["venv/bin", "python/bin", "plugin"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        std::fs::write(root.join("python/bin/python3.12"), "\x7fELF")?;
        symlink("python3.12", root.join("python/bin/python3"))?;
        symlink(root.join("python/bin/python3"), root.join("venv/bin/python"))?;
        let script = root.join("plugin/run");
        std::fs::write(&script, format!("#!{}\n", root.join("venv/bin/python").display()))?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        symlink("run", root.join("plugin/again"))?;
        symlink("loop", root.join("plugin/loop"))?;

        let mut needs = Needs::default();
        needs.follow(&root.join("plugin/again"), &[], MOST_STEPS);
        needs.follow(&root.join("plugin/loop"), &[], MOST_STEPS);

        for path in ["venv/bin", "venv/lib", "venv/pyvenv.cfg", "python/bin", "python/lib"] {
            assert!(needs.runs.contains(&root.join(path)), "{path}: {needs:?}");
        }
        assert!(needs.chosen.contains(&root.join("plugin/run")), "{needs:?}");
        assert!(!needs.runs.contains(&root.join("plugin")), "{needs:?}");
        Ok(())
    }
}
