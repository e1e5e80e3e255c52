use super::*;

const MANIFEST: &str = r#"{
    "$schema": "x", "id": "probe", "name": "Probe", "version": "1.0.0", "priority": 50, "queue": "fast",
    "concurrency": 2, "dataSchema": {"a": {}}
}"#;

fn plan(args: &[&str]) -> Result<Plan, String> {
    let all = [&["metafleet-shim"], args].concat();
    let options = Options::try_parse_from(all).map_err(|error| error.to_string())?;
    let environment = [("PATH", "/bin"), ("NATS_TOKEN", "hush")].map(|(a, b)| (a.into(), b.into()));
    options
        .plan("/proc/self/exe".into(), environment)
        .map_err(|error| broker_config::Chain(&error).to_string())
}

#[test]
fn a_command_line_becomes_a_plan() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("m.json");
    std::fs::write(&path, MANIFEST)?;
    let path = path.to_str().unwrap();

    let plain = plan(&["--manifest", path, "--", "./x", "--persistent"]).unwrap();
    assert_eq!(plain.life, Life::Once);
    assert_eq!(plain.launch.command, ["./x", "--persistent"]);
    assert_eq!(plain.launch.environment, [("PATH".into(), "/bin".into())]);
    assert_eq!(plain.launch.limits, Limits::default());
    assert_eq!(plain.manifest.concurrency.map(NonZeroU32::get), Some(2));
    assert_eq!(plain.max_output, 4 << 20);

    let args = "--persistent --recycle-after 9 --concurrency 3 --grace 250ms --max-output 64K --max-memory 1G \
        --max-cpu-seconds 5 --max-open-files 20 --max-file-size 1m --nice 7 --later 2 --skipped-codes 1,3 \
        --permanent-codes 2 --fatal-codes 9 --secrets-in-environment --check-settings";
    let args: Vec<&str> = ["--manifest", path]
        .into_iter()
        .chain(args.split_whitespace())
        .chain(["--", "x"])
        .collect();
    let full = plan(&args).unwrap();
    assert_eq!(full.life, Life::Persistent { recycle_after: NonZeroU32::new(9) });
    assert_eq!(full.manifest.concurrency.map(NonZeroU32::get), Some(3));
    assert_eq!(
        (full.launch.grace, full.later),
        (Duration::from_millis(250), Duration::from_secs(2))
    );
    let limits = Limits {
        memory: Some(1 << 30),
        cpu_seconds: Some(5),
        open_files: Some(20),
        file_size: Some(1 << 20),
        nice: 7,
    };
    assert_eq!(full.launch.limits, limits);
    assert_eq!(full.max_output, 64 << 10);
    assert_eq!(
        full.codes,
        Codes { skipped: [1, 3].into(), permanent: [2].into(), fatal: [9].into() }
    );
    assert!(full.check_settings && full.secrets_in_environment);
    Ok(())
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    for (args, words) in [
        (&["--"][..], "required"),
        (&["x"], "unexpected argument"),
        (&["--recycle-after", "3", "--", "x"], "--persistent"),
        (&["--recycle-after", "0", "--persistent", "--", "x"], "--recycle-after"),
        (&["--grace", "soon", "--", "x"], "seconds, e.g."),
        (&["--grace", "-1", "--", "x"], "-1"),
        (&["--max-output", "0", "--", "x"], "above 0"),
        (&["--max-memory", "99999999999G", "--", "x"], "above 0"),
        (&["--max-memory", "é", "--", "x"], "above 0"),
        (&["--nice", "20", "--", "x"], "--nice"),
        (&["--skipped-codes", "0", "--", "x"], "--skipped-codes"),
        (&["--manifest", "/none/there.json", "--", "x"], "could not read /none/there.json"),
    ] {
        let said = plan(args).unwrap_err();
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn a_manifest_may_be_yaml() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("m.yaml");
    let plan_of = |text: &str| {
        std::fs::write(&path, text).unwrap();
        plan(&["--manifest", path.to_str().unwrap(), "--", "x"])
    };
    let good = "id: probe\nname: no\nversion: 1.0.0\npriority: 50\nqueue: fast\ndataSchema:\n  a/{n}/*: {}\n";
    let read = plan_of(good).unwrap().manifest;
    assert_eq!((read.name.as_str(), read.id.as_str()), ("no", "probe"));
    assert!(read.data_field("a/0/b").is_some());
    for (text, words) in [
        ("id: [", "m.yaml: "),
        ("- 1\n", "m.yaml: invalid manifest"),
        (&good.replace("50", "5"), "priority"),
        (&format!("{good}id: other\n"), "m.yaml: "),
        (&format!("{good}configSchema: {{aB: {{}}, a_b: {{}}}}\n"), "METAFLEET_SETTING_A_B"),
    ] {
        let said = plan_of(text).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    Ok(())
}
