//! Two thousand packages that mean harm.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use super::super::{InstallOptions, PackageError, Which, remove, stage};
use super::kinds::{Case, Expected, all};
use super::{OURS, Parts, grown, seen, tree, with_little_memory};

const CASES: u64 = 2000;
const SEED: u64 = 20_261;
/// One package may take so long on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// No package may take more memory, however large it is or would become.
const MEMORY_KIB: u64 = 48 << 10;
/// An error is for people.
const MAX_ERROR: usize = 4096;

#[test]
fn two_thousand_hostile_packages_change_nothing() -> anyhow::Result<()> {
    let test = "package::tests::archives::two_thousand_hostile_packages_change_nothing";
    with_little_memory(test, || {
        let home = tempfile::tempdir()?;
        // What must stay as it is: files beside the plugins, and another plugin.
        let (outside, plugins) = (home.path().join("outside"), home.path().join("plugins"));
        std::fs::create_dir_all(outside.join("folder"))?;
        std::fs::write(outside.join("file"), "precious")?;
        std::fs::write(outside.join("folder/file"), "precious")?;
        symlink("file", outside.join("link"))?;
        std::fs::create_dir_all(plugins.join("q/v1.0.0"))?;
        std::fs::write(plugins.join("q/v1.0.0/manifest.json"), "{}")?;
        let package = home.path().join("package.mfp");
        let (before, kinds) = (tree(&outside)?, all());
        let mut ended: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let (mut most, mut wrong) = ((0, ""), Vec::new());
        println!("seed {SEED}, {CASES} packages of {} kinds", kinds.len());
        for (n, (name, make)) in (0..CASES).zip(kinds.iter().cycle()) {
            let seed = SEED + n;
            let Case { bytes, expected } = make(&mut Rng::with_seed(seed), &outside);
            std::fs::write(&package, bytes)?;

            let since = jiff::Timestamp::now();
            let (done, grown) = grown(|| install(&package, &plugins))?;
            let took = since.duration_until(jiff::Timestamp::now());

            let what = format!("{name}, seed {seed}");
            if let Err(problem) = judge(expected, &done, &package) {
                wrong.push(format!("{what}: {problem}"));
            }
            most = most.max((grown, name));
            anyhow::ensure!(grown < MEMORY_KIB, "{what} took {grown} KiB of memory");
            anyhow::ensure!(took.unsigned_abs() < PATIENCE, "{what} took {took:?}");
            anyhow::ensure!(tree(&outside)? == before, "{what} has changed what is outside");
            let count = ended.entry(name).or_default();
            if done.is_ok() {
                count.0 += 1;
                anyhow::ensure!(is_as_listed(&plugins)?, "{what}: {:?}", seen(&plugins)?);
                remove(&plugins, &"p".parse()?, &Which::All)?;
            } else {
                count.1 += 1;
            }
            let left = seen(&plugins)?;
            anyhow::ensure!(
                left == ["q", "q/v1.0.0", "q/v1.0.0/manifest.json"],
                "{what}: {left:?}"
            );
        }
        let (taken, refused) = ended.values().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        wrong.truncate(20);
        anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        println!("{taken} were installed and as listed, {refused} were refused");
        println!("the most memory, {} KiB, took: {}", most.0, most.1);
        Ok(())
    })
}

fn install(package: &Path, plugins: &Path) -> Result<(), PackageError> {
    stage(package, plugins, &InstallOptions::default())?.publish().map(drop)
}

/// Whether the error says what is wrong, and where.
fn judge(
    expected: Expected,
    done: &Result<(), PackageError>,
    package: &Path,
) -> Result<(), String> {
    let error = match (expected, done) {
        (Expected::Files | Expected::Either, Ok(())) => return Ok(()),
        (Expected::Error(says), Ok(())) => return Err(format!("installed, expected `{says}`")),
        (Expected::Files, Err(error)) => return Err(error.to_string()),
        (Expected::Error(_) | Expected::Either, Err(error)) => error,
    };
    let told = error.to_string();
    if let Expected::Error(says) = expected
        && !told.contains(says)
    {
        return Err(format!("expected `{says}`: {told}"));
    }
    let PackageError::Refused { path, reasons } = error else {
        return Err(format!("not a refusal: {error:?}"));
    };
    let is_clear = path == package
        && !reasons.is_empty()
        && reasons.iter().all(|reason| !reason.is_empty())
        && told.len() < MAX_ERROR
        && !told.contains(char::is_control);
    if is_clear { Ok(()) } else { Err(format!("not clear: {told:?}")) }
}

/// Whether exactly the files of the list are there.
fn is_as_listed(plugins: &Path) -> anyhow::Result<bool> {
    let there = seen(&plugins.join("p/v1.0.0"))?;
    let mut listed: Vec<String> = OURS[..1].iter().map(|&name| name.to_owned()).collect();
    // All of these packages have the same names.
    listed.extend(Parts::new(&mut Rng::with_seed(0)).all().into_iter().map(|(name, _, _)| name));
    listed.extend(["bin", "lib", "lib/deep", "lib/deep/er"].map(str::to_owned));
    listed.sort();
    Ok(there == listed)
}
