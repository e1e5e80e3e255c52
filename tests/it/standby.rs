//! Two coordinators as processes: one leads, the other waits for it to be killed or stopped, and answers meanwhile.

use std::collections::BTreeMap;

use broker_config::wire::event::Fact;
use coordinator::lease::TTL;
use integration_tests::api::Api;
use integration_tests::cli::{Home, Up};
use integration_tests::{Call, Fleet, Running, Script, eventually, heavy, manifest};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use worker_sdk::Failure;

/// Files in each of these tests.
const FILES: usize = 12;

/// Two plugins, one after the other, on a broker that two coordinators share.
struct Pair {
    fleet: Fleet,
    leads: (Home, Up),
    waits: (Home, Up),
    script: Script,
    gate: CancellationToken,
    _workers: Vec<Running>,
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let fleet = Fleet::empty().await?;
        let leads = coordinator(&fleet)?;
        leading(&fleet, 1).await?;
        let waits = coordinator(&fleet)?;
        waits.1.says("the API is at").await?;
        let gate = CancellationToken::new();
        let script = script(&gate);
        let probe = manifest("probe", &json!({}))?;
        let next = manifest("next", &json!({ "dependencies": ["probe"] }))?;
        let workers =
            vec![fleet.worker(&probe, &script).await?, fleet.worker(&next, &script).await?];
        Ok(Self { fleet, leads, waits, script, gate, _workers: workers })
    }

    /// Hands in files, ends or stops the leader in the middle of them, and lets the work go on; all
    /// of it is settled by the other one, once each.
    async fn hand_over(&self, signal: Signal) -> anyhow::Result<()> {
        let mut runs = self.fleet.submit_many("film", FILES).await?;
        runs.push(self.fleet.submit("fails").await?);
        self.script.begun(4).await?;

        self.leads.1.signal(signal)?;
        let (gone, _) = (Instant::now(), self.gate.cancel());
        leading(&self.fleet, 2).await?;
        println!("another coordinator led {:?} after {signal:?}", gone.elapsed());

        for run in runs {
            let settled = self.fleet.settled(run).await?;
            assert_eq!(settled.plugins.len(), 2, "{settled:?}");
        }
        self.fleet.quiet().await?;
        self.all_done_once().await
    }

    async fn all_done_once(&self) -> anyhow::Result<()> {
        let mut begun: BTreeMap<(String, String), usize> = BTreeMap::new();
        for call in self.script.calls() {
            *begun.entry((call.plugin.to_string(), call.cid)).or_default() += 1;
        }
        assert_eq!(begun.len(), 2 * (FILES + 1), "{:?}", self.script);
        assert!(begun.values().all(|times| *times == 1), "{:?}", self.script);
        assert_eq!(self.fleet.dead_letters().await?.len(), 1);
        let facts = self.fleet.facts().await?;
        let settled = facts.iter().filter(|fact| matches!(fact, Fact::FileSettled { .. })).count();
        assert_eq!(settled, FILES + 1);
        Ok(())
    }
}

/// `probe` waits for the gate and fails on one file; whatever else completes at once.
fn script(gate: &CancellationToken) -> Script {
    let gate = gate.clone();
    Script::new(move |call: Call| {
        let gate = gate.clone();
        async move {
            if call.plugin.as_str() == "probe" {
                gate.cancelled().await;
                if call.cid == "fails" {
                    return Err(Failure::permanent("broken"));
                }
            }
            Ok(call.done())
        }
    })
}

fn coordinator(fleet: &Fleet) -> anyhow::Result<(Home, Up)> {
    let home = Home::new()?.with_var("METAFLEET_LOG", "info");
    // No plugins but those of the test.
    let plugins = home.root().join("plugins");
    std::fs::create_dir_all(&plugins)?;
    let (server, plugins) = (fleet.server.url(), plugins.to_string_lossy());
    let up = Up::start(&home, &["coordinator", "--nats", &server, "--plugin-dir", &plugins])?;
    Ok((home, up))
}

/// Waits until a leader of this epoch has said that it leads; returns which node it is.
async fn leading(fleet: &Fleet, wanted: u64) -> anyhow::Result<String> {
    fleet
        .fact("a leader", |fact| match fact {
            Fact::CoordinatorLeading { holder, epoch } if *epoch == wanted => Some(holder.clone()),
            _ => None,
        })
        .await
}

/// All that a leader writes, as it stands: the last sequence of each stream, and the consumers of tasks
/// and submissions. Signs of life and the renewals of the lease go on.
async fn written(fleet: &Fleet) -> anyhow::Result<BTreeMap<String, (u64, Vec<String>)>> {
    use futures_util::StreamExt as _;

    let names = &fleet.names;
    let goes_on = [names.instances_bucket(), names.lease_bucket()];
    let goes_on = goes_on.map(|bucket| broker_config::Names::bucket_stream(&bucket));
    let mut written = BTreeMap::new();
    for stream in fleet.all_streams().await? {
        if goes_on.contains(&stream) {
            continue;
        }
        let mut consumers = Vec::new();
        if [names.task_stream(), names.submit_stream()].contains(&stream) {
            let handle = fleet.js.get_stream(&stream).await?;
            let mut found = handle.consumer_names();
            while let Some(name) = found.next().await {
                consumers.push(name?);
            }
            consumers.sort();
        }
        written.insert(stream.clone(), (fleet.state(&stream).await?.1, consumers));
    }
    Ok(written)
}

#[tokio::test]
async fn open_files_go_on_under_another_coordinator_when_the_leader_is_killed() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    let pair = Pair::start().await?;

    pair.hand_over(Signal::KILL).await
}

#[tokio::test]
async fn a_leader_that_was_stopped_beyond_its_lease_writes_nothing_when_it_goes_on()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let pair = Pair::start().await?;
    pair.hand_over(Signal::STOP).await?;
    // Both are told of a plugin; the one that is stopped hears of it when it goes on.
    let another = json!({ "filter": {"extensions": ["none"]} });
    pair.fleet.announce(&manifest("another", &another)?).await?;
    pair.fleet
        .fact("another plugin", |fact| match fact {
            Fact::PluginRegistered { plugin_id, .. } if plugin_id.as_str() == "another" => Some(()),
            _ => None,
        })
        .await?;
    let before = eventually("nothing more to be written", async || {
        let before = written(&pair.fleet).await?;
        sleep(Duration::from_millis(300)).await;
        Ok((written(&pair.fleet).await? == before).then_some(before))
    })
    .await?;

    pair.leads.1.signal(Signal::CONT)?;
    pair.leads.1.says("leadership lost").await?;
    // For as long as it might have led.
    sleep(TTL).await;

    assert_eq!(written(&pair.fleet).await?, before, "{}", pair.leads.1.said());
    pair.all_done_once().await?;
    // It is of use again: the other one goes, and it leads.
    pair.waits.1.signal(Signal::KILL)?;
    leading(&pair.fleet, 3).await?;
    let settled = pair.fleet.run("one-more").await?;
    assert_eq!(settled.tasks.completed, 2, "{settled:?}");
    Ok(())
}

#[tokio::test]
async fn a_coordinator_that_waits_answers_what_is_read() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let pair = Pair::start().await?;
    pair.gate.cancel();
    assert_eq!(pair.fleet.run("film").await?.tasks.completed, 2);
    let holder = leading(&pair.fleet, 1).await?;
    let (leads, waits) = (&pair.leads.0, &pair.waits.0);

    let asked = (Api::of(leads)?, Api::of(waits)?);
    let document = asked.1.get("/api/openapi.json").await?;
    let mut routes = 0;
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        // Instances are processes of the fleet that is asked; these fleets have none.
        if methods.get("get").is_none() || path.contains("{instance}") {
            continue;
        }
        let path = path.replace("{id}", "probe");
        let answer = asked.1.send("GET", &path, "").await?;
        assert_eq!(answer.status, 200, "{path}");
        routes += 1;
    }
    assert!(routes >= 4, "{routes} routes were asked");
    let plugins = |list: &Value| -> Vec<Value> {
        let all = list["plugins"].as_array().cloned().unwrap_or_default();
        all.iter().map(|plugin| json!([plugin["id"], plugin["version"]])).collect()
    };
    let (by_leader, by_other) =
        (asked.0.get("/api/plugins").await?, asked.1.get("/api/plugins").await?);
    assert_eq!(plugins(&by_leader), plugins(&by_other));
    assert_eq!(plugins(&by_other).len(), 2, "{by_other}");

    let status: Value = waits.json(&["status"]).await?;
    assert_eq!(status["coordinator"], holder, "{status}");
    let found = timeout(Duration::from_secs(60), waits.run(&["meta", "get", "film"])).await??;
    assert!(found.ok()?.out.contains("next/done"));
    Ok(())
}
