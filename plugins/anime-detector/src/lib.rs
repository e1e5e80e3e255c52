//! Decides whether a video is anime, and says why.
//!
//! Others have read the names, the streams and the `.nfo`; here what they wrote is weighed. Reading
//! ([`Evidence`]) and weighing ([`judge`]) are pure.

mod evidence;
mod score;

use worker_sdk::{
    Context, Failure, InvalidSettings, Manifest, Meta, MetaValue, Outcome, Plugin, Settings,
};

pub use self::evidence::Evidence;
pub use self::score::{DEFAULT_THRESHOLD, Verdict, judge};

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnimeDetector;

impl Plugin for AnimeDetector {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        threshold(settings).map(drop)
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let threshold = threshold(ctx.settings()).map_err(Failure::permanent)?;
        let sidecars = ctx.file().sidecars.iter().map(|sidecar| sidecar.name.as_str());
        // What the library calls it, wherever it is here.
        let path = ctx.task().path.to_path();
        let evidence = Evidence::collect(ctx.existing(), &path, sidecars);
        let verdict = judge(&evidence, threshold);
        let mut meta = Meta::new();
        meta.text("anime/isAnime", verdict.is_anime)
            .text("anime/score", verdict.score)
            .set("anime/reasons", verdict.reasons);
        if verdict.is_anime {
            let first = |keys: &[&str]| {
                keys.iter().find_map(|key| ctx.existing().get(*key).and_then(MetaValue::as_text))
            };
            meta.text_opt("anime/group", first(&["filename/group"]));
            let episode = first(&["filename/absoluteEpisode", "filename/episode"]);
            meta.text_opt("anime/episode", episode);
        }
        Ok(Outcome::Completed(meta))
    }
}

fn threshold(settings: &Settings) -> Result<u32, InvalidSettings> {
    let Some(given) = settings.get("threshold") else { return Ok(DEFAULT_THRESHOLD) };
    // JavaScript's numbers have no integers: `50.0` is 50
    let whole = given.as_u64().or_else(|| {
        let number = given.as_f64().filter(|number| number.fract() == 0.0)?;
        (1..=100_u32).find(|&n| f64::from(n) == number).map(u64::from)
    });
    whole
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=100).contains(number))
        .ok_or_else(|| InvalidSettings::new(format!("threshold: {given} must be 1 to 100")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use worker_sdk::testing::Bench;

    use super::*;

    const FANSUB: [(&str, &str); 6] = [
        ("filename/group", "Group"),
        ("filename/groupPosition", "front"),
        ("filename/absoluteEpisode", "3"),
        ("filename/episode", "3"),
        ("filename/crc32", "ABCD1234"),
        ("fileinfo/streamdetails/audio/0/language", "jpn"),
    ];

    #[tokio::test]
    async fn a_fansub_release_is_anime() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("[Group] Show - 03 [ABCD1234].mkv");
        std::fs::write(&file, b"x")?;
        std::fs::write(home.path().join("[Group] Show - 03 [ABCD1234].en.ass"), b"x")?;

        let report = Bench::new(AnimeDetector).existing(FANSUB).run(&file).await;

        for (key, expected) in [
            ("anime/isAnime", "true"),
            ("anime/score", "100"),
            ("anime/group", "Group"),
            ("anime/episode", "3"),
        ] {
            assert_eq!(report.text(key), Some(expected), "{key}: {:?}", report.outcome);
        }
        let reasons = report.meta().get("anime/reasons").map(MetaValue::to_flat);
        let expected =
            "absolute-numbering|checksum-in-name|group-in-front|japanese-audio|styled-subtitles";
        assert_eq!(reasons.as_deref(), Some(expected));
        Ok(())
    }

    #[tokio::test]
    async fn a_film_is_not_and_has_no_group_of_anime() {
        let known = [("filename/group", "TEAM"), ("filename/groupPosition", "end")];

        let report = Bench::new(AnimeDetector).existing(known).run("/m/Film.mkv").await;

        assert_eq!(report.text("anime/isAnime"), Some("false"), "{:?}", report.outcome);
        assert_eq!(report.text("anime/score"), Some("0"));
        assert_eq!(report.text("anime/group"), None);
    }

    #[tokio::test]
    async fn the_threshold_can_be_set_and_is_checked() {
        for (value, expected) in [
            (json!(91), Ok("false")),
            (json!(90), Ok("true")),
            (json!(90.0), Ok("true")),
            (json!(0), Err("must be 1 to 100")),
            (json!(101), Err("must be 1 to 100")),
            (json!(50.5), Err("must be 1 to 100")),
        ] {
            let bench = Bench::new(AnimeDetector).settings(json!({ "threshold": value }));

            let report = bench.existing(FANSUB).run("/m/a.mkv").await;

            match (expected, &report.outcome) {
                (Ok(text), Ok(_)) => {
                    assert_eq!(report.text("anime/isAnime"), Some(text), "{value}");
                }
                (Err(text), Err(failure)) => {
                    assert!(failure.to_string().contains(text), "{value}: {failure}");
                }
                (_, outcome) => panic!("{value}: {outcome:?}"),
            }
        }
    }
}
