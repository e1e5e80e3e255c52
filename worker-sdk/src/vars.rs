//! The environment, as text; the only place that reads it.

use std::os::unix::ffi::OsStringExt;

/// The value of an environment variable; `None` when it is unset, empty or not UTF-8.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
pub(crate) fn from_process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The same for one that need not be UTF-8, because it holds paths.
#[must_use]
pub(crate) fn bytes_from_process(name: &str) -> Option<Vec<u8>> {
    let value = std::env::var_os(name).map(OsStringExt::into_vec);
    value.filter(|value| !value.is_empty())
}
