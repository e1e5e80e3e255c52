//! Who has the subject of a task that could not be published; pure.

use broker_config::Task;

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// This very task, published before a restart.
    Itself,
    /// A task that nobody has to do any more, and nobody would: it is for a version that was
    /// replaced, or on trial.
    Replaced,
    /// An older task of the same work, or nobody any more.
    Older,
}

/// Judges what was found on the subject of `task`.
#[must_use]
pub fn occupant(task: &Task, there: Option<&Task>) -> Occupant {
    let Some(there) = there else { return Occupant::Older };
    if there.task_id == task.task_id {
        return Occupant::Itself;
    }
    let is_other = there.plugin_version != task.plugin_version;
    if there.trial || there.plugin_version.is_some() && is_other {
        Occupant::Replaced
    } else {
        Occupant::Older
    }
}
