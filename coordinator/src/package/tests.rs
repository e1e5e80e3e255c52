//! Packages made by hand, honest ones and others, and what installing them leaves behind.

mod archives;
mod kinds;
mod made;
mod manifests;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tar::{BLOCK, header};
use super::{LISTING, MANIFEST, SIGNATURE};

/// Says to the test binary that it is the child.
const CHILD: &str = "METAFLEET_TEST_CHILD";
/// More memory than this beyond what it begins with, and a child dies; making what means harm takes
/// most of it.
const MEMORY: u64 = 512 << 20;

/// Runs `work` in a process of its own, which has little memory; the test is named `test`.
pub(super) fn with_little_memory(
    test: &str,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if std::env::var_os(CHILD).is_some() {
        let has = status_kib("VmSize:")? * 1024;
        let limit = Some(has + MEMORY);
        setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?;
        return work();
    }
    let output = Command::new(std::env::current_exe()?)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{}: {said}\n{complained}", output.status);
    anyhow::ensure!(said.contains("1 passed"), "no test is called {test}: {said}");
    Ok(())
}

/// Does something, and says by how many KiB the memory of this process grew at most meanwhile.
pub(super) fn grown<T>(work: impl FnOnce() -> T) -> anyhow::Result<(T, u64)> {
    // Begins the peak anew.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status_kib("VmRSS:")?;
    let done = work();
    Ok((done, status_kib("VmHWM:")?.saturating_sub(before)))
}

fn status_kib(field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// One entry of an archive, as it is to be written.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) header: [u8; BLOCK],
    pub(super) data: Vec<u8>,
}

impl Member {
    pub(super) fn new(name: &str, data: impl Into<Vec<u8>>, executable: bool) -> Self {
        let data = data.into();
        // A name that is none is put there by hand.
        let name_or = name.parse().unwrap_or_else(|_| "x".parse().unwrap());
        let mut member = Self { header: header(&name_or, data.len() as u64, executable), data };
        if name_or.as_str() != name {
            member.set(0, 100, name.as_bytes());
        }
        member
    }

    /// Changes a field and makes the sum right again.
    pub(super) fn set(&mut self, at: usize, length: usize, bytes: &[u8]) {
        self.header[at..at + length].fill(0);
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|byte| u32::from(*byte)).sum();
        self.header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// A package in the making.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) manifest: Value,
    /// Name, bytes, whether it may be run; the manifest comes by itself.
    pub(super) files: Vec<(String, Vec<u8>, bool)>,
}

impl Parts {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let bytes = |rng: &mut Rng, most: usize| -> Vec<u8> {
            let length = rng.usize(..most);
            std::iter::repeat_with(|| rng.u8(b' '..b'~')).take(length).collect()
        };
        let files = vec![
            ("bin/run".to_owned(), b"#!/bin/sh\ntouch /tmp/never\n".to_vec(), true),
            ("lib/data.txt".to_owned(), bytes(rng, 3000), false),
            ("lib/deep/er/more.bin".to_owned(), bytes(rng, 600), false),
        ];
        let manifest = json!({
            "id": "p", "name": "P", "version": "1.0.0", "priority": 15, "queue": "fast",
            "dataSchema": {}, "entryPoint": {"main": "bin/run"},
        });
        Self { manifest, files }
    }

    /// All files with their bytes.
    pub(super) fn all(&self) -> Vec<(String, Vec<u8>, bool)> {
        let manifest = (MANIFEST.to_owned(), self.manifest.to_string().into_bytes(), false);
        self.files.iter().cloned().chain([manifest]).collect()
    }

    /// What an honest list says.
    pub(super) fn listing(&self) -> Value {
        let files = self.all().into_iter().map(|(path, data, executable)| {
            let sha256 = HEXLOWER.encode(&Sha256::digest(&data));
            json!({"path": path, "size": data.len(), "sha256": sha256, "executable": executable})
        });
        json!({
            "type": "metafleet.package.v1", "id": "p", "version": "1.0.0",
            "files": files.collect::<Vec<_>>(),
        })
    }

    /// The entries of the files.
    pub(super) fn members(&self) -> Vec<Member> {
        let all = self.all().into_iter();
        all.map(|(name, data, executable)| Member::new(&name, data, executable)).collect()
    }
}

/// The entries of a package with this list.
pub(super) fn with_listing(listing: impl Into<Vec<u8>>, members: Vec<Member>) -> Vec<Member> {
    [Member::new(LISTING, listing, false)].into_iter().chain(members).collect()
}

/// The bytes of an archive before they are compressed.
pub(super) fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend_from_slice(&member.header);
        bytes.extend_from_slice(&member.data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// By name: mode, time, and what it holds.
type Tree = BTreeMap<String, (u32, i64, Vec<u8>)>;

/// All that is in a folder: mode, time, and what it holds or where it leads.
pub(super) fn tree(root: &Path) -> anyhow::Result<Tree> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            let held = if metadata.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                std::fs::read_link(&path)?.into_os_string().into_encoded_bytes()
            } else {
                std::fs::read(&path)?
            };
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let mode = metadata.permissions().mode();
            tree.insert(name, (mode, metadata.mtime_nsec(), held));
        }
    }
    Ok(tree)
}

/// The names of what is in a folder, those that begin with a dot left out.
pub(super) fn seen(root: &Path) -> anyhow::Result<Vec<String>> {
    let all = tree(root)?;
    Ok(all.into_keys().filter(|name| ![".lock", ".changed"].contains(&name.as_str())).collect())
}

/// Names of our own entries, which an installed plugin keeps.
pub(super) const OURS: [&str; 2] = [LISTING, SIGNATURE];
