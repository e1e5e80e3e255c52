//! Built-in plugins: they run in the program itself and disturb nobody.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use broker_config::Prefix;
use broker_config::wire::event::Outcome;
use broker_config::wire::instance::InstanceState;
use coordinator::config::connection::{Connection, Login, Origin, Tls};
use coordinator::internal::{
    Builtin, Builtins, InternalHandle, InternalOptions, InternalRuntime, Wanted,
};
use coordinator::nats_server::Access;
use coordinator::process::ProcessState;
use coordinator::process::restart::RestartPolicy;
use integration_tests::cli::{Home, Up};
use integration_tests::{Fleet, docker, eventually, heavy, manifest};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker_sdk::{Context, Failure, Manifest, Meta, Plugin};

/// Plugins that are processes in any case: `ffmpeg`, `audio-tags` and `still-extractor`.
const OTHERS: usize = 3;

const PLUGINS: [&str; 7] = [
    "anime-detector",
    "file-info",
    "filename-parser",
    "full-hash",
    "jellyfin-nfo",
    "language",
    "subtitle",
];

/// How often it was made; the first one does not get far.
static MADE: AtomicUsize = AtomicUsize::new(0);
/// Tasks that have begun and ended well.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

struct Panics;

impl Panics {
    fn made() -> Self {
        let times = MADE.fetch_add(1, Ordering::SeqCst);
        assert!(times > 0, "the first one panics where it is made");
        Self
    }
}

impl Plugin for Panics {
    #[expect(clippy::expect_used, reason = "it is written down here")]
    fn manifest(&self) -> Manifest {
        let retry = json!({"maxAttempts": 2, "delaysMs": [50]});
        manifest("panics", &json!({"retry": retry})).expect("a manifest")
    }

    async fn process(&self, ctx: &Context) -> Result<worker_sdk::Outcome, Failure> {
        assert!(!ctx.task().path.file_path.contains("bad"), "a panic in a task");
        BEGUN.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        ENDED.fetch_add(1, Ordering::SeqCst);
        let mut meta = Meta::new();
        meta.text("panics/done", "yes");
        Ok(worker_sdk::Outcome::Completed(meta))
    }
}

fn run(fleet: &Fleet, builtins: Builtins) -> (InternalHandle, CancellationToken, JoinSet<()>) {
    let options = InternalOptions {
        builtins,
        access: Access::Shared(Connection {
            url: fleet.server.url(),
            login: Login::Anonymous,
            tls: Tls::default(),
            origin: Origin::Flag,
        }),
        prefix: Prefix::default(),
        grace: Duration::from_secs(20),
        restart: RestartPolicy::default(),
    };
    let (runtime, handle) = InternalRuntime::new(options);
    let (drain, mut task) = (CancellationToken::new(), JoinSet::new());
    task.spawn(runtime.run(drain.clone()));
    (handle, drain, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_a_task_or_a_worker_and_never_the_fleet() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let id = "panics".parse()?;
    let builtins = Builtins::from([("panics".parse()?, Builtin::new(Panics::made))]);
    // Asking for the manifest makes one, too.
    MADE.store(0, Ordering::SeqCst);
    let (handle, drain, mut task) = run(&fleet, builtins);
    let name: broker_config::InstanceId = "plugin-panics-1".parse()?;
    let wanted = Wanted { name: name.clone(), plugin: id, concurrency: None };
    handle.set_wanted([(name, wanted)].into());

    eventually("it to be started again", async || {
        let list = handle.list();
        let again = |info: &&coordinator::internal::InternalInfo| {
            info.restarts == 1 && info.state == ProcessState::Running
        };
        Ok(list.iter().find(again).map(|_| ()))
    })
    .await?;
    assert_eq!(handle.list()[0].last_error.as_deref(), Some("it panicked"));
    assert_eq!(handle.list()[0].runtime, "internal");
    fleet.instance_is(&"panics".parse()?, "plugin-panics-1", InstanceState::Ready).await?;

    let bad = fleet.run("bad").await?;
    let good = fleet.run("good").await?;

    assert_eq!(bad.plugins, [("panics".parse()?, Outcome::Failed)].into());
    assert_eq!(good.plugins, [("panics".parse()?, Outcome::Completed)].into());
    assert_eq!(handle.list()[0].restarts, 1, "a panic in a task ends only that");

    // A stop drains: what runs is finished.
    let begun = BEGUN.load(Ordering::SeqCst);
    fleet.submit("last").await?;
    eventually(
        "a task to begin",
        async || Ok((BEGUN.load(Ordering::SeqCst) > begun).then_some(())),
    )
    .await?;
    drain.cancel();
    task.join_next().await.context("the runtime")??;
    assert_eq!(BEGUN.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst));
    drop(lead);
    Ok(())
}

#[tokio::test]
async fn built_in_plugins_find_what_processes_find_key_by_key() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    let (up, look) = Up::fleet(&home, PLUGINS.len() + OTHERS).await?;
    let by_processes = look.scanned(&home).await?;
    drop(look);
    up.stop().await?;

    let inside = PLUGINS.iter().map(|id| ((*id).to_owned(), json!({"runtime": "internal"})));
    let plugins = docker::plugins_file(&home, &Value::Object(inside.collect()))?;
    let other: PathBuf = home.root().join("other-data");
    let home = home.with_data(other);
    let plugins: Vec<&str> = plugins.iter().map(String::as_str).collect();
    let (up, look) = Up::fleet_with(&home, PLUGINS.len() + OTHERS, &plugins).await?;
    assert!(up.children("plugin-file-info")?.is_empty(), "it has no process");
    assert_eq!(up.children("plugin-ffmpeg")?.len(), 1, "what is not named runs as before");
    let inside = look.scanned(&home).await?;
    home.run(&["plugin", "restart", "file-info"]).await?.ok()?;
    up.stop().await?;

    let ids: BTreeSet<&str> = inside.keys().map(|(_, plugin)| plugin.as_str()).collect();
    assert!(PLUGINS.iter().all(|id| ids.contains(id)), "{ids:?}");
    assert!(by_processes.len() > 60, "{}", by_processes.len());
    let keys: BTreeSet<_> = inside.keys().chain(by_processes.keys()).collect();
    for key in keys {
        assert_eq!(inside.get(key), by_processes.get(key), "{key:?}");
    }
    Ok(())
}
