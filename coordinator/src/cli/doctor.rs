//! `metafleet doctor`

use std::path::PathBuf;

use broker_config::Names;
use clap::Args;
use serde::Serialize;

use super::App;
use super::exit::{Exit, Failure};
use super::launch::PluginArgs;
use super::output::Lines;
use super::session;
use crate::config::{Connection, DataDir, Env};
use crate::doctor::judge::worst;
use crate::doctor::{Asked, Facts, Finding, Level, Places, judge, look};
use crate::fleet::default_plugins_file;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    plugins: PluginArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    worst: Level,
    findings: &'a [Finding],
    facts: &'a Facts,
}

pub(crate) async fn run(app: &App, args: &DoctorArgs) -> Result<Exit, Failure> {
    let data_dir = app.data_dir()?;
    let named = args.plugins.plugins.clone();
    let usual = Some(default_plugins_file(&data_dir)).filter(|path: &PathBuf| path.exists());
    let named_broker = session::existing_broker(app)?;
    let has_broker = named_broker.is_some();
    let places = Places {
        plugins_file: named.or(usual),
        isolation: args.plugins.isolation,
        has_broker,
        broker: broker(named_broker, &data_dir),
        data_dir,
    };
    let facts = look(&places, &Env).await;
    let findings = judge(&facts);
    let worst = worst(&findings);
    app.out.document(&Report { worst, findings: &findings, facts: &facts }, |lines| {
        findings.iter().for_each(|finding| show(lines, finding));
    })?;
    Ok(if worst == Level::Failure { Exit::Failure } else { Exit::Ok })
}

/// The broker that was named, else that of the fleet that runs.
fn broker(named: Option<(Connection, Names)>, data_dir: &DataDir) -> Option<Asked> {
    if let Some((connection, names)) = named {
        return Some(Asked { connection, names, embedded: false });
    }
    // A folder that cannot be read is told of by itself.
    let fleet = data_dir.running().ok().flatten()?;
    let embedded = data_dir.has_broker();
    let names = Names::new(fleet.prefix);
    Some(Asked { connection: fleet.connection, names, embedded })
}

fn show(lines: &mut Lines, finding: &Finding) {
    let mark = match finding.level {
        Level::Good => "ok",
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Failure => "MISSING",
    };
    lines.line(&format!("{mark:<8} {:<16} {}", finding.topic, finding.what));
    if !finding.advice.is_empty() {
        lines.line(&format!("{:<26}→ {}", "", finding.advice));
    }
}
