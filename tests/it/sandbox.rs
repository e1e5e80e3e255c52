//! What keeps plugin processes apart, tried by a plugin that means harm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use coordinator::sandbox::Support;
use integration_tests::cli::{Home, Up};
use integration_tests::{docker, heavy, within};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// Makes the program that means harm.
async fn probe(home: &Home) -> anyhow::Result<PathBuf> {
    let (source, program) = (source("sandbox/probe.c"), home.root().join("probe"));
    let done = Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "compile the probe: {said}");
    Ok(program)
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A machine with something to be harmed.
struct Machine {
    home: Home,
    program: PathBuf,
    victim: Child,
    open: tokio::net::TcpListener,
    _socket: tokio::net::UnixListener,
}

impl Machine {
    async fn new() -> anyhow::Result<Self> {
        let home = Home::new()?.with_var("METAFLEET_PLUGIN_PATH", "/none");
        home.write("film.txt", "film")?;
        std::fs::write(home.root().join("other.txt"), "other")?;
        std::fs::create_dir(home.root().join(".ssh"))?;
        std::fs::write(home.root().join(".ssh/id"), "key")?;
        let program = probe(&home).await?;
        let victim = Command::new("sleep").arg("600").kill_on_drop(true).spawn()?;
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let socket = tokio::net::UnixListener::bind(home.root().join("socket"))?;
        Ok(Self { home, program, victim, open, _socket: socket })
    }

    /// Has the plugin try; returns what it printed.
    async fn tries(&self, what: &str, change: &Value) -> anyhow::Result<String> {
        let home = &self.home;
        let dir = home.root().join("plugin");
        std::fs::create_dir_all(&dir)?;
        let victim = self.victim.id().context("a victim")?.to_string();
        let port = self.open.local_addr()?.port().to_string();
        let socket = home.root().join("socket").display().to_string();
        let told = [&home.root().display().to_string(), &victim, &port, &socket];
        std::fs::write(dir.join("arguments"), told.map(|line| format!("{line}\n")).concat())?;
        let mut entry = json!({"dir": dir, "command": [self.program, what]});
        for (field, value) in change.as_object().context("fields")? {
            entry[field] = value.clone();
        }
        let arguments = docker::plugins_file(home, &json!({"probe": entry}))?;
        let library = format!("films={}", home.library().display());
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.extend(["--library", &library]);
        let (up, _look) = Up::fleet_with(home, 0, &arguments).await?;
        let log = home.data().join("log/plugin-probe-1.log");
        let printed = within(Duration::from_secs(120), "the probe to end", async || {
            let printed = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(printed.contains("\nend\n").then_some(printed))
        });
        let printed = printed.await.with_context(|| up.said())?;
        up.stop().await?;
        std::fs::remove_file(&log)?;
        Ok(printed)
    }
}

fn those<'a>(printed: &'a str, how: &str) -> Vec<&'a str> {
    printed.lines().filter_map(|line| line.strip_prefix(how)).collect()
}

#[tokio::test]
async fn a_process_that_means_harm_is_denied_everything() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let support = Support::look();
    if support.landlock < 6 || !support.seccomp {
        println!("THIS KERNEL KEEPS PROCESSES APART ONLY IN PART: {:?}", support.missing());
        return Ok(());
    }
    let machine = Machine::new().await?;

    let printed = machine.tries("all", &json!({})).await?;

    docker::report("process-probe.txt", &printed)?;
    for works in ["reads the library", "has room for temporary files", "reaches the broker"] {
        assert!(printed.contains(&format!("\n{works}\n")), "not `{works}`: {printed}");
    }
    let (denied, allowed) = (those(&printed, "denied "), those(&printed, "ALLOWED "));
    assert!(allowed.is_empty() && denied.len() >= 90, "{} denied, {allowed:#?}", denied.len());
    let film = machine.home.library().join("film.txt");
    assert_eq!(std::fs::read_to_string(film)?, "film");
    assert!(!machine.home.data().join("scratch/plugin-probe-1").exists(), "temporary files stay");
    assert!(!machine.home.data().join("login").exists(), "the login stays");
    Ok(())
}

#[tokio::test]
async fn without_isolation_the_same_attempts_succeed() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let machine = Machine::new().await?;

    let printed = machine.tries("mild", &json!({"isolation": "off"})).await?;

    let allowed = those(&printed, "ALLOWED ");
    for what in [
        "write into the library",
        "a key of the person",
        "how to reach the fleet",
        "the passwords of the broker",
        "the environment of another program",
        "signals to the fleet",
        "another port of this machine",
        "listen",
        "UDP",
        "a socket of a service of this machine",
    ] {
        assert!(allowed.contains(&what), "`{what}` proves nothing: {printed}");
    }
    Ok(())
}

#[tokio::test]
async fn a_permission_that_is_not_granted_keeps_a_process_from_starting() -> anyhow::Result<()> {
    let mut home = Home::new()?;
    home.write("a.txt", "a")?;
    let program = Path::new(env!("CARGO_BIN_EXE_odd-plugin"));
    home.add_plugin("odd", program, &["same"], &json!({}))?;
    let wants = json!({"permissions": ["network.http", "gpu.access"]});
    home.add_plugin("eager", program, &["same"], &wants)?;
    let library = home.file("");

    let plugins = docker::plugins_file(&home, &json!({"eager": {"permissions": ["gpu.access"]}}))?;
    let arguments = ["scan", &library, "--wait", &plugins[0], &plugins[1]];
    let done = home.run(&arguments).await?;

    done.says("plugin eager: it wants `network.http`, which plugins.yml does not grant it")?;
    assert!(!home.data().join("log/plugin-eager-1.log").exists(), "it was started");
    assert!(home.data().join("log/plugin-odd-1.log").exists(), "the other one was not");

    let granted = json!({"eager": {"permissions": ["gpu.access", "network.http"]}});
    docker::plugins_file(&home, &granted)?;
    home.run(&arguments).await?.ok()?;
    assert_eq!(home.calls("eager")?.len(), 1, "it has run");
    Ok(())
}
