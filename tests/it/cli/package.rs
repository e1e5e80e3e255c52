//! Packages as a person makes and installs them, with and without a fleet that runs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use integration_tests::cli::{Done, Home, Up};
use integration_tests::{eventually, heavy};
use serde_json::{Value, json};

/// A home whose fleets look into an empty plugin folder, and into what is installed.
pub(super) fn home() -> anyhow::Result<Home> {
    let home = Home::new()?;
    let empty = home.root().join("none");
    std::fs::create_dir(&empty)?;
    let empty = empty.to_str().context("a path")?.to_owned();
    // The plugin of these tests notes what it does in its own folder, which no sandbox lets it.
    Ok(home.with_var("METAFLEET_PLUGIN_PATH", empty).with_var("METAFLEET_ISOLATION", "off"))
}

/// A folder that can be packed, with a plugin whose program is a real one.
pub(super) fn folder(home: &Home, version: &str, change: &Value) -> anyhow::Result<PathBuf> {
    let dir = home.root().join(format!("dist-{version}"));
    std::fs::create_dir_all(dir.join("lib/deep"))?;
    let mut manifest = json!({
        "id": "packed", "name": "Packed", "version": version, "priority": 50, "queue": "fast",
        "dataSchema": {"packed/done": {}}, "entryPoint": {"main": "./bin/program"},
    });
    for (field, value) in change.as_object().context("fields")? {
        manifest[field] = value.clone();
    }
    std::fs::write(dir.join("manifest.json"), manifest.to_string())?;
    std::fs::create_dir_all(dir.join("bin"))?;
    std::fs::copy(env!("CARGO_BIN_EXE_odd-plugin"), dir.join("bin/program"))?;
    std::fs::write(dir.join("lib/deep/data.txt"), "data\n")?;
    Ok(dir)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path")
}

pub(super) async fn pack(home: &Home, dir: &Path, more: &[&str]) -> anyhow::Result<Value> {
    home.json(&[&["plugin", "pack", text(dir)?], more].concat()).await
}

async fn install(home: &Home, package: &Path, more: &[&str]) -> anyhow::Result<Done> {
    home.run(&[&["plugin", "install", text(package)?], more].concat()).await
}

/// What the fleet that runs says of the plugin.
async fn state(home: &Home, field: &str, wanted: &Value) -> anyhow::Result<()> {
    eventually(&format!("{field} = {wanted}"), async || {
        let shown: Value = home.json(&["plugin", "show", "packed"]).await?;
        Ok((shown[field] == *wanted).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_package_is_the_same_bytes_however_often_it_is_made() -> anyhow::Result<()> {
    let home = home()?;
    let dir = folder(&home, "1.0.0", &json!({}))?;
    std::fs::write(dir.join(".metafleetignore"), "*.log\n")?;
    std::fs::write(dir.join("a.log"), "left out")?;
    std::fs::create_dir(dir.join(".git"))?;
    std::fs::write(dir.join(".git/HEAD"), "left out")?;

    let first = pack(&home, &dir, &[]).await?;
    let again = folder(&home, "1.0.0", &json!({}))?;
    let second = pack(&home, &again, &["-o", "again.mfp"]).await?;

    let bytes = |name: &str| std::fs::read(home.root().join(name));
    assert_eq!(bytes("packed-1.0.0.mfp")?, bytes("again.mfp")?);
    assert_eq!((&first["sha256"], &first["size"]), (&second["sha256"], &second["size"]));
    assert_eq!(first["files"], 3, "{first}");
    let odd = install(&home, &dir.join("manifest.json"), &[]).await?.ended(1)?;
    odd.says("is not a package: it is not made by gzip")?;
    install(&home, Path::new("https://example.org/a.mfp"), &[]).await?.ended(2)?;
    Ok(())
}

#[tokio::test]
async fn a_package_is_installed_into_a_fleet_that_runs_and_removed_again() -> anyhow::Result<()> {
    let _permit = heavy().await?;
    let home = home()?;
    home.write("a.txt", "one")?;
    let dir = folder(&home, "1.0.0", &json!({}))?;
    pack(&home, &dir, &[]).await?;
    let package = home.root().join("packed-1.0.0.mfp");
    let (up, look) = Up::fleet(&home, 0).await?;

    let done = install(&home, &package, &[]).await?.ok()?;
    done.says("has seen packed 1.0.0")?;
    done.says("takes no part yet")?;
    install(&home, &package, &[]).await?.ended(5)?.says("is installed already")?;
    home.run(&["plugin", "enable", "packed"]).await?.ok()?;
    look.ready(1).await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(1)), "{summary}");
    let file: Value = home.json(&["file", "show", &home.file("a.txt")]).await?;
    assert_eq!(file["plugins"]["packed"]["version"], "1.0.0", "{file}");

    // What is not installed in that version is told, and nothing is changed for it.
    home.run(&["plugin", "remove", "packed", "--version", "9.0.0"]).await?.ended(3)?;
    state(&home, "enabled", &json!(true)).await?;

    // Another version of what takes part takes part.
    let dir = folder(&home, "1.1.0", &json!({}))?;
    install(&home, &dir, &[]).await?.ok()?.says("has seen packed 1.1.0")?;
    state(&home, "enabled", &json!(true)).await?;
    home.run(&["plugin", "disable", "packed"]).await?.ok()?;
    state(&home, "enabled", &json!(false)).await?;
    home.run(&["plugin", "remove", "packed", "--version", "1.0.0"]).await?.ok()?;
    home.run(&["plugin", "remove", "packed", "--files"]).await?.ok()?;
    assert!(!home.data().join("plugins/packed").exists());
    home.run(&["plugin", "remove", "packed", "--files"]).await?.ended(3)?;
    home.run(&["plugin", "show", "packed"]).await?.ended(3)?;
    up.stop().await
}

/// Whether what lies in an installed folder is as the schema says.
fn fits(folder: &Path, entry: &str, schema: &str) -> anyhow::Result<()> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker-config/schema");
    let schema = std::fs::read(schemas.join(format!("{schema}.schema.json")))?;
    let value: Value = serde_json::from_slice(&std::fs::read(folder.join(entry))?)?;
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema)?)?;
    let found = validator.validate(&value);
    anyhow::ensure!(found.is_ok(), "{entry}: {:?}", found.err().map(|error| error.to_string()));
    Ok(())
}

#[tokio::test]
async fn only_what_somebody_trusted_has_signed_is_taken_when_it_must_be() -> anyhow::Result<()> {
    // A seed, and the public part of another one, made for this test.
    let seed = "SUAPLK2VQLUF64NSXSMKDJL24NC2RNGTKXJMUD6N5VCJ6AKNCLYQY4YM2Y";
    let other = "UBOEV6N3E2PK7CGXAVEA5YPMOLWELXUWN5KRN6JD7Z4NAXLXIZXFHACG";
    let home = home()?;
    std::fs::write(home.root().join("key.nk"), seed)?;
    std::fs::write(home.root().join("trusted"), format!("# of this test\n{other} # not mine\n"))?;
    let dir = folder(&home, "1.0.0", &json!({}))?;
    // A key within the folder would be published in the package that it signs.
    std::fs::copy(home.root().join("key.nk"), dir.join("key.nk"))?;
    let within = dir.join("key.nk");
    let refused = home.run(&["plugin", "pack", "dist-1.0.0", "--sign", text(&within)?]).await?;
    refused.ended(1)?.says("`key.nk` is the key that signs it")?;
    std::fs::remove_file(within)?;
    let plain = pack(&home, &dir, &["-o", "plain.mfp"]).await?;
    let signed = pack(&home, &dir, &["-o", "signed.mfp", "--sign", "key.nk"]).await?;
    assert_eq!(plain["key"], Value::Null);
    let key = signed["key"].as_str().context("a key")?.to_owned();
    let (plain, signed) = (Path::new("plain.mfp"), Path::new("signed.mfp"));

    for (package, more, code, says) in [
        (plain, vec!["--require-signature"], 1, "it is not signed"),
        (plain, vec!["--trust", &key], 1, "it is not signed"),
        (plain, vec!["--trust", "U"], 2, "not the public key of an nkey"),
        (signed, vec!["--trust", other], 1, "which is not trusted"),
        (signed, vec!["--trust-file", "trusted"], 1, "which is not trusted"),
        (signed, vec!["--trust-file", "trusted", "--trust", &key], 0, "takes no part yet"),
        (plain, vec![], 5, "is installed already"),
        (plain, vec!["--replace"], 0, ""),
        (signed, vec!["--require-signature", "--replace"], 0, ""),
    ] {
        let done = install(&home, package, &more).await?.ended(code)?;
        done.says(says).with_context(|| format!("{package:?} {more:?}"))?;
    }
    let installed = home.data().join("plugins/packed/v1.0.0");
    fits(&installed, "metafleet-package.json", "package")?;
    fits(&installed, "metafleet-package.sig", "package-signature")?;
    assert!(
        !home.run(&["plugin", "pack", "dist-1.0.0", "--sign", "trusted"]).await?.err.contains(seed)
    );
    Ok(())
}

#[tokio::test]
async fn a_package_for_another_engine_or_without_end_is_refused() -> anyhow::Result<()> {
    let home = home()?;
    for (version, change, says) in [
        ("1.0.0", json!({"minEngineVersion": "99.0.0"}), "it needs MetaFleet 99.0.0 or newer"),
        ("1.0.1", json!({"maxEngineVersion": "0.0.1"}), "it works up to MetaFleet 0.0.1"),
        ("1.0.2", json!({"dependencies": ["packed"]}), "depends on itself: packed → packed"),
        ("1.0.3", json!({"dependencies": ["gone"]}), "packed waits for gone"),
    ] {
        let dir = folder(&home, version, &change)?;
        let made = pack(&home, &dir, &[]).await?;
        let done = install(&home, Path::new(made["path"].as_str().context("a path")?), &[]).await?;
        done.says(says)?;
        // What is missing may still come.
        assert_eq!(done.code, Some(if version == "1.0.3" { 0 } else { 1 }), "{done:?}");
        let place = home.data().join("plugins/packed").join(format!("v{version}"));
        assert_eq!(place.exists(), version == "1.0.3", "{version}");
    }
    let odd =
        folder(&home, "2.0.0", &json!({"minEngineVersion": "1.0.0", "maxEngineVersion": "0"}))?;
    let odd = odd.to_str().context("a path")?;
    home.run(&["plugin", "pack", odd]).await?.ended(1)?.says("0 is before minEngineVersion")
}

#[tokio::test]
async fn what_is_installed_is_listed_before_a_fleet_has_seen_it() -> anyhow::Result<()> {
    let _permit = heavy().await?;
    let home = home()?;
    let dir = folder(&home, "1.0.0", &json!({}))?;
    install(&home, &dir, &[]).await?.ok()?;
    let row = async || {
        let mut rows: Vec<Value> = home.json(&["plugin", "list"]).await?;
        anyhow::ensure!(rows.len() == 1, "{rows:?}");
        Ok(rows.remove(0))
    };

    // No fleet has been here yet.
    let listed = row().await?;
    assert_eq!((&listed["id"], &listed["state"]), (&json!("packed"), &json!("installed")));

    let (up, look) = Up::fleet(&home, 0).await?;
    home.run(&["plugin", "enable", "packed"]).await?.ok()?;
    look.ready(1).await?;
    assert_eq!(row().await?["state"], "ready");
    up.stop().await?;
    let listed = row().await?;
    assert_eq!((&listed["version"], &listed["state"]), (&json!("1.0.0"), &json!("not running")));

    // A folder that somebody put there by hand: nobody looked at it before.
    let newer = folder(&home, "1.1.0", &json!({}))?;
    install(&home, &newer, &[]).await?.ok()?;
    let foreign = home.data().join("plugins/packed/v2.0.0");
    std::fs::create_dir(&foreign)?;
    let manifest = std::fs::read_to_string(newer.join("manifest.json"))?;
    let mut manifest: Value = serde_json::from_str(&manifest)?;
    manifest["version"] = json!("2.0.0");
    manifest["minEngineVersion"] = json!("99.0.0");
    std::fs::write(foreign.join("manifest.json"), manifest.to_string())?;

    let listed = home.run(&["plugin", "list"]).await?.ok()?;
    assert!(listed.out.contains("packed: 1.1.0 is installed, 1.0.0 takes part"), "{listed:?}");
    listed.says("it needs MetaFleet 99.0.0 or newer")?;
    let shown = home.run(&["status"]).await?.ok()?.out;
    assert!(shown.contains("it needs MetaFleet 99.0.0 or newer"), "{shown}");
    let status: Value = home.json(&["status"]).await?;
    let rule = status["problems"][0]["rule"].as_str().context("a problem")?;
    assert!(rule.contains("99.0.0"), "{rule}");
    Ok(())
}

#[tokio::test]
async fn a_killed_installation_leaves_nothing_that_a_fleet_sees() -> anyhow::Result<()> {
    let home = home()?;
    let dir = folder(&home, "1.0.0", &json!({}))?;
    // Each is brought to the disk by itself, which takes a while.
    for n in 0..4000 {
        std::fs::write(dir.join(format!("lib/{n}")), format!("file {n}"))?;
    }
    let made = pack(&home, &dir, &[]).await?;
    let package = made["path"].as_str().context("a path")?;
    let plugins = home.data().join("plugins");
    let left = || -> anyhow::Result<Vec<String>> {
        let names = std::fs::read_dir(&plugins)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<anyhow::Result<Vec<_>>>()?.into_iter();
        let names = names.map(|name| name.to_string_lossy().into_owned());
        Ok(names.filter(|name| ![".lock", ".changed"].contains(&name.as_str())).collect())
    };

    let mut child = home.command(&["plugin", "install", package])?.spawn()?;
    eventually("its first files", async || {
        anyhow::ensure!(child.try_wait()?.is_none(), "it has ended before it was killed");
        let begun = left().unwrap_or_default().into_iter().next().map(|name| plugins.join(name));
        Ok(begun.filter(|begun| begun.join("v1.0.0/bin/program").exists()).map(drop))
    })
    .await?;
    child.kill().await?;

    let after = left()?;
    assert!(after.len() == 1 && after[0].starts_with(".install-"), "{after:?}");
    install(&home, Path::new(package), &[]).await?.ok()?;
    assert_eq!(left()?, ["packed"]);
    assert_eq!(std::fs::read_to_string(plugins.join("packed/v1.0.0/lib/3999"))?, "file 3999");
    Ok(())
}
