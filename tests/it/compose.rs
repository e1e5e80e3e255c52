//! `deploy/compose.yaml` on a real engine: images built here, the demo library, the same metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use integration_tests::cli::{Done, Home, staged};
use integration_tests::docker::is_allowed;
use integration_tests::{heavy, within};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// For questions that are answered at once.
const QUICK: Duration = Duration::from_secs(60);
/// For building all images, which may begin with making a Debian.
const BUILD: Duration = Duration::from_secs(600);
/// For starting or stopping all containers.
const CONTAINERS: Duration = Duration::from_secs(240);
/// Build.py ends so when the machine lacks something that it needs.
const MISSING: i32 = 3;

/// One project of its own; taken down with everything in it when dropped, also after a failure.
struct Project {
    name: String,
    /// `docker compose` or `docker-compose`.
    tool: Vec<String>,
    home: Home,
    state: TempDir,
}

/// A command to its end, or to its limit.
async fn run(mut command: Command, limit: Duration) -> anyhow::Result<Done> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let what = format!("{:?}", command.as_std());
    let output = timeout(limit, command.output());
    let output = output.await.with_context(|| format!("{what} takes too long"))??;
    Ok(Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn docker(arguments: &[&str]) -> anyhow::Result<Done> {
    let mut command = Command::new("docker");
    command.args(arguments);
    run(command, QUICK).await
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// The compose tool of this machine, or why none can be used.
async fn tool() -> Result<Vec<String>, String> {
    if !is_allowed() {
        return Err("METAFLEET_TEST_DOCKER=0 forbids it".to_owned());
    }
    match docker(&["version", "--format", "{{.Server.Version}}"]).await {
        Ok(done) if done.code == Some(0) => {}
        _ => return Err("no Docker engine answers".to_owned()),
    }
    for words in [vec!["docker", "compose"], vec!["docker-compose"]] {
        let Some((program, rest)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(rest).arg("version");
        if run(command, QUICK).await.is_ok_and(|done| done.code == Some(0)) {
            return Ok(words.into_iter().map(str::to_owned).collect());
        }
    }
    Err("neither `docker compose` nor `docker-compose` is installed".to_owned())
}

/// Tells the run of all tests that one ran, or that it has shown nothing.
fn note(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("compose-tests");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{line}")?)
}

fn skip(test: &str, why: &str) -> anyhow::Result<()> {
    println!("*** NOT RUN: {test}: {why} ***");
    note(&format!("skipped {test}: {why}"))
}

impl Project {
    /// Builds the images under names of the test's own and prepares keys; `Err` inside: what this
    /// machine lacks.
    async fn prepare(tool: Vec<String>) -> anyhow::Result<Result<Self, String>> {
        let name = format!("metafleet-test-{:08x}", fastrand::u32(..));
        let home = Home::with_demo_library().await?;
        let project = Self { name, tool, home, state: TempDir::new()? };
        let mut build = Command::new("python3");
        build.arg(deploy("images/build.py")).args(["--repository", &project.name, "--stage"]);
        build.arg(staged("bin")?.join(".."));
        let built = run(build, BUILD).await?;
        if built.code == Some(MISSING) {
            return Ok(Err(built.err));
        }
        print!("{}", built.ok()?.err);
        let mut setup = Command::new("python3");
        setup.arg(deploy("setup.py")).arg("--state").arg(project.state.path().join("state"));
        setup.arg("--env").arg(project.env_file()).arg("--library").arg(project.home.library());
        setup.args(["--nats-image", &format!("{}/nats:2.15.1", project.name)]);
        run(setup, QUICK).await?.ok()?;
        Ok(Ok(project))
    }

    fn env_file(&self) -> PathBuf {
        self.state.path().join("env")
    }

    /// The words before those of a compose command.
    fn words(&self) -> Vec<String> {
        let file = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut words = self.tool.clone();
        words.extend(["-p".to_owned(), self.name.clone()]);
        words.extend(["--env-file".to_owned(), file(self.env_file())]);
        words.extend(["-f".to_owned(), file(deploy("compose.yaml"))]);
        words
    }

    async fn compose(&self, arguments: &[&str]) -> anyhow::Result<Done> {
        let words = self.words();
        let (program, rest) = words.split_first().context("a tool")?;
        let mut command = Command::new(program);
        command.args(rest).args(arguments).env("METAFLEET_IMAGES", &self.name);
        run(command, CONTAINERS).await
    }

    /// The container of a service that has one.
    async fn container(&self, service: &str) -> anyhow::Result<String> {
        let listed = self.compose(&["ps", "-q", service]).await?.ok()?;
        Ok(listed.out.lines().next().context("a container")?.trim().to_owned())
    }

    /// All its containers, as the engine describes them, by name of the service.
    async fn inspect(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let listed = docker(&["ps", "--all", "--quiet", "--filter", &filter]).await?.ok()?;
        let mut arguments = vec!["inspect"];
        arguments.extend(listed.out.lines());
        let described: Vec<Value> = docker(&arguments).await?.ok()?.json()?;
        let service = |value: &Value| {
            let name = value["Config"]["Labels"]["com.docker.compose.service"].as_str()?;
            Some((name.to_owned(), value.clone()))
        };
        Ok(described.iter().filter_map(service).collect())
    }

    /// What the program in the coordinator's container prints as JSON.
    async fn metafleet(&self, coordinator: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let words = ["exec", coordinator, "metafleet", "--output", "json"];
        docker(&[&words, arguments].concat()).await?.ok()?.json()
    }

    async fn ready(&self, coordinator: &str, plugins: usize) -> anyhow::Result<()> {
        within(Duration::from_secs(120), "every plugin to be ready", async || {
            let status = self.metafleet(coordinator, &["status"]).await?;
            let listed = status["plugins"].as_array().context("plugins")?;
            let ready = listed.iter().filter(|plugin| plugin["ready"].as_u64() > Some(0)).count();
            Ok((ready == plugins && status["coordinator"].is_string()).then_some(()))
        })
        .await
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // `timeout` ends what hangs: nothing may keep the other tests waiting.
        let quietly = |words: &[String]| {
            let mut command = std::process::Command::new("timeout");
            command.arg("120").args(words).env("METAFLEET_IMAGES", &self.name);
            command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let to_words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        if self.env_file().exists() {
            let mut down = self.words();
            down.extend(["down", "-v", "--remove-orphans", "-t", "10"].map(str::to_owned));
            quietly(&down).ok();
        }
        let filter = format!("{}/*", self.name);
        let list: Vec<String> = to_words(&["docker", "images", "-q", &filter]);
        if let Ok(images) = quietly(&list)
            && !images.trim().is_empty()
        {
            let mut remove: Vec<String> = to_words(&["docker", "rmi", "-f"]);
            remove.extend(images.split_whitespace().map(str::to_owned));
            quietly(&remove).ok();
        }
    }
}

/// Everything that a container has given up.
fn check_hardening(service: &str, container: &Value) -> anyhow::Result<()> {
    let host = &container["HostConfig"];
    let user = container["Config"]["User"].as_str().unwrap_or_default();
    ensure!(!user.is_empty() && !user.starts_with("0:"), "{service} runs as `{user}`");
    ensure!(host["ReadonlyRootfs"] == true, "{service}: its root can be written");
    ensure!(host["CapDrop"] == serde_json::json!(["ALL"]), "{service}: {}", host["CapDrop"]);
    ensure!(host["CapAdd"].as_array().is_none_or(Vec::is_empty), "{service}: {}", host["CapAdd"]);
    let privileges = host["SecurityOpt"].to_string();
    ensure!(privileges.contains("no-new-privileges"), "{service}: {privileges}");
    ensure!(
        host["Memory"].as_u64() > Some(0) && host["PidsLimit"].as_u64() > Some(0),
        "{service}: {host}"
    );
    ensure!(
        host["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty),
        "{service}: {host}"
    );
    let mounts = container["Mounts"].as_array().context("mounts")?;
    for mount in mounts {
        let is_data = mount["Destination"] == "/data";
        ensure!(is_data || mount["RW"] == false, "{service} may write {mount}");
    }
    Ok(())
}

#[tokio::test]
async fn the_compose_file_finds_in_the_demo_library_what_processes_find() -> anyhow::Result<()> {
    const NAME: &str = "the demo library by compose";
    let _place = heavy().await?;
    let tool = match tool().await {
        Ok(tool) => tool,
        Err(why) => return skip(NAME, &why),
    };
    let project = match Project::prepare(tool).await? {
        Ok(project) => project,
        Err(missing) => return skip(NAME, missing.trim()),
    };
    note(&format!("ran {NAME}"))?;
    let home = &project.home;

    project.compose(&["up", "-d"]).await?.ok()?;
    let coordinator = project.container("coordinator").await?;
    project.ready(&coordinator, 10).await?;
    // One video is broken, as in a scan by processes.
    project.compose(&["run", "--rm", "-T", "scan"]).await?.ended(6)?;

    let (code, summary) = home.scan(&[]).await?;
    ensure!(code == 6 && summary["settled"] == 26, "{summary}");
    let files: Vec<Value> = home.json(&["file", "list"]).await?;
    ensure!(files.len() == 26, "{files:?}");
    let mut keys = 0;
    for file in &files {
        let path = file["path"].as_str().context("a path")?;
        let by_processes: BTreeMap<String, Value> = home.json(&["meta", "get", path]).await?;
        let by_containers = project.metafleet(&coordinator, &["meta", "get", path]).await?;
        let by_containers: BTreeMap<String, Value> = serde_json::from_value(by_containers)?;
        assert_eq!(by_containers, by_processes, "{path}");
        keys += by_processes.len();
    }
    println!("{keys} keys of {} files are the same", files.len());
    ensure!(keys > 400, "only {keys} keys were compared");

    let film = home.file("Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019).mkv");
    let get = ["run", "--rm", "-T", "cli", "meta", "get", &film, "--key", "title"];
    let title = project.compose(&get).await?.ok()?;
    assert_eq!(title.out.trim(), "The Quiet Harbour");

    project.compose(&["up", "-d", "--scale", "ffmpeg=2"]).await?.ok()?;
    within(CONTAINERS, "two instances of ffmpeg", async || {
        let shown = project.metafleet(&coordinator, &["status"]).await?;
        let plugins = shown["plugins"].as_array().context("plugins")?;
        let two = |plugin: &&Value| plugin["id"] == "ffmpeg" && plugin["ready"] == 2;
        Ok(plugins.iter().find(two).map(|_| ()))
    })
    .await?;

    let running = project.inspect().await?;
    assert_eq!(running.len(), 12, "{:?}", running.keys());
    for (service, container) in &running {
        check_hardening(service, container)?;
    }

    // SIGTERM drains: nothing is killed for being slow, nothing ends with an error.
    project.compose(&["stop"]).await?.ok()?;
    for (service, container) in project.inspect().await? {
        assert_eq!(container["State"]["ExitCode"], 0, "{service}: {}", container["State"]);
    }
    Ok(())
}
