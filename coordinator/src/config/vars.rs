//! The environment; the only module that reads it.

use std::collections::BTreeMap;

/// Variables, as the environment has them.
pub trait Vars {
    /// The value of `name`; `None` when it is unset or not UTF-8.
    fn get(&self, name: &str) -> Option<String>;

    /// All variables whose name begins with `prefix`.
    fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String>;

    /// The value of `name`, unless it is empty: for variables whose empty value says nothing.
    fn non_empty(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Env;

impl Vars for Env {
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(prefix))
            .collect()
    }
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        Self::get(self, name).cloned()
    }

    fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        self.iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// Variables written out, for tests.
#[cfg(test)]
pub(crate) fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_and_the_environment_answer_alike() {
        let map = vars(&[("OTEL_A", "1"), ("OTEL_B", ""), ("X", "2")]);
        assert_eq!(Vars::get(&map, "X").as_deref(), Some("2"));
        assert_eq!(map.non_empty("OTEL_B"), None);
        assert_eq!(map.with_prefix("OTEL_").len(), 2);
        assert!(Env.get("PATH").is_some());
        assert_eq!(Env.with_prefix("PATH").get("PATH"), Env.get("PATH").as_ref());
    }
}
