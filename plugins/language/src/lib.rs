//! Unites the languages of a file under one spelling.
//!
//! Streams say `ger`, `deu` or `German`, names say `VOSTFR`, sidecars `pt_br`: here they become BCP 47
//! tags with the shortest code of ISO 639. All decisions are in pure modules; no file is opened.

mod gather;
mod table;
mod tag;

use serde_json::Value;
use worker_sdk::{Context, Failure, Manifest, Meta, Outcome, Plugin};

pub use self::gather::Languages;
pub use self::tag::{name, normalise};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Language;

impl Plugin for Language {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let sidecars = ctx.file().sidecars.iter().map(|sidecar| sidecar.name.as_str());
        let found = Languages::gather(ctx.existing(), &ctx.file().name, sidecars);
        let all = found.all();
        if all.is_empty() {
            return Ok(Outcome::skipped("nothing says a language"));
        }
        let names = all.iter().map(|tag| ((*tag).to_owned(), Value::String(name(tag)))).collect();
        let mut meta = Meta::new();
        meta.set("language/all", all.iter().copied())
            .set("language/audio", found.audio.iter().cloned())
            .set("language/subtitle", found.subtitle.iter().cloned())
            .set("language/filename", found.filename.iter().cloned())
            .text_opt("language/default", found.default.as_ref())
            .json("language/names", Value::Object(names));
        Ok(Outcome::Completed(meta))
    }
}

#[cfg(test)]
mod tests {
    use worker_sdk::MetaValue;
    use worker_sdk::testing::Bench;

    use super::*;

    #[tokio::test]
    async fn streams_and_sidecars_become_tags_with_names() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("film.mkv");
        for name in ["film.mkv", "film.pt-BR.srt", "film.nfo"] {
            std::fs::write(home.path().join(name), b"x")?;
        }
        let known = [
            ("fileinfo/streamdetails/audio/0/language", "ger"),
            ("fileinfo/streamdetails/subtitle/0/language", "eng"),
        ];

        let report = Bench::new(Language).existing(known).run(&file).await;

        for (key, expected) in [
            ("language/audio", "de"),
            ("language/subtitle", "en|pt-BR"),
            ("language/all", "de|en|pt-BR"),
            ("language/default", "de"),
            ("language/names", r#"{"de":"German","en":"English","pt-BR":"Portuguese (Brazil)"}"#),
        ] {
            let found = report.meta().get(key).map(MetaValue::to_flat);
            assert_eq!(found.as_deref(), Some(expected), "{key}: {:?}", report.outcome);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_file_of_unknown_language_is_skipped() {
        let known = [("fileinfo/streamdetails/audio/0/language", "und")];

        let report = Bench::new(Language).existing(known).run("/none/film.mkv").await;

        assert!(matches!(report.outcome, Ok(Outcome::Skipped { .. })), "{:?}", report.outcome);
    }
}
