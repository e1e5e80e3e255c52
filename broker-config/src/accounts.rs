//! PURE: who may reach what on a server with an account for each plugin.
//!
//! The fleet's account has the streams, the buckets and the coordinator. A plugin's account has no
//! JetStream; it reaches the fleet's only by what it *imports*, under the subjects that a worker
//! uses anyway. What it does not import does not exist for it: nobody answers.
//!
//! The fleet *exports* a few patterns to all accounts, because an import says exactly which
//! subjects of a pattern it takes, and whoever writes the configuration writes the imports.

mod owner;
mod plugin;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::PluginId;
use crate::names::{Names, RouteName};

/// How long after the last answer to a request another one finds its way; a pull request must not
/// wait for longer.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// The accounts of one fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// The one that has everything.
    pub fleet: Account,
    /// One for each plugin.
    pub plugins: Vec<PluginAccount>,
}

/// What an account offers and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name on the server.
    pub name: String,
    /// What other accounts may reach of it.
    pub exports: Vec<Export>,
    /// What it reaches of others.
    pub imports: Vec<Import>,
}

/// The account of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginAccount {
    /// Whose it is.
    pub plugin: PluginId,
    /// What it offers and takes.
    pub account: Account,
    /// What its user may publish.
    pub publish: Vec<String>,
    /// What its user may subscribe to.
    pub subscribe: Vec<String>,
    /// What it may use of the server.
    pub limits: Limits,
}

/// A service that other accounts may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where requests go; may hold wildcards.
    pub subject: String,
    /// What comes back for one request.
    pub answers: Answers,
    /// The only account that may reach it; `None` = every one that the configuration lets.
    pub only: Option<String>,
}

/// What comes back for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// One message at most.
    One,
    /// Any number, the first and each further one within [`ANSWERS_WITHIN`].
    Many,
}

/// A service of another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Whose it is.
    pub account: String,
    /// Its subject there.
    pub subject: String,
    /// Its subject here.
    pub here: String,
}

/// What an account may use of the server, so that one plugin cannot use it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Subscriptions of each connection at once.
    pub subscriptions: u32,
    /// Bytes of one message; 0 = what the server allows.
    pub payload: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_024, subscriptions: 32_768, payload: 0 }
    }
}

impl Accounts {
    /// The accounts of a fleet with these plugins and their routes.
    ///
    /// Who cannot be a plugin gets none: its user would be the coordinator's, or nobody's.
    #[must_use]
    pub fn of(names: &Names, plugins: &BTreeMap<PluginId, BTreeSet<RouteName>>) -> Self {
        let plugins = plugins.iter().filter(|(id, _)| id.kept_for().is_none());
        let plugins: Vec<_> =
            plugins.map(|(id, routes)| PluginAccount::of(names, id, routes)).collect();
        let imports = plugins.iter().flat_map(PluginAccount::taken_by_the_fleet).collect();
        let fleet = Account { name: names.fleet_account(), exports: offered(names), imports };
        Self { fleet, plugins }
    }
}

/// What the fleet offers.
fn offered(names: &Names) -> Vec<Export> {
    let tasks = names.task_stream();
    let export = |subject: String, answers| Export { subject, answers, only: None };
    let key = |bucket: &str, key: &str| Names::key_subject(bucket, key);
    vec![
        export(next(&tasks, "*"), Answers::Many),
        export(info(&tasks, "*"), Answers::One),
        export(ack(&tasks, "*"), Answers::One),
        export(long_ack(&tasks, "*"), Answers::One),
        export(key(&names.records_bucket(), "*.*"), Answers::One),
        export(key(&names.artifacts_bucket(), "*.*.*"), Answers::One),
        export(key(&names.instances_bucket(), "*.*"), Answers::One),
        export(names.signals("*"), Answers::One),
        export(names.all_submits_by(), Answers::One),
    ]
}

/// Where the next task of a consumer is asked for.
fn next(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

/// Where a consumer is looked at.
fn info(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}")
}

/// Where deliveries are answered. Exactly so many tokens: more of them could be the longer form of
/// an answer to another consumer.
fn ack(stream: &str, consumer: &str) -> String {
    format!("$JS.ACK.{stream}.{consumer}.*.*.*.*.*")
}

/// The longer form, with a domain, of which there is none, and an account in front. A wildcard
/// for the domain would match the shorter form of answers to other consumers.
fn long_ack(stream: &str, consumer: &str) -> String {
    format!("$JS.ACK._.*.{stream}.{consumer}.>")
}
