//! The two example plugins of the seed, as they stand in its document, on real files.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use broker_config::{Record, RecordStatus};
use integration_tests::cli::{Home, Up};
use integration_tests::{LIMIT, heavy, within};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};

/// Both listen on the port that their document names, and on no other.
static PORT: Mutex<()> = Mutex::const_new(());

/// The plugins that come with the program.
const NATIVE: usize = 10;

async fn port_8080() -> anyhow::Result<MutexGuard<'static, ()>> {
    let held = PORT.lock().await;
    within(LIMIT * 4, "port 8080 to be free, which the plugins insist on", async || {
        Ok(TcpListener::bind(("0.0.0.0", 8080)).map(drop).ok())
    })
    .await?;
    Ok(held)
}

/// Where Flask, Fastify and their like are: the folder that `METAFLEET_TEST_HTTP` names, else the one
/// that `make tools` made. Without one the tests fail; nothing is skipped.
pub(crate) async fn tools() -> anyhow::Result<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/http-plugins");
    let tools = std::env::var_os("METAFLEET_TEST_HTTP").map_or(made, PathBuf::from);
    let tools = std::fs::canonicalize(&tools)
        .with_context(|| format!("{} is not there: run `make tools`", tools.display()))?;
    let python = Command::new(tools.join("python/bin/python"))
        .args(["-c", "import flask, requests"])
        .output()
        .await?;
    let said = String::from_utf8_lossy(&python.stderr);
    ensure!(python.status.success(), "{}: {said}; run `make tools`", tools.display());
    Ok(tools)
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("http-plugins").join(path)
}

/// Scans the demo library with the plugin `id`, started by `command` in `dir`.
async fn processes_the_library(
    id: &str,
    command: &[&Path],
    dir: &Path,
) -> anyhow::Result<Vec<Record>> {
    let home = Home::with_demo_library()
        .await?
        .with_var("METAFLEET_API_LISTEN", "127.0.0.1:0")
        .with_var("METAFLEET_KV_LISTEN", "127.0.0.1:0");
    std::fs::create_dir_all(home.data())?;
    let plugins = json!({"plugins": {id: {"protocol": "http", "command": command, "dir": dir}}});
    std::fs::write(home.data().join("plugins.yml"), plugins.to_string())?;
    let (up, look) = Up::fleet(&home, NATIVE + 1).await?;

    let (_, summary) = home.scan(&[]).await?;

    up.says("HTTP plugins call back to http://127.0.0.1:").await?;
    let all = look.records().await?;
    let videos: BTreeSet<_> = all
        .iter()
        .filter(|record| record.plugin_id.as_str() == "file-info")
        .filter(|record| {
            record.meta.get("file/mime").is_some_and(|mime| mime.to_flat().starts_with("video/"))
        })
        .map(|record| record.cid.clone())
        .collect();
    let records: Vec<Record> =
        all.into_iter().filter(|record| record.plugin_id.as_str() == id).collect();
    let done: BTreeSet<_> = records.iter().map(|record| record.cid.clone()).collect();
    assert!(videos.len() >= 3, "{videos:?}");
    assert_eq!(done, videos, "its filter wants videos, all of them and nothing else: {summary}");
    for record in &records {
        assert_eq!(record.status, RecordStatus::Completed, "{record:?}");
        assert_eq!(record.meta["example/processed"].as_text(), Some("true"));
        let at: u64 = record.meta["example/timestamp"].to_flat().parse()?;
        assert!(at > 1_600_000_000, "{at}");
    }

    // Nothing has changed, so nothing runs again.
    let published = look.tasks_published().await?;
    let (code, _) = home.scan(&[]).await?;
    assert!(code == 0 || code == 6, "{code}");
    assert_eq!(look.tasks_published().await?, published);
    up.stop().await?;
    Ok(records)
}

#[tokio::test]
async fn the_minimal_plugin_in_python_processes_the_library_unchanged() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (tools, _port) = (tools().await?, port_8080().await?);
    let python = tools.join("python/bin/python");

    let records =
        processes_the_library("example", &[&python, Path::new("main.py")], &source("python"))
            .await?;

    assert_eq!(records[0].plugin_version, "1.0.0");
    Ok(())
}

#[tokio::test]
async fn the_template_in_typescript_processes_the_library_unchanged() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (tools, _port) = (tools().await?, port_8080().await?);
    // Node looks for packages beside the source.
    let dir = tempfile::tempdir()?;
    std::fs::copy(source("typescript/index.ts"), dir.path().join("index.ts"))?;
    let modules = tools.join("node/node_modules");
    std::os::unix::fs::symlink(&modules, dir.path().join("node_modules"))?;
    let command = [Path::new("node"), &modules.join("tsx/dist/cli.mjs"), Path::new("index.ts")];

    let records = processes_the_library("example-ts", &command, dir.path()).await?;

    assert!(records.iter().all(|record| record.duration_ms < 10_000), "{records:?}");
    Ok(())
}

#[tokio::test]
async fn a_plugin_process_that_is_killed_is_started_and_configured_anew() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (tools, _port) = (tools().await?, port_8080().await?);
    let home = Home::with_demo_library()
        .await?
        .with_var("METAFLEET_API_LISTEN", "127.0.0.1:0")
        .with_var("METAFLEET_KV_LISTEN", "127.0.0.1:0");
    std::fs::create_dir_all(home.data())?;
    let command = [tools.join("python/bin/python"), "main.py".into()];
    let entry = json!({"protocol": "http", "command": command, "dir": source("python")});
    let plugins = json!({"plugins": {"example": entry}});
    std::fs::write(home.data().join("plugins.yml"), plugins.to_string())?;
    let (up, look) = Up::fleet(&home, NATIVE + 1).await?;
    let log = home.data().join("log/plugin-example-1.log");
    let configured = || -> anyhow::Result<usize> {
        Ok(std::fs::read_to_string(&log)?.matches("POST /configure").count())
    };
    assert_eq!(configured()?, 1);

    for process in up.children("python")? {
        process.kill()?;
    }
    within(LIMIT * 2, "it to be configured again", async || Ok((configured()? == 2).then_some(())))
        .await?;
    home.scan(&[]).await?;

    let done = look.records().await?;
    let done = done.iter().filter(|record| record.plugin_id.as_str() == "example");
    let failed: Vec<&Record> =
        done.filter(|record| record.status != RecordStatus::Completed).collect();
    assert!(failed.is_empty(), "{failed:?}");
    up.stop().await?;
    Ok(())
}
