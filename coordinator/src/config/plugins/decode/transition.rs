//! PURE: the field `transition`.

use super::{Field, Findings, Set, Value, each, read, rule, unknown};
use crate::transition::{How, Plan, Steps};

const FIELDS: &str = "how, steps, minTasks, minSeconds";

/// Reads the field: a word, or a map with details.
pub(super) fn transition(field: &Field, found: &mut Findings) -> Result<Plan, String> {
    let mut plan = Plan::default();
    if let Value::Text { .. } = field.node.value {
        plan.how = how(field)?;
        return Ok(plan);
    }
    let mut details = None;
    each(field, FIELDS, found, |part| {
        if part.key != "how" {
            details.get_or_insert_with(|| part.key.clone());
        }
        set(&mut plan, part)
    })?;
    match details {
        Some(key) if plan.how != How::Gradual && found.is_empty() => {
            Err(format!("`transition`: `{key}` is for `how: gradual`"))
        }
        Some(_) | None => Ok(plan),
    }
}

fn set(plan: &mut Plan, field: &Field) -> Set {
    match field.key.as_str() {
        "how" => how(field).map(|value| plan.how = value),
        "steps" => {
            let steps: Vec<u8> = read(field, Steps::RULE)?;
            plan.steps = Steps::try_from(steps).map_err(|_| rule(field, Steps::RULE))?;
            Ok(())
        }
        "minTasks" => read(field, "a whole number from 0").map(|value| plan.tasks = value),
        "minSeconds" => read(field, "seconds").map(|seconds: u32| {
            plan.step_ms = u64::from(seconds) * 1000;
        }),
        _ => Err(unknown(field, FIELDS)),
    }
}

fn how(field: &Field) -> Result<How, String> {
    read(field, "immediate, graceful, gradual or blue-green")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::PluginsFile;
    use crate::config::vars::vars;

    #[test]
    fn the_way_to_another_version_is_a_word_or_a_map() {
        let plan = |how| Plan { how, ..Plan::default() };
        let steps = |list: &[u8]| Steps::try_from(list.to_vec()).unwrap();
        for (text, expected) in [
            ("immediate", Ok(plan(How::Immediate))),
            ("blue-green", Ok(plan(How::BlueGreen))),
            ("{how: gradual}", Ok(plan(How::Gradual))),
            (
                "{how: gradual, steps: [10, 50], minTasks: 5, minSeconds: 2}",
                Ok(Plan {
                    how: How::Gradual,
                    steps: steps(&[10, 50, 100]),
                    tasks: 5,
                    step_ms: 2_000,
                }),
            ),
            ("slowly", Err("must be immediate, graceful, gradual or blue-green")),
            ("{how: gradual, steps: [50, 10]}", Err("`steps` must be rising")),
            ("{how: graceful, steps: [50]}", Err("`steps` is for `how: gradual`")),
            ("{how: gradual, stages: [50]}", Err("unknown field `stages`")),
            ("[gradual]", Err("must be a map of fields")),
        ] {
            let text = format!("plugins: {{p: {{transition: {text}}}}}");
            let file = PluginsFile::parse(Path::new("plugins.yml"), &text, &vars(&[])).unwrap();
            let entry = file.entries.get(&"p".parse().unwrap());
            match expected {
                Ok(plan) => assert_eq!(entry.unwrap().transition, Some(plan), "{text}"),
                Err(rule) => {
                    let told: Vec<_> = file.problems.iter().map(ToString::to_string).collect();
                    assert!(matches!(&told[..], [one] if one.contains(rule)), "{text}: {told:?}");
                }
            }
        }
    }
}
