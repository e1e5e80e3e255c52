//! PURE: how a plugin fits to those that are there already.

use std::collections::BTreeMap;

use broker_config::{Manifest, PluginId};

use crate::graph::{Graph, Refusal};
use crate::registry::{PluginPolicy, spec};

/// What a person should know of a plugin that comes to the others; it is well all the same.
///
/// # Errors
///
/// Why it can never take part: it would need itself.
pub fn ways(
    manifest: &Manifest,
    others: &BTreeMap<PluginId, Manifest>,
) -> Result<Vec<String>, String> {
    let id = &manifest.id;
    let mut all = others.clone();
    all.insert(id.clone(), manifest.clone());
    let is_there: Vec<PluginId> = all.keys().cloned().collect();
    let policy = PluginPolicy::default();
    let specs = all.into_values().map(|mut manifest| {
        // What may still come says nothing of a cycle, and would hide it.
        manifest.dependencies.retain(|needed| is_there.contains(needed));
        spec(&manifest, &policy)
    });
    match Graph::build(specs.collect()).1.remove(id) {
        Some(refusal @ Refusal::Cycle(_)) => return Err(format!("{id} {refusal}")),
        Some(Refusal::Unknown(_)) | None => {}
    }
    let missing = manifest.dependencies.iter().filter(|needed| !is_there.contains(needed));
    Ok(missing
        .map(|needed| format!("{id} waits for {needed}, which is not among the plugins here"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::spec;

    #[test]
    fn a_missing_plugin_is_told_and_a_cycle_refused() {
        for (needs, others, warnings, error) in [
            (&[][..], &[][..], 0, None),
            (&["a"], &[("a", &[][..])], 0, None),
            (&["a", "b"], &[("a", &["z"])], 1, None),
            (&["a"], &[("a", &["p"])], 0, Some("p → a → p")),
            (&["missing", "a"], &[("a", &["gone", "p"])], 0, Some("p → a → p")),
            (&["p"], &[], 0, Some("p → p")),
            (&[], &[("a", &["b"]), ("b", &["a"])], 0, None),
        ] {
            let new = spec("p", 20, needs).manifest;
            let others = others.iter().map(|(id, needs)| spec(id, 20, needs).manifest);
            let others = others.map(|manifest| (manifest.id.clone(), manifest)).collect();
            match (ways(&new, &others), error) {
                (Ok(told), None) => assert_eq!(told.len(), warnings, "{needs:?}: {told:?}"),
                (Err(told), Some(text)) => assert!(told.contains(text), "{told}"),
                (found, error) => panic!("{needs:?}: {found:?}, expected {error:?}"),
            }
        }
    }
}
