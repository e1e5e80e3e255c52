use broker_config::Prefix;

use super::*;
use crate::config::connection::{Login, Origin, Tls};
use crate::config::vars::vars;
use crate::config::{Connection, Overrides, PluginsFile};
use crate::docker;
use crate::docker::naming::FleetId;
use crate::internal::Builtins;
use crate::process::Surroundings;
use crate::process::confine::tests::confines;

fn plan(text: &str) -> PluginPlan {
    let connection = Connection {
        url: "nats://127.0.0.1:1".to_owned(),
        login: Login::Anonymous,
        tls: Tls::default(),
        origin: Origin::Fleet,
    };
    let shared =
        Surroundings::new(connection, Prefix::default(), Duration::ZERO, confines(), &vars(&[]));
    let file = PluginsFile::parse(Path::new("plugins.yml"), text, &vars(&[])).unwrap();
    let fleet = FleetId::new(&Prefix::default(), "node");
    let boxed =
        docker::Surroundings::new(fleet, Prefix::default(), Duration::ZERO, &[], &vars(&[]));
    let hosts = Hosts { processes: shared, containers: boxed, builtins: Builtins::new() };
    PluginPlan::of((file, Overrides::default()), &[], &hosts, &Decided::new())
}

#[test]
fn only_what_is_valid_and_new_takes_effect() {
    let old = plan(
        "plugins:\n  a: {command: [a], config: {k: 1}}\n  b: {command: [b]}\n  c: {instanzes: 1}\n",
    );
    let applied = |names: &[&str]| Verdict::Applied {
        stop_first: names.iter().map(|name| name.parse().unwrap()).collect(),
    };
    for (text, expected) in [
        // The same in other words, further down.
        (
            "# more\nplugins:\n  b: {command: [b]}\n  a: {command: [a], config: {k: 1}}\n  c: {instanzes: 1}\n",
            Verdict::Same,
        ),
        (
            "plugins:\n  a: {command: [a], config: {k: 2}}\n  b: {command: [b]}\n",
            applied(&["plugin-a-1"]),
        ),
        ("plugins:\n  a: {command: [a]}\n  b: {command: [b]}\n", applied(&["plugin-a-1"])),
        ("plugins:\n  a: {command: [a], config: {k: 1}}\n", applied(&[])),
        (
            "plugins:\n  a: {command: [a], config: {k: 1}, queue: background}\n  b: {command: [b]}\n",
            applied(&[]),
        ),
        (
            "plugins:\n  a: {command: [a], config: {k: 1}}\n  b: {command: [b], instances: 2}\n",
            applied(&[]),
        ),
    ] {
        assert_eq!(compare(&old, &plan(text)), expected, "{text}");
    }
    let broken = plan("plugins:\n  a: {command: [a], timeout: soon}\n  b: {command: [b]}\n");
    let Verdict::Refused(reasons) = compare(&old, &broken) else { panic!("not refused") };
    assert!(matches!(&reasons[..], [one] if one.contains("plugins.yml:2")), "{reasons:?}");
}
