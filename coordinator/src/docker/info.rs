//! What is known about one container, for people.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use broker_config::{InstanceId, PluginId};
use jiff::Timestamp;
use serde::Serialize;

use super::engine::Look;
use super::found::{Found, State};
use super::memory::{Memory, Moment};
use super::reconcile::{Want, choose};
use super::wanted::Instances;
use crate::bridge::Place;
use crate::config::BaseUrl;
use crate::process::LastExit;

/// One instance, as status shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerInfo {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin it runs.
    pub plugin: PluginId,
    /// The image's name.
    pub image: String,
    /// The container, while there is one.
    pub container: Option<String>,
    /// How it is.
    pub state: ContainerState,
    /// What it waits for, or why it cannot run.
    pub note: Option<String>,
    /// Times it was started again.
    pub restarts: u32,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// How it ended last.
    pub last_exit: Option<LastExit>,
    /// Where an HTTP plugin listens, while it runs.
    #[serde(skip)]
    pub place: Option<Place>,
    /// The identity of the image that it is made of, once that is here.
    pub image_id: Option<String>,
    /// How its registry knows that image; `None` = it is from none.
    pub image_digest: Option<String>,
    /// Where the end of what it prints is kept when it is removed.
    pub log: PathBuf,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// About to be made or started.
    Starting,
    /// It runs.
    Running,
    /// It has ended, or could not be started, and will be started again.
    Waiting,
    /// It ends soon after each start; it is still started again, after long pauses.
    CrashLoop,
    /// It cannot be made as yet; it is tried again.
    Unable,
    /// It is not started until somebody changes something.
    Blocked,
}

/// All instances, as they are shown.
pub(super) type Shown = BTreeMap<InstanceId, ContainerInfo>;

/// Where the end of what an instance prints is kept.
pub(super) fn log_of(log_dir: &Path, name: &InstanceId) -> PathBuf {
    log_dir.join(format!("{name}.log"))
}

/// Shows every instance that is wanted; `before` is what was shown last.
pub(super) fn board(
    (instances, log_dir): (&Instances, &Path),
    (wants, look): (&BTreeMap<InstanceId, Want>, &Look),
    memory: &BTreeMap<InstanceId, Memory>,
    (before, now): (&Shown, Moment),
) -> Shown {
    let nothing = Memory::default();
    let mut all = BTreeMap::new();
    for (name, wanted) in instances {
        let its: Vec<&Found> = look.found.iter().filter(|found| found.instance == *name).collect();
        let container = choose(&its).0;
        let memory = memory.get(name).unwrap_or(&nothing);
        let is_taken = look.foreign.contains(name.as_str());
        let (state, note) = state(wants.get(name), container, is_taken, memory, now);
        let ready = match wants.get(name) {
            Some(Want::Ready(description)) => Some(description),
            Some(Want::Refused(_) | Want::Unable(_) | Want::Preparing(_)) | None => None,
        };
        let info = ContainerInfo {
            name: name.clone(),
            plugin: wanted.plugin.clone(),
            image: wanted.image.clone(),
            container: container.map(|found| found.id.clone()),
            state,
            note,
            restarts: memory.restarts,
            started: container.and_then(|found| found.started),
            last_exit: memory.last_exit.clone(),
            place: container.and_then(|found| place(found, wants.get(name), before.get(name))),
            image_id: ready.map(|description| description.image_id.clone()),
            image_digest: ready.and_then(|description| description.image_digest.clone()),
            log: log_of(log_dir, name),
        };
        all.insert(name.clone(), info);
    }
    all
}

/// Where the HTTP plugin in this container listens; each start of one is another incarnation.
///
/// What was known of the same incarnation holds while there is no telling what it should be.
fn place(found: &Found, want: Option<&Want>, before: Option<&ContainerInfo>) -> Option<Place> {
    let address = found.address.filter(|_| found.state == State::Running)?;
    let mut incarnation = std::hash::DefaultHasher::new();
    (&found.id, found.started).hash(&mut incarnation);
    let incarnation = incarnation.finish();
    if let Some(Want::Ready(description)) = want {
        let bridge = description.bridge.clone()?;
        return Some(Place { url: BaseUrl::usual_at(address), incarnation, bridge: Some(bridge) });
    }
    before?.place.clone().filter(|place| place.incarnation == incarnation)
}

fn state(
    want: Option<&Want>,
    found: Option<&Found>,
    is_taken: bool,
    memory: &Memory,
    now: Moment,
) -> (ContainerState, Option<String>) {
    if let Some(Want::Refused(reason)) = want {
        return (ContainerState::Blocked, Some(reason.clone()));
    }
    let runs = found.is_some_and(|found| found.state == State::Running);
    if is_taken && found.is_none_or(|found| found.name != found.instance.as_str()) {
        let note = "a container that is not this fleet's has its name; rename or remove that one";
        return (ContainerState::Blocked, Some(note.to_owned()));
    }
    if runs {
        return (ContainerState::Running, None);
    }
    let exit = memory.last_exit.as_ref().map(|exit| exit.reason.clone());
    let problem = memory.problem.clone().or(exit);
    if memory.is_crash_loop() {
        return (ContainerState::CrashLoop, problem);
    }
    match want {
        Some(Want::Preparing(what)) => (ContainerState::Starting, Some(what.clone())),
        Some(Want::Unable(problem)) => (ContainerState::Unable, Some(problem.clone())),
        _ if !memory.is_due(now) => (ContainerState::Waiting, problem),
        _ => (ContainerState::Starting, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::describe::tests::{description, wanted};
    use super::super::reconcile::tests::found;
    use super::*;

    #[test]
    fn it_says_how_each_is_and_why() {
        let now = Moment::ZERO;
        let instance = wanted("a", 1);
        let name = instance.name.clone();
        let instances = Instances::from([(name.clone(), instance.clone())]);
        let ready = Want::Ready(Box::new(description(&instance)));
        let mut failed = Memory::default();
        failed.refused("no memory".to_owned(), true, now);
        let looping = Memory { failures: 5, ..failed.clone() };
        let fine = Memory::default();
        for (want, found, taken, memory, state, note) in [
            (ready.clone(), vec![found("a", "1")], "", &fine, ContainerState::Running, None),
            (ready.clone(), vec![], "", &fine, ContainerState::Starting, None),
            (ready.clone(), vec![], "", &failed, ContainerState::Waiting, Some("no memory")),
            (ready.clone(), vec![], "", &looping, ContainerState::CrashLoop, Some("no memory")),
            (ready, vec![], "plugin-a-1", &fine, ContainerState::Blocked, Some("not this fleet's")),
            (
                Want::Refused("it wants".into()),
                vec![],
                "",
                &fine,
                ContainerState::Blocked,
                Some("it wants"),
            ),
            (
                Want::Unable("no image".into()),
                vec![],
                "",
                &fine,
                ContainerState::Unable,
                Some("no image"),
            ),
            (
                Want::Preparing("pulled".into()),
                vec![],
                "",
                &fine,
                ContainerState::Starting,
                Some("pulled"),
            ),
        ] {
            let wants = BTreeMap::from([(name.clone(), want)]);
            let memory = BTreeMap::from([(name.clone(), memory.clone())]);
            let look = Look { found, foreign: [taken.to_owned()].into() };
            let all = (&instances, Path::new("/log"));
            let info =
                board(all, (&wants, &look), &memory, (&Shown::new(), now)).remove(&name).unwrap();
            assert_eq!(info.state, state);
            match note {
                None => assert_eq!(info.note, None),
                Some(part) => assert!(info.note.clone().unwrap().contains(part), "{info:?}"),
            }
        }
    }
}
