//! `metafleet file artifact CID|PATH PLUGIN NAME`

use std::io::IsTerminal as _;

use broker_config::{Artifact, ArtifactName, MetaMap, MetaValue, PluginId};
use clap::Args;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::OneFile;

#[derive(Debug, Args)]
pub(crate) struct ArtifactArgs {
    #[command(flatten)]
    file: OneFile,
    /// The plugin that made it
    plugin: PluginId,
    /// What it is called, as the plugin's metadata says under `artifact`
    name: ArtifactName,
}

pub(crate) async fn run(app: &App, args: &ArtifactArgs) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let ArtifactArgs { file, plugin, name } = args;
        let cid = file.cid(&session.store).await?;
        let records = session.store.records(&cid).await?;
        let bytes = session.store.artifact(&cid, plugin, name).await?.ok_or_else(|| {
            let what = format!("{plugin} has made no `{name}` of `{}`", file.shown());
            Failure::not_found(what)
                .advise("`metafleet meta get` shows what there is, under `artifact` in JSON values")
        })?;
        let told = records.get(plugin).and_then(|(_, record)| told(&record.meta, name));
        match &told {
            Some(told) if !told.is_of(&bytes) => {
                let what = format!("these are not the bytes that {plugin} tells of as `{name}`");
                return Err(Failure::new(Exit::Failure, what).advise(
                    "an attempt that came too late may have stored them; have the plugin run again \
                     on the file with `metafleet scan --force`",
                ));
            }
            Some(_) => {}
            None => {
                app.out.say(&format!("the metadata of {plugin} does not name `{name}`"));
            }
        }
        if std::io::stdout().is_terminal() && !is_plain(&bytes) {
            let failure = Failure::usage(format!("`{name}` is not plain text"));
            return Err(failure.advise("send it to a file: add `> FILE`"));
        }
        app.out.bytes(&bytes)?;
        Ok(Exit::Ok)
    })
    .await
}

/// Whether it is text that cannot steer a terminal.
fn is_plain(bytes: &[u8]) -> bool {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(steers))
}

/// What metadata says of the artefact of this name.
fn told(meta: &MetaMap, name: &ArtifactName) -> Option<Artifact> {
    let json = |value: &MetaValue| match value {
        MetaValue::Json(value) => serde_json::from_value::<Artifact>(value.clone()).ok(),
        MetaValue::Text(_) | MetaValue::Set(_) => None,
    };
    meta.values().filter_map(json).find(|artifact| artifact.artifact == *name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_text_that_steers_no_terminal_is_plain() {
        for (bytes, expected) in [
            (&b"1\r\n00:00 --> 00:01\tHei\n"[..], true),
            ("é – ab".as_bytes(), true),
            (b"\xff\xd8", false),
            (b"a\x1b]52;c;YQ==\x07", false),
            ("\u{9b}31m".as_bytes(), false),
        ] {
            assert_eq!(is_plain(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_artefact_of_a_name_is_found_in_metadata() {
        let told_of =
            |name: &str| json!({"artifact": name, "mediaType": "a/b", "size": 1, "sha256": "x"});
        let mut more = told_of("b");
        more["time"] = json!(1.5);
        let meta: MetaMap = [
            ("a", MetaValue::Text("b".to_owned())),
            ("c", MetaValue::Json(json!({"artifact": "b"}))),
            ("d", MetaValue::Json(told_of("a"))),
            ("e", MetaValue::Json(more)),
            ("f", MetaValue::Set(["b".to_owned()].into())),
        ]
        .map(|(key, value)| (key.parse().unwrap(), value))
        .into();
        for (name, expected) in [("a", true), ("b", true), ("c", false)] {
            let found = told(&meta, &name.parse().unwrap());
            assert_eq!(found.is_some(), expected, "{name}");
            assert!(found.is_none_or(|found| found.artifact.as_str() == name));
        }
    }
}
