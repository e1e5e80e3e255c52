//! The environment, as text; the only place that reads it.

/// The value of an environment variable; `None` when it is unset, empty or not UTF-8.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
pub(crate) fn from_process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
