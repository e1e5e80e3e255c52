//! What can go wrong with an engine and with containers, one after the other.
//!
//! Each fault happens to a fleet that is as it should be, and the fleet must become so again by
//! itself. How long that took is kept as a table in `target/tmp/docker-faults.md`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use integration_tests::cli::{Home, Look, Up};
use integration_tests::docker::proxy::Spoil;
use integration_tests::docker::{self, Docker, Proxy, add_odd, boxed, id, image, program};
use integration_tests::{heavy, within};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fleet;

/// Faults are spread over them, so that the pauses after failures stay short.
const INSTANCES: usize = 8;
const IMAGE: &str = "metafleet-test-faults:1";
/// A container that claims to be one of the fleet's.
const DOUBLE: &str = "metafleet-test-double";

struct Bench {
    docker: Docker,
    proxy: Proxy,
    home: Home,
    up: Up,
    look: Look,
    table: String,
    count: usize,
    foreign: Vec<(String, Value)>,
}

impl Bench {
    async fn start(docker: Docker) -> anyhow::Result<Self> {
        let home = boxed(Home::new()?);
        let proxy = Proxy::open(home.root())?;
        let mut home = home.with_var("DOCKER_HOST", proxy.address());
        home.write_many(40)?;
        let mut entry = add_odd(&mut home, "odd", &["same"]).await?;
        image(IMAGE, &program("odd-plugin")?, &["--workdir", "/work"]).await?;
        entry["image"] = json!(IMAGE);
        entry["instances"] = json!(INSTANCES);
        let mut foreign = Vec::new();
        let image = docker::probe_image().await?;
        for (name, labels) in [
            ("metafleet-test-plain", json!({})),
            // Another fleet's, and some that only look like ours.
            (
                "metafleet-test-other-fleet",
                json!({"metafleet.managed": "true", "metafleet.fleet-id": "dt-ffffffff",
                    "metafleet.plugin-id": "odd", "metafleet.instance": "plugin-odd-1",
                    "metafleet.config-hash": "1"}),
            ),
            ("metafleet-test-half", json!({"metafleet.instance": "plugin-odd-1"})),
        ] {
            let id = docker.foreign(name, &image, &labels).await?;
            foreign.push((id, Value::Null));
        }
        for (id, seen) in &mut foreign {
            *seen = state_of(&docker, id).await?;
        }
        let (up, look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
        let table = "| fault | converged after |\n|---|---|\n".to_owned();
        let bench = Self { docker, proxy, home, up, look, table, count: 0, foreign };
        bench.converged("the start").await?;
        Ok(bench)
    }

    /// The next instance's name.
    fn next(&self) -> String {
        format!("plugin-odd-{}", self.count % INSTANCES + 1)
    }

    async fn is_converged(&self) -> anyhow::Result<bool> {
        // Sixteen questions at once: the engine has other things to do as well.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for n in 1..=INSTANCES {
            let name = format!("plugin-odd-{n}");
            let Some(container) = self.docker.inspect(&name).await? else { return Ok(false) };
            let labels = &container["Config"]["Labels"];
            let networks = container["NetworkSettings"]["Networks"].as_object().context("none")?;
            let Some((network, endpoint)) = networks.iter().next() else { return Ok(false) };
            let (status, network) =
                self.docker.api.ask("GET", &format!("/networks/{network}"), None).await?;
            if status != 200
                || network["Id"] != endpoint["NetworkID"]
                || container["State"]["Status"] != "running"
                || labels["metafleet.instance"] != name.as_str()
            {
                return Ok(false);
            }
        }
        let ours = self.docker.containers().await?;
        let ours = ours.iter().filter(|container| container["Labels"][docker::LABEL] == "fleet");
        Ok(ours.count() == INSTANCES && self.proxy.is_spent())
    }

    async fn converged(&self, what: &str) -> anyhow::Result<()> {
        let limit = Duration::from_secs(120);
        let converged =
            within(limit, what, async || Ok(self.is_converged().await?.then_some(()))).await;
        converged.with_context(|| self.up.said())
    }

    /// Waits for the fleet to be as it should be, notes how long it took, and looks whether what
    /// is not ours was left alone.
    async fn row(&mut self, fault: &str, since: Instant) -> anyhow::Result<()> {
        self.converged(fault).await?;
        let seconds = since.elapsed().as_secs_f64();
        self.count += 1;
        writeln!(self.table, "| {fault} | {seconds:.1} s |")?;
        for (id, seen) in &self.foreign {
            let now = state_of(&self.docker, id).await?;
            anyhow::ensure!(now == *seen, "after {fault} a foreign container is otherwise: {now}");
        }
        Ok(())
    }

    /// Does this to a container of the fleet.
    async fn with_container(&mut self, fault: &str, path: &str) -> anyhow::Result<()> {
        let since = Instant::now();
        let name = self.next();
        if path.is_empty() {
            self.docker.api.delete(&format!("/containers/{name}?force=true")).await?;
        } else {
            self.docker.api.post(&format!("/containers/{name}/{path}"), None).await?;
        }
        self.row(fault, since).await
    }

    /// Spoils a call, and removes a container so that it is made.
    async fn with_call(
        &mut self,
        fault: &str,
        call: (&'static str, &'static str),
        spoil: Spoil,
        count: usize,
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        self.proxy.spoil(call.0, call.1, spoil, count);
        let name = self.next();
        self.docker.api.delete(&format!("/containers/{name}?force=true")).await?;
        self.row(fault, since).await
    }

    /// Spoils a call that is made when a container has to go: one with all our labels is there twice.
    async fn with_removal(
        &mut self,
        fault: &str,
        call: (&'static str, &'static str),
        spoil: Spoil,
        count: usize,
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        self.proxy.spoil(call.0, call.1, spoil, count);
        // One that is seen before it runs goes without being stopped, and there is nothing to spoil.
        for _ in 0..20 {
            self.add_double(call.1 == "/stop").await?;
            within(Duration::from_secs(120), "the double to go", async || {
                Ok(self.docker.inspect(DOUBLE).await?.is_none().then_some(()))
            })
            .await?;
            if self.proxy.is_spent() {
                break;
            }
        }
        self.row(fault, since).await
    }

    /// A container with the labels of one of the fleet's.
    async fn add_double(&self, runs: bool) -> anyhow::Result<()> {
        let container = self.docker.inspect(&self.next()).await?.context("it")?;
        let body = json!({"Image": "metafleet-test-probe:1", "Cmd": ["/", "1", "127.0.0.1"],
            "Labels": container["Config"]["Labels"], "HostConfig": {"NetworkMode": "none"}});
        let create = format!("/containers/create?name={DOUBLE}");
        let made = self.docker.api.post(&create, Some(&body)).await?;
        if runs {
            // The fleet may have been quicker, and have removed it.
            self.docker.api.ask("POST", &format!("/containers/{}/start", id(&made)), None).await?;
        }
        Ok(())
    }
}

/// What would show that somebody has touched it.
async fn state_of(docker: &Docker, id: &str) -> anyhow::Result<Value> {
    let container = docker.inspect(id).await?.context("a foreign container is gone")?;
    Ok(json!([
        container["Name"],
        container["State"]["Status"],
        container["State"]["StartedAt"],
        container["State"]["Pid"],
        container["RestartCount"]
    ]))
}

async fn of_containers(bench: &mut Bench) -> anyhow::Result<()> {
    for (fault, path) in [
        ("killed (SIGKILL)", "kill?signal=KILL"),
        ("asked to end (SIGTERM)", "kill?signal=TERM"),
        ("stopped", "stop?t=5"),
        ("paused", "pause"),
        ("renamed", "rename?name=metafleet-test-renamed"),
        ("started anew by hand", "restart?t=5"),
        ("removed", ""),
        ("aborted (SIGABRT)", "kill?signal=ABRT"),
    ] {
        bench.with_container(fault, path).await?;
    }
    let since = Instant::now();
    for n in 1..=INSTANCES {
        bench.docker.api.delete(&format!("/containers/plugin-odd-{n}?force=true")).await?;
    }
    bench.row("all removed at once", since).await?;
    let since = Instant::now();
    for n in 1..=INSTANCES {
        bench.docker.api.post(&format!("/containers/plugin-odd-{n}/pause"), None).await?;
    }
    bench.row("all paused at once", since).await?;
    let since = Instant::now();
    for (from, to) in [
        ("plugin-odd-1", "metafleet-test-x"),
        ("plugin-odd-2", "plugin-odd-1"),
        ("metafleet-test-x", "plugin-odd-2"),
    ] {
        bench.docker.api.post(&format!("/containers/{from}/rename?name={to}"), None).await?;
    }
    bench.row("two have changed names", since).await?;
    let since = Instant::now();
    let name = bench.next();
    // So that there is time to take it.
    bench.proxy.spoil("POST", "/containers/create", Spoil::Status(500), 3);
    bench.docker.api.delete(&format!("/containers/{name}?force=true")).await?;
    let taken = bench.docker.foreign(&name, "metafleet-test-probe:1", &json!({})).await?;
    let before = state_of(&bench.docker, &taken).await?;
    bench.up.says("a container that is not this fleet's has its name").await?;
    assert_eq!(state_of(&bench.docker, &taken).await?, before, "it was touched");
    bench.docker.api.delete(&format!("/containers/{taken}?force=true")).await?;
    bench.row("name taken by a foreign container until it goes", since).await?;
    let since = Instant::now();
    bench.add_double(true).await?;
    bench.row("a second container with the labels of one of ours", since).await
}

async fn of_networks_and_images(bench: &mut Bench) -> anyhow::Result<()> {
    let network = bench.docker.networks().await?.first().map(id).context("a network")?;
    let disconnect = format!("/networks/{network}/disconnect");
    let since = Instant::now();
    let body = json!({"Container": bench.next(), "Force": true});
    bench.docker.api.post(&disconnect, Some(&body)).await?;
    bench.row("taken out of its network", since).await?;
    let since = Instant::now();
    for n in 1..=INSTANCES {
        let body = json!({"Container": format!("plugin-odd-{n}"), "Force": true});
        // One that was put right meanwhile keeps the network, which is then not removed.
        bench.docker.api.ask("POST", &disconnect, Some(&body)).await?;
    }
    bench.docker.api.ask("DELETE", &format!("/networks/{network}"), None).await?;
    bench.row("network removed", since).await?;
    let since = Instant::now();
    bench.docker.api.delete(&format!("/images/{IMAGE}?force=true")).await?;
    let name = bench.next();
    bench.docker.api.post(&format!("/containers/{name}/kill"), None).await?;
    bench.row("image removed, and a container killed", since).await?;
    let since = Instant::now();
    let before =
        bench.docker.inspect("plugin-odd-1").await?.map(|container| container["Image"].clone());
    image(
        IMAGE,
        &program("odd-plugin")?,
        &["--workdir", "/work", "--permissions", "filesystem.write"],
    )
    .await?;
    within(Duration::from_secs(120), "the new image to be used", async || {
        let now =
            bench.docker.inspect("plugin-odd-1").await?.map(|container| container["Image"].clone());
        Ok((now.is_some() && now != before).then_some(()))
    })
    .await?;
    bench.row("another image under the same name", since).await
}

async fn of_the_engine(bench: &mut Bench) -> anyhow::Result<()> {
    use Spoil::{Close, Garbage, Status, Unheard};
    let create = ("POST", "/containers/create");
    let start = ("POST", "/start");
    let list = ("GET", "/containers/json");
    let inspect = ("GET", "/json");
    let image = ("GET", "/images/");
    let network = ("GET", "/networks/");
    for (fault, call, spoil, count) in [
        ("making a container: 500", create, Status(500), 1),
        ("making a container: 500 three times", create, Status(500), 3),
        ("making a container: 404", create, Status(404), 1),
        ("making a container: 409", create, Status(409), 1),
        ("making a container: the connection breaks", create, Close, 1),
        ("making a container: done, but the answer is lost", create, Unheard, 1),
        ("starting: 500", start, Status(500), 1),
        ("starting: 404", start, Status(404), 1),
        ("starting: 409", start, Status(409), 1),
        ("starting: the connection breaks", start, Close, 1),
        ("starting: done, but the answer is lost", start, Unheard, 1),
        ("listing: 500", list, Status(500), 2),
        ("listing: no JSON", list, Garbage, 1),
        ("listing: the connection breaks", list, Close, 2),
        ("looking at a container: 500", inspect, Status(500), 2),
        ("looking at a container: 404", inspect, Status(404), 1),
        ("looking at the image: 500", image, Status(500), 1),
        ("looking at the image: 404", image, Status(404), 1),
        ("looking at the network: 500", network, Status(500), 1),
        ("looking at the network: the connection breaks", network, Close, 1),
    ] {
        bench.with_call(fault, call, spoil, count).await?;
    }
    for (fault, call, spoil, count) in [
        ("stopping: 500", ("POST", "/stop"), Status(500), 1),
        ("stopping: done, but the answer is lost", ("POST", "/stop"), Unheard, 1),
        ("removing: 500", ("DELETE", "/containers/"), Status(500), 2),
        ("removing: 409", ("DELETE", "/containers/"), Status(409), 1),
        ("removing: done, but the answer is lost", ("DELETE", "/containers/"), Unheard, 1),
    ] {
        bench.with_removal(fault, call, spoil, count).await?;
    }
    let since = Instant::now();
    bench.proxy.go_away().await;
    let name = bench.next();
    bench.docker.api.post(&format!("/containers/{name}/kill"), None).await?;
    bench.up.says("the Docker engine does not answer").await?;
    bench.proxy.come_back()?;
    bench.row("engine away, and a container killed meanwhile", since).await?;
    for _ in 0..2 {
        let since = Instant::now();
        bench.proxy.go_away().await;
        bench.proxy.come_back()?;
        let name = bench.next();
        bench.docker.api.delete(&format!("/containers/{name}?force=true")).await?;
        bench.row("all connections to the engine break, and a container is removed", since).await?;
    }
    Ok(())
}

#[tokio::test]
async fn whatever_happens_the_fleet_becomes_what_it_should_be_and_touches_nothing_else()
-> anyhow::Result<()> {
    let Some(docker) = Docker::get("faults").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut bench = Bench::start(docker).await?;

    of_containers(&mut bench).await?;
    of_networks_and_images(&mut bench).await?;
    of_the_engine(&mut bench).await?;

    bench.look.settled().await?;
    assert_eq!(bench.look.records().await?.len(), 40, "every file has its record");
    let Bench { docker, up, table, count, foreign, home, .. } = bench;
    docker::report("docker-faults.md", &format!("{table}\n{count} faults\n"))?;
    assert!(count >= 40, "{count}");
    up.stop().await?;
    for (id, seen) in &foreign {
        assert_eq!(state_of(&docker, id).await?, *seen);
        docker.api.delete(&format!("/containers/{id}?force=true")).await?;
    }
    drop(home);
    docker.nothing_is_left().await
}
