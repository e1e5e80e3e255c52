//! Honest packages: what is packed is what is installed, and each step may be the last one.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use nkeys::KeyPair;
use tempfile::TempDir;

use super::super::disk::PluginFolder;
use super::super::{
    InstallOptions, Installed, Limits, PackageError, Packed, Trust, Which, pack, remove, stage,
};
use super::{OURS, Parts, seen};

struct Place {
    home: TempDir,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { home: tempfile::tempdir()? })
    }

    fn plugins(&self) -> PathBuf {
        self.home.path().join("plugins")
    }

    /// A folder that can be packed.
    fn folder(&self, version: &str) -> anyhow::Result<PathBuf> {
        let dir = self.home.path().join(format!("dist-{version}"));
        let mut parts = Parts::new(&mut Rng::with_seed(1));
        parts.manifest["version"] = version.into();
        for (name, bytes, executable) in parts.all() {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(&dir))?;
            std::fs::write(&path, bytes)?;
            let mode = if executable { 0o775 } else { 0o600 };
            std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        Ok(dir)
    }

    fn pack(&self, dir: &Path, key: Option<&Path>) -> Result<Packed, PackageError> {
        let out = dir.with_extension("mfp");
        pack(dir, Some(&out), key, &Limits::default())
    }

    fn install(&self, package: &Path) -> Result<Installed, PackageError> {
        self.install_with(package, &InstallOptions::default())
    }

    fn install_with(
        &self,
        package: &Path,
        options: &InstallOptions,
    ) -> Result<Installed, PackageError> {
        stage(package, &self.plugins(), options)?.publish()
    }
}

#[test]
fn what_is_packed_is_what_is_installed() -> anyhow::Result<()> {
    let place = Place::new()?;
    let dir = place.folder("1.0.0")?;
    // A link to a file inside stands for a copy.
    symlink("../bin/run", dir.join("lib/run"))?;
    let packed = place.pack(&dir, None)?;

    let installed = place.install(&packed.path)?;

    assert_eq!(installed.path, place.plugins().join("p/v1.0.0"));
    for file in &packed.listing.files {
        let (from, to) = (dir.join(file.path.as_str()), installed.path.join(file.path.as_str()));
        assert_eq!(std::fs::read(from)?, std::fs::read(&to)?, "{}", file.path);
        let metadata = std::fs::symlink_metadata(&to)?;
        assert!(metadata.is_file(), "{}", file.path);
        let mode = if file.executable { 0o755 } else { 0o644 };
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{}", file.path);
    }
    assert_eq!(packed.listing.files.len(), 5);
    // What is installed can be packed again, to the same bytes.
    let again =
        pack(&installed.path, Some(&place.home.path().join("b")), None, &Limits::default())?;
    assert_eq!((again.sha256, again.size), (packed.sha256, packed.size));
    Ok(())
}

#[test]
fn what_cannot_be_in_a_package_is_told() -> anyhow::Result<()> {
    type Spoil = fn(&Path) -> anyhow::Result<()>;
    let cases: [(&str, Spoil); 10] = [
        ("`out` is a link that leaves the folder", |dir| {
            Ok(symlink("/etc/passwd", dir.join("out"))?)
        }),
        ("`out` is a link that leaves the folder", |dir| Ok(symlink("../..", dir.join("out"))?)),
        ("`out` is a link that leads nowhere", |dir| Ok(symlink("gone", dir.join("out"))?)),
        ("`out` is a link to a folder", |dir| Ok(symlink("lib", dir.join("out"))?)),
        ("`s` is a socket", |dir| {
            UnixListener::bind(dir.join("s"))?;
            Ok(())
        }),
        ("differ in case only", |dir| Ok(std::fs::write(dir.join("BIN"), "")?)),
        ("a backslash", |dir| Ok(std::fs::write(dir.join("a\\b"), "")?)),
        ("there is no manifest.json", |dir| Ok(std::fs::remove_file(dir.join("manifest.json"))?)),
        ("there is no file `bin/run`", |dir| Ok(std::fs::remove_file(dir.join("bin/run"))?)),
        ("is not executable", |dir| {
            Ok(std::fs::set_permissions(dir.join("bin/run"), Permissions::from_mode(0o644))?)
        }),
    ];
    for (rule, spoil) in cases {
        let place = Place::new()?;
        let dir = place.folder("1.0.0")?;
        spoil(&dir)?;
        let error = place.pack(&dir, None).unwrap_err().to_string();
        assert!(error.contains(rule), "{rule}: {error}");
        assert!(!dir.with_extension("mfp").exists(), "{rule}");
        assert!(place.install(&dir).is_err(), "a folder is no package");
    }
    Ok(())
}

#[test]
fn a_version_is_installed_once_unless_it_is_to_be_replaced() -> anyhow::Result<()> {
    let place = Place::new()?;
    let dir = place.folder("1.0.0")?;
    let first = place.pack(&dir, None)?;
    let installed = place.install(&first.path)?;
    std::fs::write(dir.join("lib/data.txt"), "other")?;
    std::fs::write(dir.join("lib/new.txt"), "new")?;
    std::fs::remove_file(dir.join("lib/deep/er/more.bin"))?;
    let second = place.pack(&dir, None)?;

    let error = place.install(&second.path).unwrap_err();
    assert!(matches!(error, PackageError::Exists { .. }), "{error}");
    let options = InstallOptions { replace: true, ..InstallOptions::default() };
    place.install_with(&second.path, &options)?;

    assert_eq!(std::fs::read(installed.path.join("lib/data.txt"))?, b"other");
    assert!(installed.path.join("lib/new.txt").exists());
    assert!(!installed.path.join("lib/deep").exists(), "of the one before");
    let next = place.pack(&place.folder("1.1.0")?, None)?;
    place.install(&next.path)?;
    let one = "1.0.0".parse()?;
    let id = "p".parse()?;
    assert!(remove(&place.plugins(), &id, &Which::Version(one))?);
    assert!(!remove(&place.plugins(), &id, &Which::All)?);
    assert_eq!(seen(&place.plugins())?, [""; 0]);
    let error = remove(&place.plugins(), &id, &Which::All).unwrap_err();
    assert!(matches!(error, PackageError::Missing { .. }), "{error}");
    Ok(())
}

#[test]
fn what_was_staged_and_not_published_leaves_nothing() -> anyhow::Result<()> {
    let place = Place::new()?;
    let packed = place.pack(&place.folder("1.0.0")?, None)?;

    let staged = stage(&packed.path, &place.plugins(), &InstallOptions::default())?;
    assert!(seen(&place.plugins())?.iter().all(|name| name.starts_with(".install-")));
    let busy = place.install(&packed.path).unwrap_err();
    assert!(matches!(busy, PackageError::Busy { .. }), "{busy}");
    drop(staged);

    assert_eq!(seen(&place.plugins())?, [""; 0]);
    // What a killed one left goes with the next.
    std::fs::create_dir_all(place.plugins().join(".install-0123/v1.0.0/lib"))?;
    drop(PluginFolder::open(&place.plugins())?);
    assert_eq!(seen(&place.plugins())?, [""; 0]);
    Ok(())
}

#[test]
fn a_link_in_the_place_of_a_plugin_is_not_followed() -> anyhow::Result<()> {
    let place = Place::new()?;
    let packed = place.pack(&place.folder("1.0.0")?, None)?;
    let elsewhere = place.home.path().join("elsewhere");
    std::fs::create_dir_all(&elsewhere)?;
    std::fs::create_dir_all(place.plugins())?;
    symlink(&elsewhere, place.plugins().join("p"))?;

    let error = place.install(&packed.path).unwrap_err();

    assert!(matches!(error, PackageError::Io { .. }), "{error}");
    assert_eq!(seen(&elsewhere)?, [""; 0]);
    assert!(remove(&place.plugins(), &"p".parse()?, &Which::All).is_err());
    Ok(())
}

#[test]
fn whoever_signed_a_package_is_told() -> anyhow::Result<()> {
    let place = Place::new()?;
    let dir = place.folder("1.0.0")?;
    let (mine, other) = (KeyPair::new_user(), KeyPair::new_user());
    let path = place.home.path().join("key.nk");
    std::fs::write(&path, mine.seed().unwrap_or_default())?;
    let packed = place.pack(&dir, Some(&path))?;
    let key = mine.public_key();
    assert_eq!(packed.key.as_ref().map(ToString::to_string), Some(key.clone()));
    let by = |key: String| -> anyhow::Result<InstallOptions> {
        let keys = Some([key.parse()?].into());
        let trust = Trust { is_required: false, keys };
        Ok(InstallOptions { trust, replace: true, ..InstallOptions::default() })
    };

    let error = place.install_with(&packed.path, &by(other.public_key())?).unwrap_err();
    assert!(error.to_string().contains("which is not trusted"), "{error}");
    let staged = stage(&packed.path, &place.plugins(), &by(key)?)?;
    assert_eq!(staged.key, packed.key);
    let installed = staged.publish()?;
    assert!(OURS.iter().all(|name| installed.path.join(name).is_file()));
    let unsigned = place.pack(&dir, None)?;
    let error = place.install_with(&unsigned.path, &by(mine.public_key())?).unwrap_err();
    assert!(error.to_string().contains("it is not signed"), "{error}");
    Ok(())
}
