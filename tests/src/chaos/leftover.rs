//! What is left in the task stream in the end, and what the broker knows of it: the evidence for
//! whoever looks for the reason.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;

use crate::Fleet;

/// A line for each task that is left and, if there is one, for each consumer that should deliver it.
pub async fn describe(fleet: &Fleet) -> anyhow::Result<String> {
    let stream = fleet.names.task_stream();
    let left = fleet.stored(&stream).await?;
    let mut text = String::new();
    for stored in &left {
        writeln!(text, "{} {}", stored.sequence, stored.subject)?;
        for (name, values) in stored.headers.iter() {
            let values: Vec<&str> = values.iter().map(async_nats::HeaderValue::as_str).collect();
            writeln!(text, "  {name}: {}", values.join(", "))?;
        }
        let Some(task) = fleet.names.parse_task(&stored.subject) else { continue };
        let record = fleet.names.record(&task.cid, &task.plugin);
        let record = fleet.last(&fleet.names.record_stream(), &record).await?;
        let record = record.map_or_else(
            || "none".to_owned(),
            |record| String::from_utf8_lossy(&record.payload).into_owned(),
        );
        writeln!(text, "  task:   {}", String::from_utf8_lossy(&stored.payload))?;
        writeln!(text, "  record: {record}")?;
    }
    if !left.is_empty() {
        let mut consumers = fleet.js.get_stream(&stream).await?.consumers();
        while let Some(consumer) = consumers.try_next().await? {
            writeln!(text, "{consumer:?}")?;
        }
    }
    Ok(text)
}
