//! PURE but for keys, which are made at random: what there is, and what there should be → what is
//! signed anew.
//!
//! What says already what it should stays as it is, so that only what differs must be pushed.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::accounts::{Account, Accounts, PluginAccount};
use nkeys::KeyPairType;
use serde_json::{Map, Value};

use super::claims::{self, Around};
use super::desk::{Desk, Seat};
use super::files::{self, Files};
use super::ring::Ring;
use super::token::{Claims, InvalidToken};
use crate::nats_server::users::COORDINATOR;

/// The operator that is made where there is none.
const OPERATOR: &str = "metafleet";
/// The account that is made with it, from which servers are administered.
const SYSTEM: &str = "SYS";
/// The user of that account.
const ADMINISTRATOR: &str = "sys";

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The accounts that there are to be.
    pub accounts: &'a Accounts,
    /// Users that get a new key: plugins by id, or `coordinator`.
    pub rotate: &'a BTreeSet<String>,
    /// The time in seconds since 1970.
    pub now: u64,
}

/// The token of an account, for servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What it is called.
    pub name: String,
    /// Its public key.
    pub key: String,
    /// Its token; empty = it is not here.
    pub token: String,
    /// Whether it was made anew.
    pub is_changed: bool,
}

/// A user and where its login file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `coordinator`, or the id of a plugin.
    pub user: String,
    /// In the folder; `None` = its key is not here.
    pub creds: Option<String>,
    /// Whether it has a new key.
    pub is_new: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The name of the operator.
    pub operator: String,
    /// Its token.
    pub operator_token: String,
    /// The account from which servers are administered.
    pub system: Pushed,
    /// The login file of its user, when that is here.
    pub system_login: Option<String>,
    /// All other accounts of the operator that are wanted.
    pub others: Vec<Pushed>,
    /// Who may log in.
    pub logins: Vec<Login>,
    /// Accounts of plugins that are no longer wanted.
    pub removed: Vec<String>,
}

impl Issued {
    /// The accounts whose tokens servers are to have.
    pub fn accounts(&self) -> impl Iterator<Item = &Pushed> {
        let system = (!self.system.token.is_empty()).then_some(&self.system);
        system.into_iter().chain(&self.others)
    }
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not clear whose accounts are wanted.
    #[error("there are several operators: {}", .0.join(", "))]
    Operators(Vec<String>),
    /// What is there cannot be used.
    #[error("{path}")]
    Token {
        /// Its path in the folder.
        path: String,
        /// Why.
        #[source]
        source: InvalidToken,
    },
    /// Streams need one, and tokens are pushed through it.
    #[error("operator {0} has no system account")]
    NoSystem(String),
    /// A secret key is missing.
    #[error("no key that may sign for {whose} is there: {}", keys.join(" or "))]
    NoKey {
        /// Who cannot sign.
        whose: String,
        /// The public keys of which one would do.
        keys: Vec<String>,
    },
    /// Servers refuse what is signed by it, or let in nobody of it.
    #[error("the time of {0} is over")]
    Over(String),
    /// Servers are administered from it, and it can have no streams.
    #[error("the system account of the operator is called `{0}`, as the fleet's would be")]
    System(String),
    /// There is no such user.
    #[error("`{0}` is neither `coordinator` nor a plugin that gets an account")]
    Rotate(String),
}

/// Makes keys, tokens and login files for the accounts, as far as they are not there.
///
/// # Errors
///
/// [`Refused`]; then `files` are not to be stored.
pub fn issue(files: &mut Files, ring: &mut Ring, order: &Order<'_>) -> Result<Issued, Refused> {
    let users = std::iter::once(COORDINATOR)
        .chain(order.accounts.plugins.iter().map(|plugin| plugin.plugin.as_str()));
    let users: BTreeSet<&str> = users.collect();
    if let Some(name) = order.rotate.iter().find(|name| !users.contains(name.as_str())) {
        return Err(Refused::Rotate(name.clone()));
    }
    let (name, operator) = operator(files, ring, order.now)?;
    let mut desk = Desk { files, ring, name: name.clone(), operator, now: order.now };
    let (logins, mut changed, removed) = desk.accounts(order)?;
    let system_key = desk.operator.nats.get("system_account").and_then(Value::as_str);
    let system_key = system_key.ok_or_else(|| Refused::NoSystem(name.clone()))?.to_owned();
    let (mut system, mut others) = (None, Vec::new());
    for account in desk.files.named(&files::accounts(&name)) {
        if removed.contains(&account) {
            continue;
        }
        let token = desk.files.get(&files::account(&name, &account)).unwrap_or_default().trim();
        let (token, key) = (token.to_owned(), desk.claims(&files::account(&name, &account))?);
        let key = key.map(|claims| claims.subject).unwrap_or_default();
        desk.files.put(files::pushed(&key), token.clone());
        let is_changed = changed.remove(&account);
        let pushed = Pushed { name: account, key, token, is_changed };
        if pushed.key == system_key {
            system = Some(pushed);
        } else {
            others.push(pushed);
        }
    }
    // Whoever pushes them in this order pushes the fleet's when those are there from which it imports.
    let fleet = &order.accounts.fleet.name;
    others.sort_by_cached_key(|account| (account.name == *fleet, account.name.clone()));
    let unknown = || Pushed {
        name: SYSTEM.to_owned(),
        key: system_key,
        token: String::new(),
        is_changed: false,
    };
    let system = system.unwrap_or_else(unknown);
    let login = files::creds(&name, &system.name, ADMINISTRATOR);
    let operator_token = desk.files.get(&files::operator(&name)).unwrap_or_default();
    Ok(Issued {
        operator: name,
        operator_token: operator_token.trim().to_owned(),
        system_login: desk.files.get(&login).is_some().then_some(login),
        system,
        others,
        logins,
        removed,
    })
}

/// The operator and its name; makes one where there is none.
fn operator(files: &mut Files, ring: &mut Ring, now: u64) -> Result<(String, Claims), Refused> {
    let mut names = files.named("stores");
    let name = match (names.len(), names.pop()) {
        (1, Some(name)) => name,
        (_, None) => {
            let key = ring.make(KeyPairType::Operator, files);
            let system = ring.make(KeyPairType::Account, files);
            let operator = Claims::about(&key, OPERATOR, claims::operator(&system));
            let mut desk = Desk { files, ring, name: OPERATOR.to_owned(), operator, now };
            desk.found(&system, SYSTEM, ADMINISTRATOR)?;
            OPERATOR.to_owned()
        }
        (_, Some(last)) => {
            names.push(last);
            return Err(Refused::Operators(names));
        }
    };
    let path = files::operator(&name);
    let token = files.get(&path).unwrap_or_default();
    let operator = Claims::read(token).map_err(|source| Refused::Token { path, source })?;
    if operator.nats.get("system_account").is_none() {
        return Err(Refused::NoSystem(name));
    }
    if operator.is_over(now) {
        return Err(Refused::Over(format!("operator {name}")));
    }
    Ok((name, operator))
}

/// Which logins there are, which accounts were made anew, and which are not wanted any more.
type Done = (Vec<Login>, BTreeSet<String>, Vec<String>);

impl Desk<'_> {
    fn accounts(&mut self, order: &Order<'_>) -> Result<Done, Refused> {
        let Accounts { fleet, plugins } = order.accounts;
        let mut seats = BTreeMap::new();
        let all =
            std::iter::once(&fleet.name).chain(plugins.iter().map(|plugin| &plugin.account.name));
        for name in all {
            let seat = self.seat(name)?;
            if self.operator.nats.get("system_account") == Some(&seat.key.as_str().into()) {
                return Err(Refused::System(name.clone()));
            }
            seats.insert(name.clone(), seat);
        }
        let mut logins = Vec::new();
        let users = std::iter::once((&fleet.name, COORDINATOR))
            .chain(plugins.iter().map(|plugin| (&plugin.account.name, plugin.plugin.as_str())));
        for (account, user) in users {
            if let Some(seat) = seats.get_mut(account) {
                logins.push(self.user(seat, user, order.rotate.contains(user))?);
            }
        }
        let removed = self.removed(&fleet.name, &seats);
        let mut changed = BTreeSet::new();
        let plugins: Vec<(&Account, Option<&PluginAccount>)> =
            plugins.iter().map(|plugin| (&plugin.account, Some(plugin))).collect();
        for (account, plugin) in std::iter::once((fleet, None)).chain(plugins) {
            let Some(seat) = seats.get(&account.name) else { continue };
            let mut around = self.around(account, seat, &seats);
            if plugin.is_none() {
                for name in &removed {
                    self.no_leave(name, &mut around)?;
                }
            }
            let old = seat.old.as_ref().map_or_else(Map::new, |old| old.nats.clone());
            let mut nats = match plugin {
                None => claims::fleet(account, &around, old),
                Some(plugin) => claims::plugin(plugin, &around, old),
            };
            if !seat.revoked.is_empty() {
                nats.insert("revocations".to_owned(), seat.revoked.clone().into());
            }
            if self.account(&account.name, seat, nats)? {
                changed.insert(account.name.clone());
            }
        }
        for name in &removed {
            if let Some(claims) = self.claims(&files::account(&self.name, name))? {
                self.files.remove(&files::pushed(&claims.subject));
            }
        }
        Ok((logins, changed, removed))
    }

    /// Accounts of this fleet's plugins that are there and not wanted.
    fn removed(&self, fleet: &str, wanted: &BTreeMap<String, Seat>) -> Vec<String> {
        let mut names = self.files.named(&files::accounts(&self.name));
        let beginning = format!("{fleet}-");
        names.retain(|name| name.starts_with(&beginning) && !wanted.contains_key(name));
        names
    }

    /// An account that may use nothing any more, since when it was first not wanted.
    fn no_leave(&self, name: &str, around: &mut Around) -> Result<(), Refused> {
        if let Some(claims) = self.claims(&files::account(&self.name, name))? {
            around.gone.entry(claims.subject).or_insert_with(|| self.now.into());
        }
        Ok(())
    }
}
