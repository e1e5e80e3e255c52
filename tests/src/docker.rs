//! Plugins in containers of a real engine, and the engine as tests need to disturb it.
//!
//! Names of containers are the engine's, so these tests run one after the other. What they make
//! carries a label and a prefix, by which what a killed run has left is removed first.

pub mod api;
pub mod proxy;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub use api::Api;
pub use proxy::Proxy;

use crate::cli::Home;

/// One test at a time.
static TURN: Mutex<()> = Mutex::const_new(());
/// The prefix of all fleets of these tests.
pub const PREFIX: &str = "dt";
/// The label of all containers of these tests.
pub const LABEL: &str = "test.metafleet";

/// An engine that answers, for one test.
#[derive(Debug)]
pub struct Docker {
    /// Talks to it.
    pub api: Api,
    _turn: MutexGuard<'static, ()>,
}

impl Docker {
    /// The engine; `None` where none answers or [`is_allowed`] says no, which is told and counted.
    #[expect(clippy::print_stdout, reason = "it is shown where output is not captured")]
    pub async fn get(test: &str) -> anyhow::Result<Option<Self>> {
        let turn = TURN.lock().await;
        let api = Api::new("/var/run/docker.sock");
        let answers = is_allowed() && api.get("/_ping").await.is_ok();
        note(if answers { "ran" } else { "skipped" }, test)?;
        if !answers {
            println!("NO DOCKER ENGINE ANSWERS: {test} has shown nothing");
            return Ok(None);
        }
        let docker = Self { api, _turn: turn };
        docker.clean().await?;
        Ok(Some(docker))
    }

    /// Removes what tests have made.
    pub async fn clean(&self) -> anyhow::Result<()> {
        for container in self.containers().await? {
            self.api.delete(&format!("/containers/{}?force=true&v=true", id(&container))).await?;
        }
        for network in self.networks().await? {
            self.api.delete(&format!("/networks/{}", id(&network))).await?;
        }
        let rules = rules().await;
        for rule in rules.lines().filter(|rule| rule.contains("metafleet:dt-")) {
            let rule = rule.strip_prefix("-A ").context("a rule")?.replace('"', "");
            let words = rule.split_whitespace();
            let mut remove = Command::new("iptables");
            let done = remove.args(["-w", "5", "-D"]).args(words).status().await?;
            anyhow::ensure!(done.success(), "the rule stays: {rule}");
        }
        Ok(())
    }

    /// All containers of tests, ours and others.
    pub async fn containers(&self) -> anyhow::Result<Vec<Value>> {
        let all = self.api.get("/containers/json?all=true").await?;
        let all = all.as_array().context("a list")?;
        let of_test = |container: &&Value| {
            let fleet = container["Labels"]["metafleet.fleet-id"].as_str().unwrap_or_default();
            container["Labels"][LABEL].is_string() || fleet.starts_with("dt-")
        };
        Ok(all.iter().filter(of_test).cloned().collect())
    }

    /// All networks of tests.
    pub async fn networks(&self) -> anyhow::Result<Vec<Value>> {
        let all = self.api.get("/networks").await?;
        let all = all.as_array().context("a list")?;
        let of_test = |network: &&Value| {
            let name = network["Name"].as_str().unwrap_or_default();
            name.starts_with("metafleet-dt-")
        };
        Ok(all.iter().filter(of_test).cloned().collect())
    }

    /// The container called so, in full; `None` when there is none.
    pub async fn inspect(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let (status, body) = self.api.ask("GET", &format!("/containers/{name}/json"), None).await?;
        Ok((status == 200).then_some(body))
    }

    /// All that a container has printed.
    pub async fn printed(&self, name: &str) -> anyhow::Result<String> {
        self.api.logs(name).await
    }

    /// Makes and starts a container that is not MetaFleet's; returns its identity.
    pub async fn foreign(&self, name: &str, image: &str, labels: &Value) -> anyhow::Result<String> {
        let mut all = json!({LABEL: "foreign"});
        for (name, value) in labels.as_object().context("labels")? {
            all[name] = value.clone();
        }
        let body = json!({"Image": image, "Labels": all, "Cmd": ["/", "1", "127.0.0.1"],
            "HostConfig": {"NetworkMode": "none"}});
        let made = self.api.post(&format!("/containers/create?name={name}"), Some(&body)).await?;
        let id = made["Id"].as_str().context("an id")?.to_owned();
        self.api.post(&format!("/containers/{id}/start"), None).await?;
        Ok(id)
    }

    /// Nothing of a fleet is left on the engine or in the firewall.
    pub async fn nothing_is_left(&self) -> anyhow::Result<()> {
        let is_ours = |container: &&Value| container["Labels"]["metafleet.managed"] == "true";
        let containers = self.containers().await?;
        let left: Vec<&Value> = containers.iter().filter(is_ours).map(|c| &c["Names"]).collect();
        anyhow::ensure!(left.is_empty(), "containers are left: {left:?}");
        let networks = self.networks().await?;
        anyhow::ensure!(networks.is_empty(), "networks are left: {networks:?}");
        let left = rules().await.contains("metafleet:dt-");
        anyhow::ensure!(!left, "rules of the firewall are left");
        Ok(())
    }
}

/// The rules of the firewall; none where it cannot be asked.
async fn rules() -> String {
    let listed = Command::new("iptables").args(["-w", "5", "-S"]).output().await;
    listed.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default()
}

/// The identity of a container or network.
#[must_use]
pub fn id(of: &Value) -> String {
    of["Id"].as_str().unwrap_or_default().to_owned()
}

/// Whether tests may use the machine's Docker engine, unless `METAFLEET_TEST_DOCKER=0` forbids it.
/// They make containers, networks and rules of the firewall, all named as theirs, and remove them.
#[must_use]
pub fn is_allowed() -> bool {
    std::env::var_os("METAFLEET_TEST_DOCKER").is_none_or(|said| said != "0")
}

/// Ends a test for which the machine lacks something; the suite tells it loudly.
pub fn nothing_shown(test: &str, why: &str) -> anyhow::Result<()> {
    note("skipped", &format!("{test} ({why})"))
}

/// The suite reads how many ran and how many showed nothing.
fn note(how: &str, test: &str) -> anyhow::Result<()> {
    let path = root()?.join("target/tmp/docker-tests");
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{how} {test}")?)
}

/// Keeps a report beside the build, for people.
#[expect(clippy::print_stdout, reason = "it is shown when a test fails")]
pub fn report(name: &str, text: &str) -> anyhow::Result<()> {
    println!("{text}");
    Ok(std::fs::write(root()?.join("target/tmp").join(name), text)?)
}

fn root() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?.to_owned())
}

/// Makes an image from a program; more arguments as `deploy/docker/plugin_image.py` has them.
pub async fn image(name: &str, program: &Path, more: &[&str]) -> anyhow::Result<String> {
    let script = root()?.join("deploy/docker/plugin_image.py");
    let done =
        Command::new("python3").arg(script).arg(name).arg(program).args(more).output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "make the image {name}: {said}");
    Ok(name.to_owned())
}

/// A program of this build.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(root()?.join("target/debug").join(name))
}

/// The image of the plugin that behaves as it is told, made once.
pub async fn odd_image() -> anyhow::Result<String> {
    static MADE: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        image("metafleet-test-odd:1", &program("odd-plugin")?, &["--workdir", "/work"]).await
    };
    MADE.get_or_try_init(make).await.cloned()
}

/// The image of the plugin that means harm, made once.
pub async fn probe_image() -> anyhow::Result<String> {
    static MADE: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        let binary = root()?.join("target/tmp/docker-probe");
        std::fs::create_dir_all(binary.parent().context("a folder")?)?;
        let source = root()?.join("tests/docker/probe.c");
        let mut cc = Command::new("cc");
        let done = cc.args(["-O1", "-static", "-o"]).arg(&binary).arg(source).output().await?;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "compile the probe: {said}");
        image("metafleet-test-probe:1", &binary, &[]).await
    };
    MADE.get_or_try_init(make).await.cloned()
}

/// A home whose fleet can run containers.
pub fn boxed(home: Home) -> Home {
    home.with_var("METAFLEET_PREFIX", PREFIX)
}

/// Writes `plugins.yml`; returns the arguments that name it.
pub fn plugins_file(home: &Home, plugins: &Value) -> anyhow::Result<Vec<String>> {
    let path = home.root().join("plugins.yml");
    std::fs::write(&path, json!({"plugins": plugins}).to_string())?;
    Ok(vec!["--plugins".to_owned(), path.to_string_lossy().into_owned()])
}

/// Makes the plugin `id` that runs in containers and notes its calls in its folder; returns its
/// entry of `plugins.yml`.
pub async fn add_odd(home: &mut Home, id: &str, behaviour: &[&str]) -> anyhow::Result<Value> {
    use std::os::unix::fs::PermissionsExt as _;
    let wants = json!({"permissions": ["filesystem.write"]});
    home.add_plugin(id, &program("odd-plugin")?, behaviour, &wants)?;
    let dir = home.plugin_dir(id, "1.0.0");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777))?;
    Ok(json!({
        "image": odd_image().await?, "command": behaviour,
        "permissions": ["filesystem.write"], "labels": {LABEL: "fleet"},
        "mounts": [format!("{}:/work:rw", dir.display())],
        "resources": {"memory": "256m", "cpus": 1},
    }))
}
