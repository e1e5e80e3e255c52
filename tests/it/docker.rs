//! Plugins in containers, on a real engine; each test says so loudly when there is none.

mod conformance;
mod faults;
mod http;
mod kill;
mod life;
mod probe;
mod pull;
mod same;
mod scale;
mod steer;
mod usage;
mod versions;

use anyhow::Context as _;
use integration_tests::cli::{Home, Look, Up};
use serde_json::Value;

/// A running fleet with these plugins in containers.
async fn fleet(
    home: &Home,
    plugins: &Value,
    ready: usize,
    more: &[&str],
) -> anyhow::Result<(Up, Look)> {
    let file = integration_tests::docker::plugins_file(home, plugins)?;
    let library = format!("films={}", home.library().display());
    let arguments: Vec<&str> = file
        .iter()
        .map(String::as_str)
        .chain(["--library", &library])
        .chain(more.iter().copied())
        .collect();
    Up::fleet_with(home, ready, &arguments).await
}

/// What `metafleet status` says is wrong with a plugin.
async fn errors_of(home: &Home, plugin: &str) -> anyhow::Result<String> {
    let status: Value = home.json(&["status"]).await?;
    let plugins = status["plugins"].as_array().context("plugins")?;
    let of = plugins.iter().find(|of| of["id"] == plugin).context("the plugin")?;
    Ok(of["errors"].to_string())
}
