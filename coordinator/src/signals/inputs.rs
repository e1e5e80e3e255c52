//! Inputs that a worker left out of a signal, because its task made it too large.

use broker_config::Task;
use broker_config::read::ReadError;

use crate::broker::Broker;
use crate::engine::EngineHandle;
use crate::run::seen;

/// Puts back into a task what others wrote about the file, as it is recorded now. Where that has
/// changed meanwhile, the task's fingerprint tells the next scan.
pub(super) async fn put_back(
    broker: &Broker,
    engine: &EngineHandle,
    task: &mut Task,
) -> Result<(), ReadError> {
    if !task.existing_meta.is_empty() {
        return Ok(());
    }
    let graph = engine.graph().await;
    let Some(node) = graph.nodes.get(&task.plugin_id) else { return Ok(()) };
    let spec = node.of_version(task.plugin_version.as_deref());
    if node.inputs.is_empty() && spec.manifest.reads.is_none() {
        return Ok(());
    }
    let mut found = broker.records_of(std::slice::from_ref(&task.cid)).await?;
    let records = found.remove(&task.cid).unwrap_or_default();
    task.existing_meta = seen(spec, &node.inputs, &records, &task.file, &task.path.file_path);
    Ok(())
}
