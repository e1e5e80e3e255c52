//! Metadata, and the person's own layer on top.

use anyhow::Context as _;
use integration_tests::cli::Home;
use integration_tests::heavy;
use serde_json::{Value, json};

const FILM: &str = "Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019).mkv";

#[tokio::test]
async fn what_a_person_wrote_is_seen_first_and_no_run_overwrites_it() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    home.scan(&[]).await?;
    let film = home.file(FILM);
    let get = async || home.json::<Value>(&["meta", "get", &film]).await;
    let before = get().await?;
    assert_eq!(before["title"], "The Quiet Harbour", "{before}");
    assert_eq!(before["genres"], json!(["Drama", "Mystery"]));
    assert_eq!(before["fileinfo/streamdetails/audio/1/language"], "jpn", "the map is flat");

    for arguments in [
        vec!["meta", "set", &film, "title", "My Harbour"],
        vec!["meta", "add", &film, "genres", "Seaside", "Drama"],
        vec!["meta", "unset", &film, "tagline"],
        vec!["meta", "set", &film, "mine/rating", "5"],
    ] {
        let done = home.run(&arguments).await?.ok()?;
        assert_eq!(done.out, "", "{arguments:?} has no data to print");
    }
    let mine = get().await?;
    assert_eq!(mine["title"], "My Harbour");
    assert_eq!(mine["genres"], json!(["Drama", "Mystery", "Seaside"]));
    assert_eq!((mine.get("tagline"), &mine["mine/rating"]), (None, &json!("5")));

    let (_, summary) = home.scan(&["--force"]).await?;

    assert!(summary["tasks"]["completed"].as_u64() > Some(90), "{summary}");
    assert_eq!(get().await?, mine, "the same after every plugin ran again");
    let told: Value = home.json(&["meta", "get", &film, "--provenance"]).await?;
    assert_eq!(told["title"]["from"][0]["plugin"], "user", "{}", told["title"]);
    let genres = told["genres"]["from"].as_array().context("sources")?;
    assert_eq!(genres.len(), 2, "both wrote to the set: {genres:?}");
    for source in genres {
        for field in ["plugin", "version", "revision", "at"] {
            assert!(source.get(field).is_some(), "{field} of {source}");
        }
    }

    home.run(&["meta", "unset", &film, "title", "tagline", "genres", "--reset"]).await?.ok()?;
    let mut again = get().await?;
    assert_eq!(again.as_object_mut().and_then(|map| map.remove("mine/rating")), Some(json!("5")));
    assert_eq!(again, before, "the plugins' values are seen again");
    Ok(())
}

#[tokio::test]
async fn keys_are_asked_for_one_by_one_or_by_pattern() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    home.scan(&["--only", "ffmpeg"]).await?;
    let film = home.file(FILM);
    let get = async |key: &str| home.run(&["meta", "get", &film, "--key", key]).await;

    assert_eq!(get("fileinfo/streamdetails/audio/0/language").await?.ok()?.out, "eng\n");
    let pattern = ["meta", "get", &film, "--key", "fileinfo/streamdetails/audio/*/language"];
    let many: Value = home.json(&pattern).await?;
    assert_eq!(
        many,
        json!({
            "fileinfo/streamdetails/audio/0/language": "eng",
            "fileinfo/streamdetails/audio/1/language": "jpn",
        })
    );
    get("no/such/key").await?.ended(3)?.says("has no key `no/such/key`")?;
    home.run(&["meta", "unset", &film, "no/such/key"]).await?.ended(3)?;
    home.run(&["meta", "set", &film, "x", "{", "--json"]).await?.ended(2)?.says("not JSON")?;
    home.run(&["meta", "set", &film, "x", r#"["a","b"]"#, "--json"]).await?.ok()?;
    assert_eq!(
        home.json::<Value>(&["meta", "get", &film, "--key", "x"]).await?,
        json!({"x": ["a", "b"]})
    );
    Ok(())
}
