//! The tasks of one plugin go to those workers that can do them, on a real broker.

mod change;
mod goes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use broker_config::{Lane, Names, PluginId, Queue, RunId, Submission};
use coordinator::config::plugins::Libraries;
use coordinator::config::{Env, PluginsFile};
use coordinator::registry::{PluginPolicy, Word};
use coordinator::store::Store;
use coordinator::store::overview::{Overview, PluginNumbers};
use integration_tests::submit::file;
use integration_tests::{Fleet, Lead, Script, eventually};
use worker_sdk::WorkerOptions;

/// Large files of the films go to the worker with a GPU, subtitles to another one.
const ROUTES: &str = r#"
plugins:
  probe:
    runtime: remote
    routes:
      gpu:
        when: { minSize: 1m, libraries: [films], mimeTypes: ["video/*"] }
      text:
        when: { extensions: [srt] }
"#;

fn probe() -> anyhow::Result<PluginId> {
    Ok("probe".parse()?)
}

/// What a coordinator is told where `plugins.yml` is this.
fn word(text: &str) -> anyhow::Result<Word> {
    let path = Path::new("plugins.yml");
    let mut file = PluginsFile::parse(path, text, &Env).map_err(anyhow::Error::msg)?;
    file.locate(path, &Libraries::from([("films".to_owned(), vec!["/films".into()])]));
    anyhow::ensure!(file.problems.is_empty(), "{:?}", file.problems);
    let mut word = Word::default();
    for (id, entry) in file.entries {
        let routes = entry.routes.iter().map(|route| route.route()).collect();
        word.policies.insert(id, PluginPolicy { routes, ..PluginPolicy::default() });
    }
    Ok(word)
}

async fn start() -> anyhow::Result<(Fleet, Lead)> {
    let routes = word(ROUTES)?;
    Fleet::start_with(|options| options.word = routes).await
}

fn serves(route: &str) -> impl FnOnce(&mut WorkerOptions) {
    let route = route.parse().ok();
    move |options| options.route = route
}

/// A large video in the library.
fn film(cid: &str) -> anyhow::Result<Submission> {
    at(cid, "/films", 1 << 20, "mkv")
}

fn at(cid: &str, folder: &str, size: u64, extension: &str) -> anyhow::Result<Submission> {
    let mut submission = file(cid)?;
    submission.path.file_path = format!("{folder}/{cid}.{extension}");
    submission.file.size = size;
    submission.file.extension = extension.to_owned();
    if extension == "srt" {
        submission.file.mime = "text/plain".to_owned();
    }
    Ok(submission)
}

/// Hands in that many large films.
async fn films(fleet: &Fleet, stem: &str, count: usize) -> anyhow::Result<Vec<RunId>> {
    let mut runs = Vec::new();
    for number in 0..count {
        runs.push(fleet.hand_in(Queue::Fast, &film(&format!("{stem}-{number}"))?).await?);
    }
    Ok(runs)
}

/// How often a script was asked about each file.
fn asked(script: &Script) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for call in script.calls() {
        *asked.entry(call.cid).or_default() += 1;
    }
    asked
}

/// `<stem>-0` to `<stem>-<count - 1>`, each once.
fn once(stem: &str, count: usize) -> BTreeMap<String, usize> {
    (0..count).map(|number| (format!("{stem}-{number}"), 1)).collect()
}

async fn store(fleet: &Fleet) -> anyhow::Result<Store> {
    Ok(Store::open(fleet.client.clone(), fleet.names.clone()).await?)
}

async fn numbers(store: &Store) -> anyhow::Result<Option<PluginNumbers>> {
    let Overview { plugins, .. } = store.overview().await?;
    Ok(plugins.into_iter().find(|plugin| plugin.id == "probe"))
}

/// Waits until the status says this of a route, or of `main`.
async fn reason(store: &Store, route: &str, part: &str) -> anyhow::Result<()> {
    eventually(&format!("the status of {route} to say `{part}`"), async || {
        let routes = numbers(store).await?.map(|plugin| plugin.routes).unwrap_or_default();
        let reason = routes.into_iter().find(|it| it.name == route).and_then(|it| it.reason);
        Ok(reason.filter(|reason| reason.contains(part)).map(drop))
    })
    .await
}

/// The routes that have consumers.
async fn routes(fleet: &Fleet, store: &Store) -> anyhow::Result<BTreeSet<String>> {
    let consumers = store.consumers(&fleet.names.task_stream()).await?;
    let lanes = consumers.keys().filter_map(|name| Names::parse_consumer(name));
    Ok(lanes.filter_map(|(_, lane, _)| lane.route().map(|it| it.to_string())).collect())
}

/// Waits until nothing of a route is left: neither consumers nor tasks.
async fn is_gone(fleet: &Fleet, store: &Store, route: &str) -> anyhow::Result<()> {
    let lane = Lane::Route(route.parse()?);
    eventually(&format!("the route {route} to be gone"), async || {
        let mut left = routes(fleet, store).await?.contains(route);
        for queue in Queue::ALL {
            let filter = fleet.names.tasks_in(lane, queue, &probe()?);
            left |= !store.subjects(&fleet.names.task_stream(), &filter).await?.is_empty();
        }
        Ok((!left).then_some(()))
    })
    .await
}
