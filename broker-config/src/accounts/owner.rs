//! PURE: the fleet's account under a name that somebody else has chosen.

use super::Accounts;

impl Accounts {
    /// The same accounts, but that of the fleet is called so.
    ///
    /// For a server whose store is to stay in one folder, whatever the fleet over it is called. The
    /// name must hold no `-`, or it could be that of a plugin's account.
    #[must_use]
    pub fn with_fleet_called(mut self, name: &str) -> Self {
        let before = std::mem::replace(&mut self.fleet.name, name.to_owned());
        for account in self.plugins.iter_mut().map(|plugin| &mut plugin.account) {
            let takes = account.imports.iter_mut().map(|import| &mut import.account);
            let offers = account.exports.iter_mut().filter_map(|export| export.only.as_mut());
            for owner in takes.chain(offers).filter(|owner| **owner == before) {
                name.clone_into(owner);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::Names;

    #[test]
    fn only_the_fleets_account_is_called_otherwise() {
        let plugins = BTreeMap::from([("a".parse().unwrap(), BTreeSet::new())]);
        let as_usual = Accounts::of(&Names::default(), &plugins);

        let called = as_usual.clone().with_fleet_called("FLEET");

        assert_eq!(called.fleet.name, "FLEET");
        assert_eq!(called.plugins[0].account.name, "MF-a");
        let text = format!("{called:?}");
        assert!(!text.contains("\"MF\""), "{text}");
        assert_eq!(called.with_fleet_called("MF"), as_usual);
    }
}
