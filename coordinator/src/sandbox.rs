//! How plugin processes are kept apart: from files, from the network, from the kernel, from each other.
//!
//! ```text
//! plugins.yml, manifest ─► wanted ─► Sandbox ─► arguments of the guard ─► the guard, which is one
//!                                                                         thread and about to become
//!                                                                         the plugin, applies it
//! ```
//!
//! Applied, in this order: limits, its own folder for temporary files, capabilities, Landlock, the
//! filter of system calls. What the kernel does not know is left out; [`support`] says what that
//! is. What cannot be applied although the kernel knows it is an error, and the plugin does not
//! start.

pub mod calls;
mod files;
pub mod kept;
mod limits;
pub mod needs;
pub mod reach;
pub mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use self::support::Support;
use crate::permission::Permission;

/// What one process may do. All that is not here is the same for every one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// What it reads of people's files.
    pub reads: Reads,
    /// What it must not read although it lies below something that it reads.
    pub kept: Vec<PathBuf>,
    /// Its own folders: it reads them and runs programs from there.
    pub own: Vec<PathBuf>,
    /// Folders that it may write to; each needed the permission.
    pub writes: Vec<PathBuf>,
    /// Its own folder for temporary files, empty at each start.
    pub scratch: PathBuf,
    /// Where it may connect to.
    pub network: Network,
    /// The one port that it may listen on.
    pub listens: Option<u16>,
    /// What it is allowed beyond the default, where that is not said by the fields above.
    pub allowed: BTreeSet<Permission>,
    /// Whether a person wrote its command line, so that files named there are meant to be read. What
    /// the plugin itself says opens nothing.
    pub trusts_arguments: bool,
}

/// What a process reads of people's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// These and what is below.
    pub below: Vec<PathBuf>,
    /// Everything else, too, but for what is kept from it: nobody said where the libraries are.
    pub anywhere: bool,
}

/// Where a process may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everywhere.
    Open,
    /// By TCP to these ports, and no other way.
    Ports {
        /// Ports of any machine: the kernel cannot tell machines apart here.
        connect: BTreeSet<u16>,
        /// Whether one of them is at a name, which UDP is needed to look up.
        by_name: bool,
    },
}

impl Default for Network {
    fn default() -> Self {
        Self::Ports { connect: BTreeSet::new(), by_name: false }
    }
}

/// The argument that begins a sandbox in the guard's command line.
pub const ARGUMENT: &str = "--sandbox";

impl Sandbox {
    /// What tells a guard of it; [`Sandbox::take`] reads it back. No secret is among it.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut list: Vec<OsString> = vec![ARGUMENT.into()];
        let mut say = |name: &str, value: OsString| list.extend([name.into(), value]);
        self.reads.below.iter().for_each(|root| say("--read", root.into()));
        self.kept.iter().for_each(|path| say("--keep", path.into()));
        self.own.iter().for_each(|path| say("--own", path.into()));
        self.writes.iter().for_each(|path| say("--write", path.into()));
        say("--scratch", self.scratch.clone().into());
        if let Network::Ports { connect, .. } = &self.network {
            connect.iter().for_each(|port| say("--connect", port.to_string().into()));
        }
        if let Some(port) = self.listens {
            say("--listen", port.to_string().into());
        }
        self.allowed.iter().for_each(|permission| say("--allow", permission.as_str().into()));
        let (open, by_name) = match &self.network {
            Network::Open => (true, false),
            Network::Ports { by_name, .. } => (false, *by_name),
        };
        let flags = [
            ("--anywhere", self.reads.anywhere),
            ("--open", open),
            ("--by-name", by_name),
            ("--trust-arguments", self.trusts_arguments),
        ];
        list.extend(flags.iter().filter(|(_, is)| *is).map(|(name, _)| OsString::from(name)));
        list
    }

    /// Reads one argument of those that [`Sandbox::arguments`] makes; `next` gives what follows.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn take(
        &mut self,
        name: &str,
        mut next: impl FnMut() -> Option<OsString>,
    ) -> Result<(), &'static str> {
        let no_path = "a path must follow an argument of the sandbox";
        let path = |next: Option<OsString>| next.map(PathBuf::from).ok_or(no_path);
        match name {
            "--read" => self.reads.below.push(path(next())?),
            "--keep" => self.kept.push(path(next())?),
            "--own" => self.own.push(path(next())?),
            "--write" => self.writes.push(path(next())?),
            "--scratch" => self.scratch = path(next())?,
            "--connect" => {
                let port = port(next())?;
                match &mut self.network {
                    Network::Ports { connect, .. } => connect.insert(port),
                    Network::Open => return Err("--connect makes no sense with --open"),
                };
            }
            "--listen" => self.listens = Some(port(next())?),
            "--anywhere" => self.reads.anywhere = true,
            "--open" => self.network = Network::Open,
            "--by-name" => {
                if let Network::Ports { by_name, .. } = &mut self.network {
                    *by_name = true;
                }
            }
            "--allow" => {
                let text = next().and_then(|text| text.into_string().ok());
                let permission = text.and_then(|text| text.parse().ok());
                self.allowed.insert(permission.ok_or("a permission must follow --allow")?);
            }
            "--trust-arguments" => self.trusts_arguments = true,
            _ => return Err("there is no such argument of the sandbox"),
        }
        Ok(())
    }

    /// Applies it to this process, which is one thread and becomes `program` next.
    ///
    /// # Errors
    ///
    /// What could not be applied, and what the operating system says.
    pub fn enter(&self, program: &Path, arguments: &[OsString]) -> Result<(), String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        limits::set().map_err(|error| failed("limits", &error))?;
        files::empty(&self.scratch).map_err(|error| {
            failed(&format!("the folder {} for temporary files", self.scratch.display()), &error)
        })?;
        let named = if self.trusts_arguments { arguments } else { &[] };
        let needs = needs::look(program, named);
        let rules = files::rules(self, &needs);
        if !self.allowed.contains(&Permission::Root) {
            limits::drop_capabilities().map_err(|error| failed("capabilities", &error))?;
        }
        rustix::thread::set_no_new_privs(true).map_err(|error| failed("privileges", &error))?;
        files::restrict(self, &rules).map_err(|error| failed("Landlock", &error))?;
        calls::restrict(self).map_err(|error| failed("the system call filter", &error))
    }
}

fn port(text: Option<OsString>) -> Result<u16, &'static str> {
    text.and_then(|text| text.into_string().ok())
        .and_then(|text| text.parse().ok())
        .ok_or("a port must follow an argument of the sandbox")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn what_the_guard_is_told_is_what_it_reads_back() {
        let odd = PathBuf::from(OsString::from_vec(b"/not utf-8 \xff".to_vec()));
        let ports = |connect: &[u16], by_name| Network::Ports {
            connect: connect.iter().copied().collect(),
            by_name,
        };
        for sandbox in [
            Sandbox::default(),
            Sandbox { scratch: "/s".into(), ..Sandbox::default() },
            Sandbox {
                reads: Reads { below: vec![odd.clone(), "--keep".into()], anywhere: true },
                kept: vec!["/k".into(), odd],
                own: vec!["/o".into()],
                writes: vec!["/w".into()],
                scratch: "/s".into(),
                network: ports(&[1, 65_535], true),
                listens: Some(8080),
                allowed: Permission::ALL.into(),
                trusts_arguments: true,
            },
            Sandbox { network: Network::Open, ..Sandbox::default() },
        ] {
            let mut said = sandbox.arguments().into_iter();
            assert_eq!(said.next().as_deref(), Some(ARGUMENT.as_ref()));
            let mut heard = Sandbox::default();
            while let Some(name) = said.next() {
                heard.take(name.to_str().unwrap(), || said.next()).unwrap();
            }
            assert_eq!(heard, sandbox);
        }
        for (name, value) in [("--read", None), ("--connect", Some("x")), ("--other", None)] {
            let mut none = value.map(OsString::from);
            assert!(Sandbox::default().take(name, || none.take()).is_err(), "{name}");
        }
    }
}
