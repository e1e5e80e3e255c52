//! PURE: the JSON Schema of `plugins.yml`, for editors and programs.
//!
//! It says what a schema can say. What depends on the machine or on numbers beside each other, e.g.
//! that `min` is not above `max`, only the fleet itself finds. A test holds it beside the decoder.

use serde_json::{Map, Value, json};

use super::decode::{MAX_TIMEOUT_MS, MOST_ROUTES};
use crate::scale::MAX_INSTANCES;

/// The beginning of what is taken as a version; the decoder reads it whole.
const SEMVER: &str = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?$";

/// The schema, as it lies in `broker-config/schema/plugins.schema.json`.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:metafleet:plugins-file:v1",
        "title": "plugins.yml",
        "description": "Which plugins a fleet runs, how many of each, with which settings.",
        "type": ["object", "null"],
        "properties": {
            "plugins": {
                "description": "The plugins by id.",
                "type": ["object", "null"],
                "propertyNames": {"$ref": "#/$defs/id"},
                "additionalProperties": {"$ref": "#/$defs/plugin"},
            },
            "fleet": object(
                "What all instances together may use; who names nothing counts as 1 cpu and 1g.",
                [
                    ("maxCpus", described("Processor cores.", cores())),
                    ("maxMemory", described("Memory.", memory())),
                ],
            ),
        },
        "patternProperties": {"^x-": {"description": "For pieces that are used by anchor."}},
        "additionalProperties": false,
        "$defs": {
            "id": {
                "description": "Up to 64 letters a to z, digits and hyphens.",
                "type": "string",
                "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
                "maxLength": 64,
                "not": {"enum": ["user", "coordinator"]},
            },
            "variable": {
                "description": "Filled in from the environment: ${NAME} or ${NAME:-default}.",
                "type": "string",
                "pattern": "\\$\\{",
            },
            "plugin": plugin(),
        },
    })
}

fn plugin() -> Value {
    let mut plugin = object("A plugin; without fields, all is as by default.", fields());
    let needs = |fields: &[&str]| json!({"type": "object", "required": fields});
    // The same rules as `decode::whole`, as far as they are about which fields there are.
    let never =
        [needs(&["instances", "scale"]), needs(&["url", "urls"]), needs(&["runtime", "type"])];
    plugin["not"] = json!({"anyOf": never});
    plugin
}

fn fields() -> Vec<(&'static str, Value)> {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let count = || or_variable(&json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}));
    let number = |least: u32| {
        or_variable(&json!({"type": "integer", "minimum": least, "maximum": MAX_INSTANCES}))
    };
    let one_of = |words: &[&str]| or_variable(&json!({"enum": words}));
    let mut program = texts();
    program["minItems"] = json!(1);
    vec![
        ("enabled", described("Whether it takes part.", or_variable(&json!({"type": "boolean"})))),
        (
            "runtime",
            described("What starts it.", one_of(&["process", "remote", "docker", "internal"])),
        ),
        ("type", described("MetaMesh's word for `runtime`.", one_of(&["container", "internal"]))),
        ("protocol", described("What it speaks.", one_of(&["nats", "http"]))),
        ("url", described("Where an HTTP plugin listens.", text())),
        ("urls", described("Where each instance of a remote HTTP plugin listens.", texts())),
        ("command", described("The program and its arguments.", program)),
        ("dir", described("Its folder, relative to that of this file.", text())),
        ("instances", described("How many of it run.", number(1))),
        (
            "scale",
            object(
                "Between how many and how many run, by what waits; instead of `instances`.",
                [
                    ("min", described("The fewest; 0 lets it sleep.", number(0))),
                    ("max", described("The most.", number(1))),
                ],
            ),
        ),
        ("concurrency", described("Tasks that one instance runs at once.", count())),
        ("maxInFlight", described("Tasks at once over the whole fleet.", count())),
        ("queue", described("Where its tasks wait.", one_of(&["fast", "background"]))),
        ("timeout", described("Milliseconds for one attempt.", timeout())),
        (
            "progressTimeout",
            described("Milliseconds from one report of progress to the next.", timeout()),
        ),
        ("retry", retry()),
        (
            "onDependencyFailure",
            described(
                "Whether it runs although something it depends on has failed.",
                one_of(&["run", "skip"]),
            ),
        ),
        (
            "recycle",
            object(
                "When an instance is replaced by a fresh one.",
                [("afterTasks", described("After so many tasks.", count()))],
            ),
        ),
        ("resources", resources("What one instance may use.")),
        (
            "image",
            json!({
                "description": "The container image, or one for each version.",
                "anyOf": [
                    text(),
                    {
                        "type": "object",
                        "minProperties": 1,
                        "propertyNames": {"pattern": SEMVER},
                        "additionalProperties": text(),
                    },
                ],
            }),
        ),
        ("config", described("Settings for the plugin.", json!({"type": ["object", "null"]}))),
        ("permissions", described("What it may do beyond the default.", texts())),
        (
            "mounts",
            described(
                "What of this machine it sees: source:target, read-only unless :rw.",
                json!({"type": "array", "items": {"type": "string", "pattern": "\\$\\{|^[^:]+:/[^:]+(:r[ow])?$"}}),
            ),
        ),
        (
            "isolation",
            described(
                "Whether its processes are kept apart.",
                // Older YAML takes the words for true and false.
                or_variable(&json!({"enum": ["on", "off", true, false]})),
            ),
        ),
        ("transition", transition()),
        ("routes", routes()),
        (
            "labels",
            described(
                "Labels of its containers.",
                json!({
                    "type": "object",
                    "propertyNames": {"minLength": 1, "not": {"pattern": "^metafleet\\."}},
                    "additionalProperties": {"type": "string"},
                }),
            ),
        ),
    ]
}

fn resources(what: &str) -> Value {
    let memory = described("Memory.", memory());
    object(what, [("memory", memory), ("cpus", described("Processor cores.", cores()))])
}

fn transition() -> Value {
    let how = || or_variable(&json!({"enum": ["immediate", "graceful", "gradual", "blue-green"]}));
    let count = || or_variable(&json!({"type": "integer", "minimum": 0}));
    let step = or_variable(&json!({"type": "integer", "minimum": 1, "maximum": 100}));
    let steps = json!({"type": "array", "minItems": 1, "items": step});
    let details = object(
        "The same with details.",
        [
            ("how", described("How it goes.", how())),
            ("steps", described("Gradual: percents of the files, rising.", steps)),
            ("minTasks", described("Gradual: tasks the new version does in each step.", count())),
            ("minSeconds", described("Gradual: how long each step lasts.", count())),
        ],
    );
    described("How a new version takes over.", json!({"anyOf": [how(), details]}))
}

fn routes() -> Value {
    let size = |what| described(what, memory());
    let texts = |what| {
        let item = json!({"type": "string", "minLength": 1});
        described(what, json!({"type": "array", "minItems": 1, "items": item}))
    };
    let mut when = object(
        "Which files: all that is given must hold.",
        [
            ("minSize", size("The smallest.")),
            ("maxSize", size("The largest.")),
            ("mimeTypes", texts("Media types; `video/*` is every video.")),
            ("extensions", texts("Extensions without the dot.")),
            ("libraries", texts("Libraries by name, or folders; in one of them it must be.")),
        ],
    );
    when["type"] = json!("object");
    when["minProperties"] = json!(1);
    let remote = or_variable(&json!({"const": "remote"}));
    let number = or_variable(&json!({"type": "integer", "minimum": 1, "maximum": MAX_INSTANCES}));
    let mut route = object(
        "A route.",
        [
            ("when", when),
            ("runtime", described("Somebody else starts its workers; the default.", remote)),
            ("instances", described("Processes of the fleet's own that serve it.", number)),
            ("resources", resources("What one of these may use.")),
        ],
    );
    route["type"] = json!("object");
    route["required"] = json!(["when"]);
    json!({
        "description": "Files that go to workers of their own; the first that fits counts.",
        "type": ["object", "null"],
        "propertyNames": {
            "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            "maxLength": 24,
            "not": {"enum": ["main", "next"]},
        },
        "additionalProperties": route,
        "maxProperties": MOST_ROUTES,
    })
}

fn retry() -> Value {
    let millis = || or_variable(&json!({"type": "integer", "minimum": 0}));
    let count = or_variable(&json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}));
    let delays = json!({"type": ["array", "null"], "items": millis()});
    object(
        "How failures are tried again.",
        [
            ("maxAttempts", described("Attempts in all, the first included.", count)),
            (
                "backoff",
                described(
                    "How delays grow.",
                    or_variable(&json!({"enum": ["exponential", "fixed"]})),
                ),
            ),
            ("initialDelay", described("The first delay in milliseconds.", millis())),
            ("maxDelay", described("The longest delay in milliseconds.", millis())),
            ("delaysMs", described("The delays themselves; instead of the three above.", delays)),
        ],
    )
}

/// A map with these fields and no others; it may be left empty.
fn object(what: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let properties: Map<String, Value> =
        fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({
        "description": what,
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn described(what: &str, mut schema: Value) -> Value {
    schema["description"] = what.into();
    schema
}

/// Where no text may stand, a variable still may.
fn or_variable(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"$ref": "#/$defs/variable"}]})
}

fn cores() -> Value {
    or_variable(&json!({"type": "number", "exclusiveMinimum": 0}))
}

fn memory() -> Value {
    json!({"anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "\\$\\{|^\\s*0*[1-9][0-9]*([bB]|[kKmMgG][bB]?)?\\s*$"},
    ]})
}

fn timeout() -> Value {
    or_variable(&json!({"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MS}))
}
