use worker_sdk::testing::{Bench, Report};

use super::*;

const EPISODE: &str = "<episodedetails><title>The Relay</title><season>1</season><episode>2</episode>\
    <genre>Pilot</genre><aired>2017-09-21</aired><uniqueid type='tvdb'>880102</uniqueid></episodedetails>";
const SHOW: &str = "<tvshow><title>Night Signal</title><year>2017</year><genre>Thriller</genre>\
    <plot>Four.</plot><mpaa>TV-14</mpaa><uniqueid type='tvdb'>880001</uniqueid></tvshow>";

/// A folder with these files; runs the plugin on `file` in it.
async fn run(
    files: &[(&str, &[u8])],
    file: &str,
    existing: &[(&str, &str)],
) -> anyhow::Result<Report> {
    let home = tempfile::tempdir()?;
    let all = files.iter().copied().chain([(file, b"video".as_slice())]);
    for (name, content) in all {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or_else(|| home.path()))?;
        std::fs::write(path, content)?;
    }
    let bench = Bench::new(JellyfinNfo).existing(existing.iter().copied());
    Ok(bench.run(home.path().join(file)).await)
}

fn assert_texts(report: &Report, expected: &[(&str, Option<&str>)]) {
    for (key, value) in expected {
        assert_eq!(report.text(key), *value, "{key}: {:?}", report.outcome);
    }
}

fn set(report: &Report, key: &str) -> String {
    report.meta().get(key).map(worker_sdk::MetaValue::to_flat).unwrap_or_default()
}

#[tokio::test]
async fn a_film_is_described_by_the_file_of_its_name() -> anyhow::Result<()> {
    let own = b"<movie><title>Own</title><uniqueid type='tmdb'>1</uniqueid></movie>".as_slice();
    let of_folder = b"<movie><title>Folder</title></movie>".as_slice();
    let name = "Café (2019).mkv";

    let both = run(&[("Café (2019).nfo", own), ("movie.nfo", of_folder)], name, &[]).await?;
    let folder = run(&[("movie.nfo", of_folder)], name, &[]).await?;

    assert_texts(
        &both,
        &[
            ("title", Some("Own")),
            ("nfo/source", Some("Café (2019).nfo")),
            ("nfo/type", Some("movie")),
            ("nfo/uniqueid/tmdb", Some("1")),
        ],
    );
    assert_texts(&folder, &[("title", Some("Folder")), ("nfo/source", Some("movie.nfo"))]);
    Ok(())
}

#[tokio::test]
async fn an_episode_gets_what_its_show_says_too() -> anyhow::Result<()> {
    let files: &[(&str, &[u8])] =
        &[("Show/tvshow.nfo", SHOW.as_bytes()), ("Show/S1/e2.nfo", EPISODE.as_bytes())];

    let report = run(files, "Show/S1/e2.mkv", &[("filename/type", "episode")]).await?;

    assert_texts(
        &report,
        &[
            ("title", Some("The Relay")),
            ("showTitle", Some("Night Signal")),
            ("season", Some("1")),
            ("episode", Some("2")),
            ("year", Some("2017")),
            ("premiered", Some("2017-09-21")),
            ("mpaa", Some("TV-14")),
            ("plot", None),
            ("nfo/show/plot", Some("Four.")),
            ("nfo/uniqueid/tvdb", Some("880102")),
            ("nfo/show/uniqueid/tvdb", Some("880001")),
            ("nfo/source", Some("e2.nfo")),
            ("nfo/showSource", Some("tvshow.nfo")),
        ],
    );
    assert_eq!(set(&report, "genres"), "Pilot|Thriller");
    Ok(())
}

#[tokio::test]
async fn a_show_describes_an_episode_that_has_no_file_of_its_own() -> anyhow::Result<()> {
    let files: &[(&str, &[u8])] =
        &[("tvshow.nfo", SHOW.as_bytes()), ("S1/movie.nfo", b"<movie><title>No</title></movie>")];

    let report = run(files, "S1/e3.mkv", &[("filename/type", "episode")]).await?;

    assert_texts(&report, &[("title", None), ("showTitle", Some("Night Signal"))]);
    assert_texts(&report, &[("nfo/source", Some("tvshow.nfo"))]);
    Ok(())
}

#[tokio::test]
async fn several_episodes_in_one_file_are_listed() -> anyhow::Result<()> {
    let two = format!("{}{EPISODE}", EPISODE.replace("<episode>2", "<episode>1"));

    let report = run(&[("e.nfo", two.as_bytes())], "e.mkv", &[("filename/episode", "2")]).await?;

    assert_texts(&report, &[("episode", Some("2"))]);
    let listed = report.meta().get("nfo/episodes").map(worker_sdk::MetaValue::to_flat);
    assert!(listed.is_some_and(|list| list.contains(r#""episode":1"#)), "{:?}", report.outcome);
    Ok(())
}

#[tokio::test]
async fn thousands_of_episodes_with_addresses_around_them_take_no_time() -> anyhow::Result<()> {
    let many = "<episodedetails/>".repeat(30_000);
    let addresses = "www.imdb.com/title/tt0133093 ".repeat(15_000);
    let text = format!("{many}{addresses}");
    assert!(u64::try_from(text.len())? < files::MAX_BYTES);

    let begun = tokio::time::Instant::now();
    let report = run(&[("e.nfo", text.as_bytes())], "e.mkv", &[]).await?;

    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_texts(&report, &[("nfo/uniqueid/imdb", Some("tt0133093"))]);
    let listed = report.meta().get("nfo/episodes").map(serde_json::to_value).transpose()?;
    let listed = listed.as_ref().and_then(|list| list.as_array()).map(Vec::len);
    assert_eq!(listed, Some(MAX_EPISODES));
    Ok(())
}

#[tokio::test]
async fn files_without_a_description_are_skipped_with_the_reason() -> anyhow::Result<()> {
    for (files, reason) in [
        (&[][..], "no .nfo beside the file"),
        (&[("a.nfo", "█▀▀ THE GROUP ▀▀█".as_bytes())][..], "a.nfo holds no XML"),
        (
            &[("a.nfo", b"<?xml version='1.0'?><artist/>".as_slice())][..],
            "a.nfo describes no video",
        ),
        (&[("a.nfo/file", b"".as_slice())][..], "no .nfo beside the file"),
    ] {
        let report = run(files, "a.mkv", &[]).await?;

        let found =
            matches!(&report.outcome, Ok(Outcome::Skipped { reason: r }) if r.contains(reason));
        assert!(found, "{reason}: {:?}", report.outcome);
    }
    Ok(())
}

#[tokio::test]
async fn broken_and_oversized_files_fail_for_good_and_say_where() -> anyhow::Result<()> {
    let large = vec![b' '; usize::try_from(files::MAX_BYTES)? + 1];
    let bomb = b"<!DOCTYPE m [<!ENTITY a '&b;&b;'>]>\n<movie/>".as_slice();
    for (content, said) in [
        (b"<movie>\n<title>x\n</movie>".as_slice(), "line 3"),
        (bomb, "line 1: document type"),
        (&large, "over the limit of 1048576 bytes"),
    ] {
        let report = run(&[("a.nfo", content)], "a.mkv", &[]).await?;

        let failure =
            report.outcome.err().map(|failure| (failure.is_retryable(), failure.to_string()));
        let (retryable, text) = failure.unwrap_or_default();
        assert!(!retryable && text.contains(said) && text.contains("a.nfo"), "{said}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_show_costs_an_episode_only_what_the_show_would_say() -> anyhow::Result<()> {
    let files: &[(&str, &[u8])] = &[("tvshow.nfo", b"<tvshow>\n<"), ("e.nfo", EPISODE.as_bytes())];

    let with_own = run(files, "e.mkv", &[]).await?;
    let without = run(&files[..1], "e.mkv", &[]).await?;

    assert_texts(&with_own, &[("title", Some("The Relay"))]);
    assert!(with_own.text("nfo/problem").is_some_and(|text| text.contains("line 2")));
    assert!(without.outcome.is_err_and(|failure| !failure.is_retryable()));
    Ok(())
}

#[tokio::test]
async fn encodings_do_not_matter() -> anyhow::Result<()> {
    let latin = b"<?xml version='1.0' encoding='UTF-8'?><movie><title>Caf\xe9</title></movie>";
    let wide: Vec<u8> = "\u{feff}<movie><title>Café</title></movie>"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for content in
        [latin.as_slice(), &wide, "\u{feff}<movie><title>Café</title></movie>".as_bytes()]
    {
        let report = run(&[("a.nfo", content)], "a.mkv", &[]).await?;

        assert_texts(&report, &[("title", Some("Café"))]);
    }
    Ok(())
}
