//! PURE: what a server is told of an operator.

use std::path::Path;

use super::issue::{Issued, Pushed};

/// Where a server has the tokens of accounts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolver {
    /// From a folder of its own, and from whoever pushes.
    #[default]
    Full,
    /// From its configuration alone.
    Memory,
}

/// The lines of a server's configuration; `store` is where it keeps its data.
#[must_use]
pub fn render(issued: &Issued, resolver: Resolver, store: &Path) -> String {
    let (name, token) = (&issued.operator, &issued.operator_token);
    let mut text = format!("# Operator {name}\noperator: {token}\n\n");
    text.push_str(&format!(
        "# System account {}\nsystem_account: {}\n\n",
        issued.system.name, issued.system.key
    ));
    match resolver {
        Resolver::Full => {
            let folder = serde_json::Value::from(store.join("jwt").display().to_string());
            text.push_str(&format!(
                "resolver {{\n  type: full\n  # The server writes here what is pushed.\n  dir: {folder}\n  \
                 allow_delete: true\n  interval: \"2m\"\n  timeout: \"1.9s\"\n}}\n"
            ));
        }
        Resolver::Memory => text.push_str("resolver: MEMORY\n"),
    }
    text.push_str("\nresolver_preload {\n");
    for Pushed { name, key, token, .. } in issued.accounts() {
        text.push_str(&format!("  # {name}\n  {key}: {token}\n"));
    }
    text.push_str("}\n");
    text
}
