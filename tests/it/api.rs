//! The status API of a fleet, as a program of a person uses it.

mod away;
mod commands;
mod config;
mod document;
mod fleets;
mod granted;
mod http;
mod logs;
mod plugins;
mod usage;

use std::path::Path;

use integration_tests::cli::Home;
use serde_json::{Value, json};

/// A home with the plugin `odd` that behaves as told, and so many files.
fn odd_home(behaviour: &[&str], schema: &Value, files: usize) -> anyhow::Result<Home> {
    let mut home = Home::new()?;
    let program = Path::new(env!("CARGO_BIN_EXE_odd-plugin"));
    home.add_plugin("odd", program, behaviour, &json!({ "configSchema": schema }))?;
    home.write_many(files)?;
    Ok(home)
}

/// Writes `plugins.yml`.
fn plugins(home: &Home, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(home.data())?;
    Ok(std::fs::write(home.data().join("plugins.yml"), text)?)
}

/// The instances that run and take tasks, by their processes.
fn pids(plugin: &Value) -> Vec<u64> {
    let containers = plugin["containers"].as_array().cloned().unwrap_or_default();
    let runs = |one: &&Value| one["status"] == "running" && one["healthy"] == true;
    containers.iter().filter(runs).filter_map(|one| one["pid"].as_u64()).collect()
}
