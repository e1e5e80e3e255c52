//! `metafleet broker check`

use broker_config::apply::{Change, check, check_server};
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::Lines;
use super::super::session;
use super::super::table::Table;
use super::TopologyArgs;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    server: String,
    api_level: usize,
    streams: Vec<Row>,
}

#[derive(Serialize)]
pub(super) struct Row {
    stream: String,
    #[serde(flatten)]
    change: Change,
}

/// Ends with a conflict when something would be refused, with a failure when something is missing.
pub(crate) async fn run(app: &App, args: &TopologyArgs) -> Result<Exit, Failure> {
    session::with_broker(app, async |client, names| {
        let version = client.server_info().version;
        let js = async_nats::jetstream::new(client.clone());
        let api_level = check_server(&js, &version).await?;
        let changes = check(&js, &args.topology(&names)).await?;
        let exit = verdict(&changes);
        let streams = changes.into_iter().map(|(stream, change)| Row { stream, change }).collect();
        let report = Report { server: version, api_level, streams };
        app.out.document(&report, |lines| {
            lines.field("nats-server", format!("{} (API level {api_level})", report.server));
            lines.line("");
            show(lines, &report.streams);
        })?;
        if exit == Exit::Failure {
            app.out.say("`metafleet broker apply` makes it so");
        }
        Ok(exit)
    })
    .await
}

fn verdict(changes: &[(String, Change)]) -> Exit {
    let code = |change: &Change| match change {
        Change::Unchanged => Exit::Ok,
        Change::Create | Change::Update { .. } => Exit::Failure,
        Change::Refuse { .. } => Exit::Conflict,
    };
    changes.iter().map(|(_, change)| code(change)).max().unwrap_or(Exit::Ok)
}

pub(super) fn show(lines: &mut Lines, rows: &[Row]) {
    let mut table = Table::new(&["STREAM", "STATE", "DETAILS"]);
    for row in rows {
        let (state, details) = match &row.change {
            Change::Unchanged => ("as it should be", String::new()),
            Change::Create => ("missing", String::new()),
            Change::Update { differences } => ("different", differences.join("; ")),
            Change::Refuse { reasons } => ("would lose messages", reasons.join("; ")),
        };
        table.row([row.stream.clone(), state.to_owned(), details]);
    }
    lines.table(&table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_change_decides_how_it_ends() {
        let update = Change::Update { differences: vec![] };
        let refuse = Change::Refuse { reasons: vec![] };
        for (changes, expected) in [
            (vec![], Exit::Ok),
            (vec![Change::Unchanged], Exit::Ok),
            (vec![Change::Unchanged, Change::Create], Exit::Failure),
            (vec![refuse, update], Exit::Conflict),
        ] {
            let changes: Vec<_> = changes.into_iter().map(|c| (String::new(), c)).collect();
            assert_eq!(verdict(&changes), expected, "{changes:?}");
        }
    }
}
