//! PURE: the account of one plugin.

use std::collections::BTreeSet;

use super::{Account, Answers, Export, Import, Limits, PluginAccount};
use crate::id::PluginId;
use crate::names::{Lane, Names, RouteName};
use crate::queue::Queue;

/// Where a plugin hears the answers to its requests.
const INBOX: &str = "_INBOX.>";
/// Where it answers the requests that come from the fleet.
const ANSWER: &str = "_R_.>";
/// The lanes whose outcomes have places of their own; what goes a route is kept like the rest.
const OUTCOMES: [Lane; 2] = [Lane::Main, Lane::Next];

impl PluginAccount {
    /// The account of a plugin that has these routes.
    pub(super) fn of(names: &Names, plugin: &PluginId, routes: &BTreeSet<RouteName>) -> Self {
        let imports = imports(names, plugin, routes);
        let mut publish: Vec<String> = imports.iter().map(|import| import.here.clone()).collect();
        publish.extend([INBOX.to_owned(), ANSWER.to_owned()]);
        let control = [names.control(plugin), names.control_instances(plugin)];
        let mut subscribe = vec![INBOX.to_owned()];
        subscribe.extend(control.clone());
        let export = |subject| Export {
            subject,
            // A request to a plugin is answered by all its instances.
            answers: Answers::Many,
            only: Some(names.fleet_account()),
        };
        let exports = control.map(export).to_vec();
        let account = Account { name: names.plugin_account(plugin), exports, imports };
        Self { plugin: plugin.clone(), account, publish, subscribe, limits: Limits::default() }
    }

    /// What the fleet's account takes of it: control of its instances.
    pub(super) fn taken_by_the_fleet(&self) -> Vec<Import> {
        let import = |export: &Export| Import {
            account: self.account.name.clone(),
            subject: export.subject.clone(),
            here: export.subject.clone(),
        };
        self.account.exports.iter().map(import).collect()
    }
}

/// What a plugin reaches of the fleet, and nothing else.
fn imports(names: &Names, plugin: &PluginId, routes: &BTreeSet<RouteName>) -> Vec<Import> {
    let fleet = names.fleet_account();
    let as_it_is =
        |subject: String| Import { account: fleet.clone(), here: subject.clone(), subject };
    let stream = names.task_stream();
    let lanes = OUTCOMES.into_iter().chain(routes.iter().map(|route| Lane::Route(*route)));
    let mut imports = Vec::new();
    for lane in lanes {
        for queue in Queue::ALL {
            let consumer = Names::consumer_in(lane, plugin, queue);
            let parts = [super::next, super::info, super::ack, super::long_ack];
            imports.extend(parts.map(|part| as_it_is(part(&stream, &consumer))));
        }
    }
    for lane in OUTCOMES {
        imports.push(as_it_is(names.records_by(lane, plugin)));
        imports.push(as_it_is(names.artifacts_by(lane, plugin)));
    }
    imports.push(as_it_is(names.instances_of(plugin)));
    imports.push(as_it_is(names.signal(plugin, "*")));
    imports.extend(Queue::ALL.map(|queue| Import {
        account: fleet.clone(),
        subject: names.submit_by(queue, plugin),
        here: names.submit(queue),
    }));
    imports
}
