//! JSON Schemas of the messages, for people and programs without this crate.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::wire;

/// The schemas by file name, as they lie in `schema/`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    macro_rules! schema {
        ($name:literal, $kind:ty) => {{
            let generator = SchemaSettings::draft2020_12().into_generator();
            let mut schema = Value::from(generator.into_root_schema_for::<$kind>());
            schema["$id"] = Value::from(concat!("urn:metafleet:", $name, ":v1"));
            ($name, schema)
        }};
    }
    vec![
        schema!("announce", wire::signal::Announce),
        schema!("announce-reply", wire::signal::AnnounceReply),
        schema!("control", wire::signal::Control),
        schema!("control-reply", wire::signal::ControlReply),
        schema!("dead", wire::dead::DeadLetter),
        schema!("event", wire::event::Event),
        schema!("instance", wire::instance::Instance),
        schema!("manifest", crate::Manifest),
        schema!("plugin", wire::plugin::PluginEntry),
        schema!("record", wire::record::Record),
        schema!("signal", wire::signal::Signal),
        schema!("submission", wire::submission::Submission),
        schema!("task", wire::task::Task),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schemas_on_file_are_those_of_the_types() {
        for (name, schema) in super::all() {
            let path = format!("{}/schema/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
            let now = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("UPDATE_FILES").is_some() {
                std::fs::write(&path, &now).unwrap();
            }
            let file = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(file, now, "{name}: run with UPDATE_FILES=1 and look at the difference");
        }
    }
}
