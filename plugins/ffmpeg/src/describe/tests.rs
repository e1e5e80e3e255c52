use worker_sdk::testing::Bench;
use worker_sdk::{Classify as _, Context, Failure, Manifest, MetaMap, MetaValue, Outcome, Plugin};

use super::*;
use crate::Ffmpeg;
use crate::ffprobe::parse;

#[tokio::test]
async fn a_container_with_several_names_gets_the_one_that_fits() {
    for (names, brand, mime, expected) in [
        ("matroska,webm", None, "video/x-matroska", "matroska"),
        ("matroska,webm", None, "video/webm", "webm"),
        ("mov,mp4,m4a,3gp,3g2,mj2", Some("isom"), "video/mp4", "mp4"),
        ("mov,mp4,m4a,3gp,3g2,mj2", Some("qt  "), "video/quicktime", "mov"),
        ("mov,mp4,m4a,3gp,3g2,mj2", Some("M4A "), "audio/mp4", "m4a"),
        ("mov,mp4,m4a,3gp,3g2,mj2", Some("3gp4"), "video/3gpp", "3gp"),
        ("mov,mp4,m4a,3gp,3g2,mj2", None, "video/mp4", "mov"),
        ("mpegts", None, "video/mp2t", "mpegts"),
    ] {
        let mut answer = json!({"format": {"format_name": names, "tags": {}}});
        if let Some(brand) = brand {
            answer["format"]["tags"]["major_brand"] = brand.into();
        }

        let meta = described(answer, mime).await;

        assert_eq!(text(&meta, "fileinfo/formatName"), Some(expected), "{names} {brand:?} {mime}");
    }
}

#[tokio::test]
async fn properties_of_video_streams_are_read_from_where_they_are() {
    for (stream, property, expected) in [
        (json!({"color_transfer": "smpte2084"}), "hdrType", Some("hdr10")),
        (json!({"color_transfer": "arib-std-b67"}), "hdrType", Some("hlg")),
        (json!({"color_transfer": "bt709"}), "hdrType", None),
        (
            json!({"color_transfer": "smpte2084",
                "side_data_list": [{"side_data_type": "DOVI configuration record"}]}),
            "hdrType",
            Some("dolbyvision"),
        ),
        (json!({"pix_fmt": "yuv420p10le"}), "bitDepth", Some("10")),
        (json!({"pix_fmt": "p010le"}), "bitDepth", Some("10")),
        (json!({"pix_fmt": "yuvj420p"}), "bitDepth", Some("8")),
        (json!({"pix_fmt": "yuv420p", "bits_per_raw_sample": "9"}), "bitDepth", Some("9")),
        (json!({"pix_fmt": "rgb48le"}), "bitDepth", None),
        (
            json!({"avg_frame_rate": "0/0", "r_frame_rate": "30000/1001"}),
            "frameRate",
            Some("29.97"),
        ),
        (json!({"display_aspect_ratio": "0:1"}), "aspect", None),
        (json!({"side_data_list": [{"rotation": -90}]}), "rotation", Some("-90")),
        (json!({"tags": {"BPS": "500"}}), "bitRate", Some("500")),
        (json!({"tags": {"DURATION": "00:01:00.5"}}), "duration", Some("60.5")),
        (json!({"width": 0}), "width", None),
        (json!({"width": -5}), "width", None),
        (json!({"disposition": {"forced": 1}}), "forced", Some("true")),
    ] {
        let mut stream = stream;
        stream["codec_type"] = "video".into();

        let meta = described(with_stream(&stream), "").await;

        let key = format!("fileinfo/streamdetails/video/0/{property}");
        assert_eq!(text(&meta, &key), expected, "{stream}");
    }
}

#[tokio::test]
async fn a_cover_is_not_a_video_stream() {
    let cover = json!({"codec_type": "video", "width": 500, "disposition": {"attached_pic": 1}});

    let meta = described(with_stream(&cover), "").await;

    assert_eq!(text(&meta, "fileinfo/attachedPictures"), Some("1"));
    assert_eq!(text(&meta, "fileinfo/streamdetails/video/0/width"), None);
}

#[tokio::test]
async fn unknown_languages_are_left_out() {
    for (language, expected) in
        [("ENG", Some("eng")), ("pt-BR", Some("pt-br")), ("und", None), ("", None), ("a/b", None)]
    {
        let stream = json!({"codec_type": "audio", "tags": {"LANGUAGE": language}});

        let meta = described(with_stream(&stream), "").await;

        let found = text(&meta, "fileinfo/streamdetails/audio/0/language");
        assert_eq!(found, expected, "{language}");
        let set = expected.map(|language| MetaValue::Set([language.to_owned()].into()));
        assert_eq!(meta.get("fileinfo/audioLanguages"), set.as_ref(), "{language}");
    }
}

#[tokio::test]
async fn names_of_tags_are_made_fit_for_keys() {
    let tags =
        json!({"DATE_RELEASED": "2019", "a/b\u{1}": "x", " ": "gone", "Title": "T", "title": "t"});
    let answer = json!({"format": {"format_name": "ogg", "tags": tags},
        "streams": [{"codec_type": "audio", "tags": {"ARTIST": "A"}}]});

    let meta = described(answer, "audio/ogg").await;

    for (key, expected) in
        [("date_released", "2019"), ("a_b_", "x"), ("title", "T"), ("artist", "A")]
    {
        assert_eq!(text(&meta, &format!("fileinfo/tags/{key}")), Some(expected), "{key}");
    }
}

#[tokio::test]
async fn a_hostile_file_makes_no_record_that_the_broker_refuses() {
    let long = "\u{1F600}".repeat(1_000);
    let tags: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("{n}{long}"), Value::from(long.as_str()))).collect();
    let chapter = json!({"start_time": "0", "end_time": "1e999", "tags": {"title": long}});
    let stream = |kind: &str| {
        json!({"codec_type": kind, "codec_name": long, "profile": long, "channel_layout": long,
            "pix_fmt": long, "tags": {"title": long, "language": long}})
    };
    let streams: Vec<Value> =
        ["video", "audio", "subtitle"].iter().cycle().take(210).map(|kind| stream(kind)).collect();
    let answer = json!({
        "format": {"format_name": long, "format_long_name": long, "tags": tags},
        "chapters": vec![chapter; 2000],
        "streams": streams,
    });

    let meta = described(answer, "video/mp4").await;

    let bytes = serde_json::to_vec(&meta).unwrap().len();
    assert!(bytes < 1_000_000, "{bytes}");
    assert_eq!(text(&meta, "fileinfo/chapterCount"), Some("2000"));
    assert_eq!(text(&meta, "fileinfo/streamCount"), Some("210"));
}

/// A stream with nothing else around it.
fn with_stream(stream: &Value) -> Value {
    json!({"format": {"format_name": "matroska,webm"}, "streams": [stream]})
}

fn text<'a>(meta: &'a MetaMap, key: &str) -> Option<&'a str> {
    meta.get(key)?.as_text()
}

/// What is written about `answer`, checked against the manifest's dataSchema.
async fn described(answer: Value, mime: &'static str) -> MetaMap {
    let report = Bench::new(Answer(answer, mime)).run(file!()).await;
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    report.meta().clone()
}

/// The plugin, but ffprobe's answer is given.
struct Answer(Value, &'static str);

impl Plugin for Answer {
    fn manifest(&self) -> Manifest {
        Ffmpeg::default().manifest()
    }

    async fn process(&self, _: &Context) -> Result<Outcome, Failure> {
        let probe = parse(self.0.to_string().as_bytes()).permanent()?;
        Ok(Outcome::Completed(describe(&probe, self.1)))
    }
}
