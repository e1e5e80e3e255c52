//! Two versions of a plugin in Python at once, and a worker in Python that serves a route.

use anyhow::Context as _;
use broker_config::wire::event::Outcome;
use broker_config::wire::instance::InstanceState;
use broker_config::{Filter, Lane};
use coordinator::registry::{PluginPolicy, Word};
use coordinator::route::{Route, When};
use coordinator::store::Store;
use coordinator::store::versions::KnownVersions;
use coordinator::transition::state::{Asked, Moment};
use coordinator::transition::{How, Plan, Versions};
use integration_tests::{Fleet, eventually};
use serde_json::json;

use super::python::{Home, Python};

#[tokio::test]
async fn a_worker_in_python_is_tried_in_a_lane_of_its_own_and_then_takes_over() -> anyhow::Result<()>
{
    let (fleet, _lead) = Fleet::start().await?;
    let (home, plugin) = (Home::new()?, "script".parse()?);
    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
    let _old = Python::scripted(&fleet, &home, "old", &json!({})).await?;
    let now = Moment { ms: 0, text: "2026-01-01T00:00:00Z".to_owned() };
    let plan = Plan { how: How::BlueGreen, ..Plan::default() };
    let versions = Versions::new("2.1.0".parse()?).begin("2.2.0".parse()?, &plan, &now);
    let versions = versions.map_err(anyhow::Error::msg)?;
    store.put_versions(&plugin, &KnownVersions { versions, revision: 0 }).await?;
    let _new = Python::scripted(&fleet, &home, "new", &json!({"version": "2.2.0"})).await?;

    let run = home.hand_in(&fleet, "x", "x", "complete").await?;
    assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Completed));
    let trial =
        eventually("the trial", async || Ok(store.trials(&plugin).await?.remove(&"x".parse()?)))
            .await?;
    assert_eq!(trial.plugin_version, "2.2.0");
    assert_eq!(fleet.recorded("x", "script").await?.plugin_version, "2.1.0");

    let mut known = store.versions().await?.remove(&plugin).context("versions")?;
    known.versions.transition.as_mut().context("a transition")?.asked = Some(Asked::Switch);
    store.put_versions(&plugin, &known).await?;
    eventually("the switch", async || {
        let entry = store.plugin(&plugin).await?.context("an entry")?.entry;
        Ok((entry.manifest.version.to_string() == "2.2.0").then_some(()))
    })
    .await?;

    // From the main lane now.
    let run = home.hand_in(&fleet, "y", "y", "complete").await?;
    assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("y", "script").await?.plugin_version, "2.2.0");
    let left = fleet.names.task_in(Lane::Next, broker_config::Queue::Fast, &plugin, &"y".parse()?);
    assert!(fleet.last(&fleet.names.task_stream(), &left).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_worker_in_python_does_the_tasks_of_its_route_and_no_others() -> anyhow::Result<()> {
    let filter = Filter { min_size: Some(100), ..Filter::default() };
    let large = Route { name: "large".parse()?, when: When { filter, folders: None } };
    let policy = PluginPolicy { routes: vec![large], ..PluginPolicy::default() };
    let word = Word { policies: [("script".parse()?, policy)].into(), ..Word::default() };
    let said = word.clone();
    let (fleet, lead) = Fleet::start_with(|options| options.word = said).await?;
    let home = Home::new()?;
    let env = [("METAFLEET_ROUTE", "large")];
    let of_route = Python::spawn_scripted(&fleet, &home, "routed", &json!({}), &env).await?;
    let shown = of_route.is(&fleet, InstanceState::Ready).await?;
    assert_eq!(shown.route.map(|it| it.to_string()).as_deref(), Some("large"));
    let small = home.hand_in(&fleet, "s", "s", "complete").await?;
    let _plain = Python::scripted(&fleet, &home, "plain", &json!({})).await?;
    let file = super::python::submission("l", &home.path("s"))?;
    let file = broker_config::Submission {
        file: broker_config::FileFacts { size: 100, ..file.file.clone() },
        ..file
    };
    let large = fleet.hand_in(broker_config::Queue::Fast, &file).await?;

    for (run, cid, by) in [(small, "s", "plain"), (large, "l", "routed")] {
        assert_eq!(fleet.settled(run).await?.of("script"), Some(Outcome::Completed), "{cid}");
        let record = fleet.recorded(cid, "script").await?;
        assert_eq!(record.instance.map(|it| it.to_string()).as_deref(), Some(by));
    }

    lead.handle.say(Word::default());
    of_route.is(&fleet, InstanceState::Paused).await?;
    lead.handle.say(word);
    of_route.is(&fleet, InstanceState::Ready).await.map(drop)
}
