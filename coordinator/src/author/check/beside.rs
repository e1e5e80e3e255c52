//! PURE: plugins beside the others: what they need, and who writes and reads which key.

use std::collections::BTreeMap;

use broker_config::manifest::DataType;
use broker_config::{Manifest, PluginId};

use super::overlap::overlaps;
use super::{Finding, Subject, push};
use crate::fingerprint::fact_keys;
use crate::graph::{Graph, Refusal};
use crate::registry::{PluginPolicy, spec};

/// Judges each subject beside all others and what is installed; a subject stands in the place of an
/// installed plugin of its id.
#[must_use]
pub fn judge(subjects: &[Subject], installed: &[Manifest]) -> BTreeMap<PluginId, Vec<Finding>> {
    let mut all: BTreeMap<&PluginId, &Manifest> =
        installed.iter().map(|manifest| (&manifest.id, manifest)).collect();
    all.extend(subjects.iter().map(|subject| (&subject.manifest.id, &subject.manifest)));
    let policy = PluginPolicy::default();
    let specs = all.values().map(|manifest| spec(manifest, &policy)).collect();
    let (graph, refused) = Graph::build(specs);
    let mut found = BTreeMap::new();
    for subject in subjects {
        let id = &subject.manifest.id;
        let mut findings = Vec::new();
        match refused.get(id) {
            Some(refusal) => findings.push(refused_because(subject, refusal)),
            None => findings.extend(reads(subject, &all, &graph)),
        }
        let others = all.iter().filter(|(other, _)| **other != id).map(|(_, other)| *other);
        for other in others {
            findings.extend(written_twice(subject, other));
        }
        found.insert(id.clone(), findings);
    }
    found
}

fn refused_because(subject: &Subject, refusal: &Refusal) -> Finding {
    let (Refusal::Cycle(way) | Refusal::Unknown(way)) = refusal;
    // The way of a cycle may begin at a plugin behind this one.
    let next = way.iter().position(|id| *id == subject.manifest.id).and_then(|at| way.get(at + 1));
    let pointer = next.map_or_else(|| "/dependencies".to_owned(), |id| dependency(subject, id));
    let advice = match refusal {
        Refusal::Cycle(_) => "one of them must do without the other".to_owned(),
        Refusal::Unknown(way) => {
            let missing = way.last().map_or("it", PluginId::as_str);
            format!("install {missing}, or name the folder it lies in with --installed")
        }
    };
    Finding::error(pointer, refusal.to_string()).advise(advice)
}

/// Where a manifest names a dependency.
fn dependency(subject: &Subject, id: &PluginId) -> String {
    let all = subject.raw.get("dependencies").and_then(serde_json::Value::as_array);
    let at = all.and_then(|all| all.iter().position(|one| one.as_str() == Some(id.as_str())));
    at.map_or_else(|| "/dependencies".to_owned(), |at| format!("/dependencies/{at}"))
}

/// A key, or a family of them, that a plugin writes.
#[derive(Clone, Copy)]
struct Key<'a> {
    /// What it is declared under.
    name: &'a str,
    pattern: &'a str,
    kind: DataType,
}

fn keys(manifest: &Manifest) -> impl Iterator<Item = Key<'_>> {
    manifest.data_schema.iter().map(|(name, field)| {
        // With a pattern, the name is only a name.
        let pattern = field.pattern.as_deref().unwrap_or(name);
        Key { name, pattern, kind: field.kind }
    })
}

fn written_twice(subject: &Subject, other: &Manifest) -> Vec<Finding> {
    let mine = &subject.manifest;
    let mut findings = Vec::new();
    for key in keys(mine) {
        let clashes = |theirs: &Key<'_>| {
            // Sets unite.
            let unite = (key.kind, theirs.kind) == (DataType::Set, DataType::Set);
            !unite && overlaps(key.pattern, theirs.pattern)
        };
        let Some(theirs) = keys(other).find(clashes) else { continue };
        let mine_wins = (mine.priority, &mine.id) > (other.priority, &other.id);
        let (first, second) = if mine_wins { (mine, other) } else { (other, mine) };
        let why = if first.priority == second.priority {
            format!("both have priority {}, and its id is the later one", first.priority)
        } else {
            format!("priority {} over {}", first.priority, second.priority)
        };
        let as_what = if theirs.pattern == key.pattern {
            String::new()
        } else {
            format!(" as `{}`", theirs.pattern)
        };
        let what = format!(
            "`{}` is written by {} too{as_what}; what {} says counts ({why})",
            key.pattern, other.id, first.id
        );
        let advice = format!("write below `{}/`, unless one is to stand over the other", mine.id);
        findings.push(Finding::warning(push("/dataSchema", key.name), what).advise(advice));
    }
    findings
}

/// Keys that the plugin wants to see and never will.
fn reads(subject: &Subject, all: &BTreeMap<&PluginId, &Manifest>, graph: &Graph) -> Vec<Finding> {
    let Some(reads) = &subject.manifest.reads else { return Vec::new() };
    let inputs = graph.nodes.get(&subject.manifest.id).map_or(&[][..], |node| &node.inputs);
    let writes =
        |manifest: &Manifest, read: &str| keys(manifest).any(|key| overlaps(key.pattern, read));
    let mut findings = Vec::new();
    for (at, pattern) in reads.iter().enumerate() {
        let mut needed = inputs.iter().filter_map(|id| all.get(id));
        let is_fact = fact_keys().any(|fact| overlaps(fact, pattern));
        if is_fact || needed.any(|manifest| writes(manifest, pattern)) {
            continue;
        }
        let pointer = format!("/reads/{at}");
        let stranger =
            all.values().find(|other| other.id != subject.manifest.id && writes(other, pattern));
        findings.push(match stranger {
            Some(other) => Finding::warning(
                pointer,
                format!("`{pattern}` is written by {}, which it does not depend on", other.id),
            )
            .advise(format!("add `{}` to dependencies", other.id)),
            None => Finding::warning(pointer, format!("nobody writes `{pattern}`"))
                .advise("look for a slip of the pen, or install the plugin that writes it"),
        });
    }
    findings
}

#[cfg(test)]
mod tests;
