//! PURE: what is wanted + what runs → what is to be done.

use std::collections::BTreeMap;

use broker_config::InstanceId;
use tokio_util::sync::CancellationToken;

use super::Instances;
use super::wanted::Wanted;

/// An instance that is being run.
#[derive(Clone, Debug)]
pub struct Running {
    /// As it was wanted when it was started.
    pub wanted: Wanted,
    /// Cancelled = it was told to stop.
    pub stop: CancellationToken,
}

/// A step towards what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell it to stop.
    Stop(InstanceId),
    /// Start it.
    Start(Box<Wanted>),
}

/// Lists what turns `running` into `wanted`, stops first.
///
/// An instance that is wanted otherwise is stopped now and started by the call after its end, so
/// that no two processes ever have the same name.
#[must_use]
pub fn reconcile(wanted: &Instances, running: &BTreeMap<InstanceId, Running>) -> Vec<Action> {
    let stop = running
        .iter()
        .filter(|(name, runs)| wanted.get(*name) != Some(&runs.wanted) && !runs.stop.is_cancelled())
        .map(|(name, _)| Action::Stop(name.clone()));
    let start = wanted
        .iter()
        .filter(|(name, _)| !running.contains_key(*name))
        .map(|(_, wanted)| Action::Start(Box::new(wanted.clone())));
    stop.chain(start).collect()
}

#[cfg(test)]
mod tests {
    use super::super::wanted::tests::instance;
    use super::*;

    #[test]
    fn only_what_differs_is_touched() {
        let (a, b, c) = (instance("a", 1, "x"), instance("b", 1, "x"), instance("c", 1, "x"));
        let changed = instance("b", 1, "y");
        let map = |list: &[&Wanted]| -> Instances {
            list.iter().map(|wanted| (wanted.name.clone(), (*wanted).clone())).collect()
        };
        let runs = |list: &[&Wanted]| -> BTreeMap<InstanceId, Running> {
            map(list)
                .into_iter()
                .map(|(name, wanted)| (name, Running { wanted, stop: CancellationToken::new() }))
                .collect()
        };
        let start = |wanted: &Wanted| Action::Start(Box::new(wanted.clone()));
        let stop = |wanted: &Wanted| Action::Stop(wanted.name.clone());
        for (case, wanted, running, expected) in [
            ("nothing", map(&[]), runs(&[]), vec![]),
            ("first", map(&[&a, &b]), runs(&[]), vec![start(&a), start(&b)]),
            ("settled", map(&[&a, &b]), runs(&[&a, &b]), vec![]),
            ("one more", map(&[&a, &b]), runs(&[&a]), vec![start(&b)]),
            ("one less", map(&[&a]), runs(&[&a, &c]), vec![stop(&c)]),
            ("changed", map(&[&a, &changed]), runs(&[&a, &b]), vec![stop(&b)]),
            ("swapped", map(&[&a]), runs(&[&c]), vec![stop(&c), start(&a)]),
        ] {
            assert_eq!(reconcile(&wanted, &running), expected, "{case}");
        }
        let stopping = runs(&[&b]);
        stopping[&b.name].stop.cancel();
        assert_eq!(reconcile(&map(&[&changed]), &stopping), [], "it is told once");
    }
}
