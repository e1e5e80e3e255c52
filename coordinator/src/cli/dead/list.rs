//! `metafleet dead list`

use jiff::Timestamp;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::super::table::{Table, short};
use super::super::time::ago;
use super::ListArgs;

pub(crate) async fn run(app: &App, args: &ListArgs) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let letters = session.store.dead_letters(args.plugin.as_ref()).await?;
        app.out.list(&letters, |lines| {
            let mut table =
                Table::new(&[">ID", "PLUGIN", "CAUSE", ">ATTEMPTS", "WHEN", "FILE", "ERROR"]);
            let now = Timestamp::now();
            for entry in &letters {
                let letter = &entry.letter;
                table.row([
                    entry.id.to_string(),
                    letter.plugin_id.to_string(),
                    format!("{:?}", letter.cause).to_lowercase(),
                    letter.attempts.to_string(),
                    ago(&letter.at, now),
                    letter.task.path.file_path.clone(),
                    short(&letter.error, 80),
                ]);
            }
            if table.is_empty() {
                lines.line("There are no dead letters.");
            } else {
                lines.table(&table);
            }
        })?;
        Ok(Exit::Ok)
    })
    .await
}
