//! `metafleet plugin check`: what it finds, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use integration_tests::cli::{Home, Up};
use integration_tests::heavy;
use serde_json::{Value, json};

use super::plain;

/// Writes the manifest of a plugin into a folder of its own.
fn write(home: &Home, id: &str, change: &Value) -> anyhow::Result<PathBuf> {
    let folder = home.root().join("mine").join(id);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("manifest.json"), plain(id, change)?.to_string())?;
    Ok(folder)
}

#[tokio::test]
async fn every_kind_of_problem_is_found_beside_the_installed_plugins() -> anyhow::Result<()> {
    let home = Home::new()?;
    let entry = json!({"main": "run"});
    for (change, code, severity, pointer, what) in [
        (json!({}), 0, None, "", ""),
        (json!({"priority": 5}), 1, Some("error"), "/priority", "5 must be"),
        (json!({"timeout": "soon"}), 1, Some("error"), "/timeout", "is not of type"),
        (json!({"dependancies": []}), 0, Some("warning"), "/dependancies", "no field"),
        (json!({"entryPoint": entry}), 1, Some("error"), "/entryPoint/main", "no file `run`"),
        (
            json!({"dependencies": ["file-info", "gone"]}),
            1,
            Some("error"),
            "/dependencies/1",
            "not known: probe → gone",
        ),
        (
            json!({"dependencies": ["probe"]}),
            1,
            Some("error"),
            "/dependencies/0",
            "depends on itself: probe → probe",
        ),
        (
            json!({"dataSchema": {"title": {}}, "priority": 24}),
            0,
            Some("warning"),
            "/dataSchema/title",
            "by filename-parser too; what probe says counts (priority 24 over 20)",
        ),
        (json!({"reads": ["titel"]}), 0, Some("warning"), "/reads/0", "nobody writes `titel`"),
    ] {
        let folder = write(&home, "probe", &change)?.display().to_string();
        let arguments = ["plugin", "check", &folder, "--output", "json"];
        let done = home.run(&arguments).await?.ended(code)?;
        let found: Vec<Value> = done.json()?;
        let wanted = found.iter().find(|row| severity.is_some_and(|it| row["severity"] == it));
        assert_eq!(wanted.is_some(), severity.is_some(), "{change}: {found:#?}");
        let Some(row) = wanted else {
            assert!(found.is_empty(), "{found:#?}");
            continue;
        };
        assert_eq!(row["pointer"], pointer, "{change}");
        assert!(row["what"].as_str().is_some_and(|text| text.contains(what)), "{change}: {row}");
        assert!(row["advice"].as_str().is_some_and(|text| !text.is_empty()), "{change}: {row}");
        assert!(row["file"].as_str().is_some_and(|text| text.ends_with("manifest.json")));
    }
    let gone = home.run(&["plugin", "check", "none"]).await?.ended(3)?;
    gone.says("cannot be read")
}

#[tokio::test]
async fn a_program_may_be_beside_the_manifest_or_still_to_be_built() -> anyhow::Result<()> {
    let home = Home::new()?;
    let folder = write(&home, "probe", &json!({"entryPoint": {"main": "run"}}))?;
    let shown = folder.display().to_string();
    std::fs::write(folder.join("build"), "")?;

    let unbuilt = home.run(&["plugin", "check", &shown]).await?.ok()?;
    assert!(unbuilt.out.contains("warning") && unbuilt.out.contains("run ./build"), "{unbuilt:?}");
    std::fs::create_dir(folder.join("dist"))?;
    std::fs::write(folder.join("dist/run"), "")?;
    let inert = home.run(&["plugin", "check", &shown]).await?.ended(1)?;
    assert!(inert.out.contains("chmod +x run"), "{inert:?}");
    std::fs::set_permissions(folder.join("dist/run"), PermissionsExt::from_mode(0o755))?;
    let built = home.run(&["plugin", "check", &shown]).await?.ok()?;
    assert_eq!(built.out, "");
    built.says("probe 1.0.0, beside 10 installed plugins: 0 errors, 0 warnings")
}

#[tokio::test]
async fn plugins_are_checked_together_and_beside_a_fleet_that_runs() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut home = Home::new()?;
    super::super::cli::add(&mut home, "odd", &["same"], &json!({}))?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let one = write(&home, "one", &json!({"dependencies": ["two", "odd"], "reads": ["odd/done"]}))?;
    let two = write(&home, "two", &json!({"dependencies": ["one"]}))?;
    let (one, two) = (one.display().to_string(), two.display().to_string());
    // Only the fleet knows of `odd`.
    let empty = home.root().join("empty");
    std::fs::create_dir(&empty)?;
    let home = home.with_var("METAFLEET_PLUGIN_PATH", empty.display().to_string());

    let together = home.run(&["plugin", "check", &one, &two]).await?.ended(1)?;

    assert!(together.out.contains("depends on itself: one → two → one"), "{together:?}");
    assert!(!together.out.contains("odd"), "{together:?}");
    together.says("of the fleet that runs")?;
    up.stop().await
}
