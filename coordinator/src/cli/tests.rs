use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_tree_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn what_can_be_typed_is_as_documented() {
    for (line, valid) in [
        ("metafleet up --library films=/f --library music=/m --plugins p.yml --rescan 1h", true),
        ("metafleet up --library films", false),
        ("metafleet up --rescan 0s", false),
        ("metafleet up --replicas 2", false),
        ("metafleet coordinator --nats nats://h:1 --prefix my-fleet", true),
        ("metafleet coordinator --prefix UPPER", false),
        ("metafleet scan /a /b --queue background --force --only a b --wait --timeout 5m", true),
        ("metafleet scan /a --only a,b --only c", true),
        ("metafleet scan /a --allow-mass-deletion", true),
        ("metafleet scan /a --queue slow", false),
        ("metafleet scan", false),
        ("metafleet --data-dir /d -q status --output json", true),
        ("metafleet status --output yaml", false),
        ("metafleet status -q -v", false),
        ("metafleet plugin list", true),
        ("metafleet plugin show ffmpeg", true),
        ("metafleet plugin pause Ffmpeg", false),
        ("metafleet plugin enable ffmpeg", true),
        ("metafleet plugin disable ffmpeg", true),
        ("metafleet plugin restart ffmpeg", true),
        ("metafleet plugin reset ffmpeg", true),
        ("metafleet plugin scale ffmpeg 3", true),
        ("metafleet plugin scale ffmpeg 0", false),
        ("metafleet plugin scale ffmpeg", false),
        ("metafleet plugin logs ffmpeg -f --tail 5 --instance plugin-ffmpeg-1", true),
        ("metafleet plugin config get tmdb", true),
        ("metafleet plugin config set tmdb language=de --from-file apiKey=- --unset adult", true),
        ("metafleet plugin config set tmdb --unset adult", true),
        ("metafleet plugin config set tmdb", false),
        ("metafleet plugin config set tmdb language", false),
        ("metafleet file list /a --limit 5", true),
        ("metafleet file show bagac", true),
        ("metafleet meta get /a --key title --provenance", true),
        ("metafleet meta set /a title Mine", true),
        ("metafleet meta set /a title", false),
        ("metafleet meta unset /a title genres --reset", true),
        ("metafleet meta add /a genres x y", true),
        ("metafleet meta add /a a//b x", false),
        ("metafleet event tail --since 15m --type file.* --count 3", true),
        ("metafleet dead list --plugin a", true),
        ("metafleet plugin conformance -- ./worker --flag", true),
        ("metafleet plugin conformance --list", true),
        ("metafleet plugin conformance --case fence --format junit --report x -- w", true),
        ("metafleet plugin conformance", false),
        ("metafleet plugin conformance --format xml -- w", false),
        ("metafleet dead show 7", true),
        ("metafleet dead requeue 7 8", true),
        ("metafleet dead requeue --all", true),
        ("metafleet dead requeue --plugin a", true),
        ("metafleet dead requeue", false),
        ("metafleet dead drop 7 --all", false),
        ("metafleet broker check --replicas 3", true),
        ("metafleet broker apply --replicas 2", false),
        ("metafleet broker render --server --store-dir /x", true),
        ("metafleet broker render --server --accounts --operator /o --plugin a -K /k", true),
        ("metafleet broker render --server --accounts --operator /o --rotate a", true),
        ("metafleet broker render --server --accounts --operator /o --resolver memory", true),
        ("metafleet broker render --server --accounts --operator /o --resolver url", false),
        ("metafleet broker render --server --accounts --operator /o --keys /k", false),
        ("metafleet broker render --server --accounts --rotate a", false),
        ("metafleet broker render --server --operator /o", false),
        ("metafleet doctor --isolation off", true),
        ("metafleet doctor --isolation some", false),
        ("metafleet bench --rounds 1", true),
        ("metafleet completions bash", true),
        ("metafleet scna /a", false),
    ] {
        assert_eq!(parse(line).is_ok(), valid, "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn a_typing_error_is_answered_with_what_was_meant() {
    let error = parse("metafleet scna /a").unwrap_err().to_string();
    assert!(error.contains("'scan'"), "{error}");
}

#[test]
fn a_path_that_is_not_text_can_be_typed_wherever_a_path_can() {
    let odd = OsStr::from_bytes(b"films=/odd \xff.mkv");
    for line in ["scan", "file show", "file list", "meta get", "up --library"] {
        let words = ["metafleet"].into_iter().chain(line.split(' ')).map(OsStr::new);
        let parsed = Cli::try_parse_from(words.chain([odd]));
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
    }
}
