//! PURE: amounts of things: memory, processors, instances.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::super::super::vars::Vars;
use super::super::super::yaml::{Field, Value};
use super::super::Resources;
use super::{Findings, MAX_TIMEOUT_MS, Set, count, each, read, rule, unknown};
use crate::scale::cap::millis;
use crate::scale::{Bounds, Cap, MAX_INSTANCES};

pub(super) const RESOURCE_FIELDS: &str = "memory, cpus";
const SCALE_FIELDS: &str = "min, max";
const RECYCLE_FIELDS: &str = "afterTasks";
const FLEET_FIELDS: &str = "maxCpus, maxMemory";

/// Between how many and how many instances: `{min: 0, max: 4}`.
pub(super) fn scale(field: &Field, found: &mut Findings) -> Result<Bounds, String> {
    let (before, mut min, mut max) = (found.len(), 1, None);
    each(field, SCALE_FIELDS, found, |part| match part.key.as_str() {
        "min" => number(part, 0).map(|value| min = value),
        "max" => number(part, 1).map(|value| max = NonZeroU32::new(value)),
        _ => Err(unknown(part, SCALE_FIELDS)),
    })?;
    match max.and_then(|max| Bounds::new(min, max)) {
        Some(bounds) => Ok(bounds),
        // Something of it was told already.
        None if found.len() > before => Ok(Bounds::fixed(NonZeroU32::MIN)),
        None if max.is_none() => Err("`scale` needs a `max`".to_owned()),
        None => Err("`scale`: `min` must not be above `max`".to_owned()),
    }
}

/// After how many tasks an instance is replaced: `{afterTasks: 1000}`.
pub(super) fn recycle(field: &Field, found: &mut Findings) -> Result<Option<NonZeroU32>, String> {
    let (before, mut after) = (found.len(), None);
    each(field, RECYCLE_FIELDS, found, |part| match part.key.as_str() {
        "afterTasks" => count(part).map(|value| after = Some(value)),
        _ => Err(unknown(part, RECYCLE_FIELDS)),
    })?;
    if after.is_none() && found.len() == before {
        return Err("`recycle` needs `afterTasks`".to_owned());
    }
    Ok(after)
}

/// What all plugins together may use.
pub(in super::super) fn fleet(field: &Field, vars: &dyn Vars) -> (Cap, Findings) {
    let (mut cap, mut found) = (Cap::default(), Findings::new());
    let mut field = field.clone();
    super::fill_in(&mut field.node, vars, &mut found);
    if !found.is_empty() {
        return (cap, found);
    }
    let result = each(&field, FLEET_FIELDS, &mut found, |part| match part.key.as_str() {
        "maxCpus" => cores(part).map(|cores| cap.millicpus = Some(millis(cores))),
        "maxMemory" => bytes(part).map(|bytes| cap.memory = Some(bytes.get())),
        _ => Err(unknown(part, FLEET_FIELDS)),
    });
    super::note(&mut found, &field, result);
    (cap, found)
}

/// How long something may take.
pub(super) fn time_limit(field: &Field) -> Result<Duration, String> {
    let expected = format!("milliseconds from 1 to {MAX_TIMEOUT_MS}");
    let ms: u64 = read(field, &expected)?;
    let fits = (1..=MAX_TIMEOUT_MS).contains(&ms);
    fits.then(|| Duration::from_millis(ms)).ok_or_else(|| rule(field, &expected))
}

pub(super) fn number(field: &Field, least: u32) -> Result<u32, String> {
    let expected = format!("a whole number from {least} to {MAX_INSTANCES}");
    let number: u32 = read(field, &expected)?;
    let fits = (least..=MAX_INSTANCES).contains(&number);
    fits.then_some(number).ok_or_else(|| rule(field, &expected))
}

pub(super) fn set_resource(resources: &mut Resources, field: &Field) -> Set {
    match field.key.as_str() {
        "memory" => bytes(field).map(|bytes| resources.memory = Some(bytes)),
        "cpus" => cores(field).map(|cores| resources.cpus = Some(cores)),
        _ => Err(unknown(field, RESOURCE_FIELDS)),
    }
}

/// Compose's spelling: a number with `b`, `k`, `m` or `g` (and `kb`, `mb`, `gb`), powers of 1024.
fn memory(text: &str) -> Option<NonZeroU64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    NonZeroU64::new(number.parse::<u64>().ok()?.checked_mul(1 << shift)?)
}

pub(super) fn bytes(field: &Field) -> Result<NonZeroU64, String> {
    let bytes = match &field.node.value {
        Value::Text { text, .. } => memory(text),
        Value::Number(number) => number.as_u64().and_then(NonZeroU64::new),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
    };
    bytes.ok_or_else(|| rule(field, "bytes, or a text like `512m` or `4g`"))
}

fn cores(field: &Field) -> Result<f64, String> {
    let expected = "a number above 0";
    let cores: f64 = read(field, expected)?;
    if cores > 0.0 { Ok(cores) } else { Err(rule(field, expected)) }
}
