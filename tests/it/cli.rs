//! The program from end to end: the real binary, real plugins, real files.

mod bump;
mod canary;
mod changes;
mod commands;
mod dead;
mod disk;
mod kill;
mod logins;
mod meta;
mod odd;
mod package;
mod reach;
mod reload;
mod roots;
mod routes;
mod scale;
mod scan;
mod secret;
mod shell;
mod stop;
mod trace;
mod versions;
mod wear;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use broker_config::wire::event::{Fact, ScanCounts};
use integration_tests::cli::Home;
use serde_json::{Value, json};

/// Adds a plugin to a test's own that behaves as told; see `odd-plugin`.
pub(super) fn add(
    home: &mut Home,
    id: &str,
    behaviour: &[&str],
    change: &Value,
) -> anyhow::Result<()> {
    home.add_plugin(id, Path::new(env!("CARGO_BIN_EXE_odd-plugin")), behaviour, change)
}

/// A home with one plugin `odd` that behaves as told, and so many text files.
fn odd_home(behaviour: &[&str], files: usize) -> anyhow::Result<Home> {
    let mut home = Home::new()?;
    add(&mut home, "odd", behaviour, &json!({}))?;
    home.write_many(files)?;
    Ok(home)
}

/// The plugins that wrote a record, by path of the file's run.
fn ran(facts: &[(u64, Fact)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut ran: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, fact) in facts {
        if let Fact::TaskSettled { cid, plugin_id, .. } = fact {
            ran.entry(cid.to_string()).or_default().insert(plugin_id.to_string());
        }
    }
    ran
}

/// What the first scan that ended has counted.
fn counts_of_scan(facts: &[(u64, Fact)]) -> anyhow::Result<ScanCounts> {
    let counts = |fact: &Fact| {
        let Fact::ScanCompleted { counts, .. } = fact else { return None };
        Some(*counts)
    };
    facts.iter().find_map(|(_, fact)| counts(fact)).context("a completed scan")
}

/// The names of events about files, without those of their ends.
fn file_events(facts: &[(u64, Fact)]) -> Vec<(&'static str, String)> {
    let event = |fact: &Fact| {
        let (Fact::FileDiscovered { path, .. }
        | Fact::FileChanged { path, .. }
        | Fact::FileMoved { path, .. }
        | Fact::FileDeleted { path, .. }) = fact
        else {
            return None;
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        Some((fact.name(), name.to_owned()))
    };
    facts.iter().filter_map(|(_, fact)| event(fact)).collect()
}
