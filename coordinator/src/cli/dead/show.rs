//! `metafleet dead show ID`

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::{ShowArgs, existing};

pub(crate) async fn run(app: &App, args: &ShowArgs) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let entry = existing(&session.store, args.id).await?;
        app.out.document(&entry, |lines| {
            let letter = &entry.letter;
            lines.title(&format!("dead letter {}", entry.id));
            lines.field("plugin", letter.plugin_id.as_str());
            lines.field("file", &letter.task.path.file_path);
            lines.field("cid", letter.cid.as_str());
            lines.field("queue", letter.queue.as_str());
            lines.field("cause", format!("{:?}", letter.cause).to_lowercase());
            lines.field("attempts", letter.attempts.to_string());
            lines.field("when", &letter.at);
            if let Some(instance) = &letter.instance {
                lines.field("worker", instance.as_str());
            }
            lines.field("task", letter.task.task_id.as_str());
            lines.field("run", letter.task.run_id.to_string());
            lines.field("error", &letter.error);
        })?;
        Ok(Exit::Ok)
    })
    .await
}
