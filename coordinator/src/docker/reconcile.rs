//! PURE: what is wanted + what the engine has → what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use broker_config::InstanceId;

use super::describe::Description;
use super::found::{Found, State};
use super::memory::{Memory, Moment};

/// What is wanted of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// This container.
    Ready(Box<Description>),
    /// One that cannot be described yet, e.g. because its image is being pulled; what there is of
    /// it may stay.
    Preparing(String),
    /// The same, for a reason that somebody should know, e.g. that no registry has its image.
    Unable(String),
    /// None, although the person asks for one.
    Refused(String),
}

/// Why a container goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody wants it.
    NotWanted,
    /// It must not run.
    Refused(String),
    /// It was made otherwise than it is wanted now.
    Changed,
    /// Somebody has taken it out of its network.
    CutOff,
    /// Another one is the same instance.
    Duplicate,
    /// Its name is held by one that cannot get its own name either.
    NamesInARing,
    /// It cannot be started.
    CannotStart,
    /// The engine left half of it.
    Dead,
}

/// A step towards what is wanted. Each is about one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make it and start it.
    Create(Box<Description>),
    /// Start one that there is.
    Start(Found),
    /// Stop it and start it again: it gives no sign of life.
    Restart(Found),
    /// Let one go on that somebody has halted.
    Unpause(Found),
    /// Give it its name back.
    Rename(Found),
    /// Stop it and remove it.
    Remove(Found, Why),
}

impl Action {
    /// The instance that it is about.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        match self {
            Self::Create(description) => &description.name,
            Self::Start(found)
            | Self::Restart(found)
            | Self::Unpause(found)
            | Self::Rename(found)
            | Self::Remove(found, _) => &found.instance,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(wanted) => write!(f, "create {} from {}", wanted.name, wanted.image),
            Self::Start(found) => write!(f, "start {}", found.name),
            Self::Restart(found) => write!(f, "restart {}: it gives no sign of life", found.name),
            Self::Unpause(found) => write!(f, "let {} go on: it is paused", found.name),
            Self::Rename(found) => write!(f, "rename {} to {}", found.name, found.instance),
            Self::Remove(found, why) => {
                let why = match why {
                    Why::NotWanted => "it is not wanted",
                    Why::Refused(reason) => reason,
                    Why::Changed => "its configuration has changed",
                    Why::CutOff => "it is no longer in its network",
                    Why::Duplicate => "another container is the same instance",
                    Why::NamesInARing => "others of its fleet have its name and each other's",
                    Why::CannotStart => "it cannot be started",
                    Why::Dead => "the engine calls it dead",
                };
                write!(f, "stop and remove {}: {why}", found.name)
            }
        }
    }
}

/// Lists what turns `found` into `wanted`, at most one step for each container.
///
/// `found` holds containers of our fleet only; `foreign` are the names of others, which are never
/// acted on. A container that is to be made anew is removed now and made by the call after its end.
#[must_use]
pub fn reconcile(
    wanted: &BTreeMap<InstanceId, Want>,
    found: &[Found],
    foreign: &BTreeSet<String>,
    memory: &BTreeMap<InstanceId, Memory>,
    now: Moment,
) -> Vec<Action> {
    let nothing = Memory::default();
    let mut of: BTreeMap<&InstanceId, Vec<&Found>> = BTreeMap::new();
    for container in found {
        of.entry(&container.instance).or_default().push(container);
    }
    let taken: BTreeSet<&str> =
        foreign.iter().map(String::as_str).chain(found.iter().map(|f| f.name.as_str())).collect();
    let knot = knot(found);
    let mut actions = Vec::new();
    for (instance, containers) in &of {
        let (kept, others) = choose(containers);
        let duplicate = |found: &&Found| Action::Remove((*found).clone(), Why::Duplicate);
        actions.extend(others.iter().filter(|other| other.state != State::Changing).map(duplicate));
        let memory = memory.get(*instance).unwrap_or(&nothing);
        if let Some(kept) = kept {
            actions.extend(if knot == Some(kept.id.as_str()) && kept.state != State::Changing {
                Some(Action::Remove(kept.clone(), Why::NamesInARing))
            } else {
                step(wanted.get(*instance), kept, &taken, memory, now)
            });
        }
    }
    for (instance, want) in wanted {
        let Want::Ready(description) = want else { continue };
        let memory = memory.get(instance).unwrap_or(&nothing);
        let is_free = !of.contains_key(instance) && !taken.contains(instance.as_str());
        if is_free && memory.is_due(now) {
            actions.push(Action::Create(description.clone()));
        }
    }
    actions
}

/// The container that is the instance, and those that should not be there.
pub fn choose<'a>(containers: &[&'a Found]) -> (Option<&'a Found>, Vec<&'a Found>) {
    let mut sorted = containers.to_vec();
    sorted.sort_by_key(|found| {
        let has_its_name = found.name == found.instance.as_str();
        (!has_its_name, found.state != State::Running, found.id.clone())
    });
    let mut sorted = sorted.into_iter();
    (sorted.next(), sorted.collect())
}

/// The container to be made anew where some have each other's names: none can get its own before one
/// of them has gone.
fn knot(found: &[Found]) -> Option<&str> {
    let waits_for = |container: &Found| {
        let name = container.instance.as_str();
        (container.name != name).then(|| found.iter().find(|other| other.name == name)).flatten()
    };
    let is_tied = |container: &&Found| waits_for(container).is_some_and(|o| waits_for(o).is_some());
    found.iter().filter(is_tied).map(|container| container.id.as_str()).min()
}

fn step(
    want: Option<&Want>,
    found: &Found,
    taken: &BTreeSet<&str>,
    memory: &Memory,
    now: Moment,
) -> Option<Action> {
    let remove = |why| Some(Action::Remove(found.clone(), why));
    if found.state == State::Changing {
        return None;
    }
    let is_ready = match want {
        None => return remove(Why::NotWanted),
        Some(Want::Refused(reason)) => return remove(Why::Refused(reason.clone())),
        Some(Want::Preparing(_) | Want::Unable(_)) => false,
        Some(Want::Ready(description)) if description.hash() != found.hash => {
            return remove(Why::Changed);
        }
        Some(Want::Ready(description))
            if found.state == State::Running && !found.is_in(description) =>
        {
            return remove(Why::CutOff);
        }
        Some(Want::Ready(_)) => true,
    };
    let name = found.instance.as_str();
    if found.name != name && !taken.contains(name) {
        return Some(Action::Rename(found.clone()));
    }
    match &found.state {
        State::Running if memory.is_unhealthy() => Some(Action::Restart(found.clone())),
        State::Running | State::Changing => None,
        State::Paused => Some(Action::Unpause(found.clone())),
        State::Dead => remove(Why::Dead),
        State::Created | State::Exited(_) if !memory.is_due(now) => None,
        State::Created | State::Exited(_) if memory.cannot_start && is_ready => {
            remove(Why::CannotStart)
        }
        State::Created | State::Exited(_) => Some(Action::Start(found.clone())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::super::describe::tests::{description, wanted};
    use super::super::found::Exit;
    use super::*;

    /// The container of instance 1 of a plugin, running as it is wanted.
    pub(crate) fn found(plugin: &str, id: &str) -> Found {
        let description = description(&wanted(plugin, 1));
        Found {
            id: id.to_owned(),
            name: description.name.to_string(),
            hash: description.hash(),
            instance: description.name,
            plugin: description.plugin,
            state: State::Running,
            started: None,
            networks: BTreeSet::from([description.network_id]),
            address: Some([10, 0, 0, 2].into()),
        }
    }

    fn ready(plugin: &str) -> Want {
        Want::Ready(Box::new(description(&wanted(plugin, 1))))
    }

    fn wants(list: &[(&str, Want)]) -> BTreeMap<InstanceId, Want> {
        let name = |plugin: &str| format!("plugin-{plugin}-1").parse().unwrap();
        list.iter().map(|(plugin, want)| (name(plugin), want.clone())).collect()
    }

    fn plan(wanted: &[(&str, Want)], found: &[Found], foreign: &[&str]) -> Vec<String> {
        let foreign = foreign.iter().map(|name| (*name).to_owned()).collect();
        let actions = reconcile(&wants(wanted), found, &foreign, &BTreeMap::new(), Duration::ZERO);
        actions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_done_follows_the_table() {
        let base = found("a", "1");
        let state = |state| Found { state, ..base.clone() };
        let exited = || State::Exited(Exit::default());
        let other_hash = Found { hash: "old".to_owned(), ..base.clone() };
        let renamed = Found { name: "x".to_owned(), ..base.clone() };
        let a = || ("a", ready("a"));
        let preparing = || ("a", Want::Preparing("pulled".to_owned()));
        let refused = || ("a", Want::Refused("no".to_owned()));
        let remove = |why: &str| vec![format!("stop and remove plugin-a-1: {why}")];
        let changed = "its configuration has changed";
        for (case, wanted, found, foreign, expected) in [
            ("nothing", vec![], vec![], &[] as &[&str], vec![]),
            ("first", vec![a()], vec![], &[], vec!["create plugin-a-1 from i".to_owned()]),
            ("settled", vec![a()], vec![base.clone()], &[], vec![]),
            ("not wanted", vec![], vec![base.clone()], &[], remove("it is not wanted")),
            ("refused", vec![refused()], vec![base.clone()], &[], remove("no")),
            ("never begun", vec![refused()], vec![], &[], vec![]),
            ("image comes", vec![preparing()], vec![], &[], vec![]),
            ("image is gone", vec![preparing()], vec![base.clone()], &[], vec![]),
            (
                "image is gone, ended",
                vec![preparing()],
                vec![state(exited())],
                &[],
                vec!["start plugin-a-1".to_owned()],
            ),
            ("changed", vec![a()], vec![other_hash], &[], remove(changed)),
            ("ended", vec![a()], vec![state(exited())], &[], vec!["start plugin-a-1".to_owned()]),
            (
                "never started",
                vec![a()],
                vec![state(State::Created)],
                &[],
                vec!["start plugin-a-1".to_owned()],
            ),
            (
                "paused",
                vec![a()],
                vec![state(State::Paused)],
                &[],
                vec!["let plugin-a-1 go on: it is paused".to_owned()],
            ),
            ("dead", vec![a()], vec![state(State::Dead)], &[], remove("the engine calls it dead")),
            ("on its way", vec![], vec![state(State::Changing)], &[], vec![]),
            (
                "renamed",
                vec![a()],
                vec![renamed.clone()],
                &[],
                vec!["rename x to plugin-a-1".to_owned()],
            ),
            ("foreign", vec![a()], vec![], &["plugin-a-1"], vec![]),
            ("renamed, name taken", vec![a()], vec![renamed.clone()], &["plugin-a-1"], vec![]),
            (
                "twice",
                vec![a()],
                vec![renamed, base],
                &[],
                vec!["stop and remove x: another container is the same instance".to_owned()],
            ),
        ] {
            assert_eq!(plan(&wanted, &found, foreign), expected, "{case}");
        }
    }

    #[test]
    fn names_in_a_ring_are_untied_by_one_that_goes() {
        let named = |plugin: &str, name: &str| Found {
            name: format!("plugin-{name}-1"),
            ..found(plugin, plugin)
        };
        let wanted = [("a", ready("a")), ("b", ready("b")), ("c", ready("c"))];
        let ring = [named("a", "b"), named("b", "c"), named("c", "a")];
        let goes = "stop and remove plugin-b-1: others of its fleet have its name and each other's";
        let steps: [(&[Found], &[&str]); 4] = [
            (&ring, &[goes]),
            (&ring[1..], &["rename plugin-c-1 to plugin-b-1"]),
            (&[named("b", "b"), named("c", "a")], &["rename plugin-a-1 to plugin-c-1"]),
            (&[named("b", "b"), named("c", "c")], &["create plugin-a-1 from i"]),
        ];
        for (found, expected) in steps {
            assert_eq!(plan(&wanted, found, &[]), expected, "{found:?}");
        }
    }

    #[test]
    fn what_has_failed_waits_and_what_cannot_start_is_made_anew() {
        let now = Duration::ZERO;
        let wanted = wants(&[("a", ready("a"))]);
        let base = found("a", "1");
        let ended = Found { state: State::Exited(Exit::default()), ..base.clone() };
        let act = |memory: &Memory, found: &[Found], now| {
            let memory = BTreeMap::from([(base.instance.clone(), memory.clone())]);
            let actions = reconcile(&wanted, found, &BTreeSet::new(), &memory, now);
            actions.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut memory = Memory::default();
        memory.refused("no".to_owned(), true, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(act(&memory, &[], now), [""; 0]);
        assert_eq!(act(&memory, &[], later), ["create plugin-a-1 from i"]);
        assert_eq!(act(&memory, std::slice::from_ref(&ended), now), [""; 0]);
        let anew = "stop and remove plugin-a-1: it cannot be started";
        assert_eq!(act(&memory, &[ended], later), [anew]);

        let silent = Memory { silent: 3, ..Memory::default() };
        let restart = "restart plugin-a-1: it gives no sign of life";
        assert_eq!(act(&silent, std::slice::from_ref(&base), now), [restart]);
    }
}
