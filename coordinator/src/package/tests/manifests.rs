//! Two thousand manifests that mean harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_config::PluginId;
use fastrand::Rng;
use serde_json::{Value, json};

use super::super::manifest::check;
use super::{grown, with_little_memory};
use crate::registry::{Known, Policies, decide};

const CASES: u64 = 2000;
const SEED: u64 = 20_262;
const PATIENCE: Duration = Duration::from_secs(30);
/// An error is for people.
const MAX_ERROR: usize = 16 << 10;
/// Fields that a manifest may have, and with which values of their kind.
const FIELDS: [&str; 30] = [
    "id",
    "name",
    "version",
    "priority",
    "queue",
    "dataSchema",
    "description",
    "author",
    "repository",
    "website",
    "license",
    "tags",
    "type",
    "timeout",
    "progressTimeout",
    "dependencies",
    "reads",
    "filter",
    "configSchema",
    "retry",
    "onDependencyFailure",
    "concurrency",
    "maxInFlight",
    "entryPoint",
    "protocol",
    "minEngineVersion",
    "maxEngineVersion",
    "capabilities",
    "permissions",
    "ui",
];

fn honest() -> Value {
    json!({
        "id": "p", "name": "P", "version": "1.0.0", "priority": 15, "queue": "fast",
        "dataSchema": {"p/{n}": {"type": "string"}}, "entryPoint": {"main": "run"},
        "configSchema": {"key": {"type": "string", "secret": true}},
        "filter": {"extensions": ["mkv"]}, "dependencies": ["q"], "permissions": ["network.http"],
    })
}

/// A value of any kind, some of them large.
fn value(rng: &mut Rng, depth: u8) -> Value {
    match rng.u8(..if depth > 3 { 11 } else { 13 }) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(u64::MAX),
        4 => json!(f64::MAX * rng.f64()),
        5 => json!(-0.0),
        6 => json!(""),
        7 => json!("../../etc/passwd\u{0}\u{1b}[2J\u{202e}"),
        8 => json!("x".repeat(rng.usize(..100_000))),
        9 => json!("{n}/*/".repeat(rng.usize(1..2000))),
        10 => json!(["1.0.0", "fast", "q", "*", "USER", "p"][rng.usize(..6)]),
        11 => (0..rng.usize(..40)).map(|_| value(rng, depth + 1)).collect(),
        _ => {
            let fields = (0..rng.usize(..20)).map(|_| {
                let name = if rng.bool() { FIELDS[rng.usize(..30)].to_owned() } else { text(rng) };
                (name, value(rng, depth + 1))
            });
            Value::Object(fields.collect())
        }
    }
}

fn text(rng: &mut Rng) -> String {
    let length = rng.usize(..30);
    std::iter::repeat_with(|| rng.char(..)).take(length).collect()
}

/// The text of a manifest, and what must be said of it; `None` = nothing in particular.
fn make(rng: &mut Rng, n: u64) -> (Vec<u8>, Option<&'static str>) {
    let mut manifest = honest();
    match n % 16 {
        0 => {
            let field = FIELDS[rng.usize(..30)];
            manifest[field] = value(rng, 0);
        }
        1 => {
            for _ in 0..rng.usize(1..8) {
                let field = FIELDS[rng.usize(..30)];
                manifest[field] = value(rng, 0);
            }
        }
        2 => {
            let field =
                ["id", "name", "version", "priority", "queue", "dataSchema"][rng.usize(..6)];
            manifest.as_object_mut().unwrap().remove(field);
            return (manifest.to_string().into_bytes(), Some("is required"));
        }
        3 => {
            let depth = rng.usize(128..100_000);
            let text =
                manifest.to_string().replacen('{', &format!("{{\"ui\":{}", "[".repeat(depth)), 1);
            return (text.into_bytes(), Some("recursion limit exceeded"));
        }
        4 => {
            manifest["ui"] = json!("x".repeat(rng.usize(1 << 20..6 << 20)));
            return (manifest.to_string().into_bytes(), None);
        }
        5 => {
            let many = (0..rng.usize(1000..30_000)).map(|n| format!("BAD {n}"));
            manifest["dependencies"] = many.collect();
            return (manifest.to_string().into_bytes(), Some("dependencies: "));
        }
        6 => {
            let many = (0..rng.usize(1000..20_000)).map(|n| (format!("//{n}"), json!({})));
            manifest["dataSchema"] = Value::Object(many.collect());
            return (manifest.to_string().into_bytes(), Some("dataSchema: "));
        }
        7 => {
            let text = manifest.to_string().into_bytes();
            let length = rng.usize(..text.len());
            return (text[..length].to_vec(), Some("manifest.json: "));
        }
        8 => {
            let mut text = manifest.to_string().into_bytes();
            for _ in 0..rng.usize(1..8) {
                let at = rng.usize(..text.len());
                text[at] ^= 1 << rng.u8(..8);
            }
            return (text, None);
        }
        9 => {
            let mut text = manifest.to_string().into_bytes();
            let at = rng.usize(..text.len());
            text[at] = rng.u8(0x80..);
            return (text, Some("utf-8"));
        }
        10 => {
            let number = ["1e400", "-1e999", "00", "0x1", "NaN", "1e-400"][rng.usize(..6)];
            let text = manifest.to_string().replacen("15", number, 1);
            return (text.into_bytes(), Some("manifest.json: "));
        }
        11 => {
            let twice = manifest.to_string().replacen('{', "{\"id\":\"q\",", 1);
            return (twice.into_bytes(), Some("duplicate field"));
        }
        12 => {
            let main = ["../../bin/sh", "/bin/sh", "", "run\u{0}", "a/../../b", "gone", ".."];
            manifest["entryPoint"] = json!({ "main": main[rng.usize(..7)] });
            return (manifest.to_string().into_bytes(), Some("entryPoint.main: "));
        }
        13 => {
            let (first, last) =
                [("2.0.0", "1"), ("1", "1"), ("1.0.0", "x"), ("1.0.0", "1.2.3.4")][rng.usize(..4)];
            manifest["minEngineVersion"] = json!(first);
            manifest["maxEngineVersion"] = json!(last);
            return (manifest.to_string().into_bytes(), Some("EngineVersion: "));
        }
        14 => {
            let id = ["P", "../p", "user", "a b", "", "p.q", "p\u{0}", "é"][rng.usize(..8)];
            manifest["id"] = json!(id);
            return (manifest.to_string().into_bytes(), Some("id: "));
        }
        _ => {
            let text = value(rng, 0).to_string();
            return (text.into_bytes(), Some("manifest.json: "));
        }
    }
    (manifest.to_string().into_bytes(), None)
}

#[test]
fn two_thousand_hostile_manifests_are_answered() -> anyhow::Result<()> {
    let test = "package::tests::manifests::two_thousand_hostile_manifests_are_answered";
    with_little_memory(test, || {
        println!("seed {SEED}, {CASES} manifests");
        let (mut taken, mut served) = (0, 0);
        for n in 0..CASES {
            let what = format!("seed {}", SEED + n);
            let (text, says) = make(&mut Rng::with_seed(SEED + n), n);
            let since = jiff::Timestamp::now();
            let is_executable = |name: &str| (name == "run").then_some(true);
            let (checked, grown) = grown(|| check(&text, is_executable))?;
            // A tree of what was written, a few words for each of its values.
            let most = 32 * 1024 + 40 * (text.len() as u64 >> 10);
            anyhow::ensure!(grown < most, "{what} took {grown} KiB of memory");
            match checked {
                Ok(manifest) => {
                    assert_eq!(says, None, "{what}: taken: {}", text.escape_ascii());
                    taken += 1;
                    // What is well in itself may announce itself.
                    let (policies, entries) = (Policies::new(), BTreeMap::new());
                    let expected: BTreeSet<PluginId> = ["q".parse()?].into();
                    let known = Known {
                        entries: &entries,
                        policies: &policies,
                        expected: &expected,
                        keeps: false,
                    };
                    match decide(&manifest.id, &manifest, known, "now") {
                        Ok(_) => served += 1,
                        Err(reasons) => assert!(!reasons.is_empty(), "{what}"),
                    }
                }
                Err(reasons) => {
                    let told = reasons.join("; ");
                    assert!(told.starts_with("manifest.json: "), "{what}: {told}");
                    assert!(told.len() < MAX_ERROR, "{what}: {} bytes", told.len());
                    let says = says.unwrap_or_default();
                    assert!(told.contains(says), "{what}: expected `{says}`: {told}");
                }
            }
            let took = since.duration_until(jiff::Timestamp::now());
            anyhow::ensure!(took.unsigned_abs() < PATIENCE, "{what} took {took:?}");
        }
        println!("{taken} were well in themselves, {served} of them may serve");
        Ok(())
    })
}
