//! `metafleet broker apply`

use broker_config::apply::{Change, apply, check_server};
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::super::table::Table;
use super::TopologyArgs;

#[derive(Serialize)]
struct Row {
    stream: String,
    #[serde(flatten)]
    change: Change,
}

pub(crate) async fn run(app: &App, args: &TopologyArgs) -> Result<Exit, Failure> {
    session::with_broker(app, async |client, names| {
        let js = async_nats::jetstream::new(client.clone());
        check_server(&js, &client.server_info().version).await?;
        let changes = apply(&js, &args.topology(&names)).await?;
        let rows: Vec<Row> =
            changes.into_iter().map(|(stream, change)| Row { stream, change }).collect();
        app.out.list(&rows, |lines| {
            let mut table = Table::new(&["STREAM", "DONE", "DETAILS"]);
            for row in &rows {
                let (done, details) = match &row.change {
                    Change::Unchanged => ("nothing", String::new()),
                    Change::Create => ("created", String::new()),
                    Change::Update { differences } => ("updated", differences.join("; ")),
                    Change::Refuse { reasons } => ("refused", reasons.join("; ")),
                };
                table.row([row.stream.clone(), done.to_owned(), details]);
            }
            lines.table(&table);
        })?;
        Ok(Exit::Ok)
    })
    .await
}
