//! The metadata API, route by route.

use broker_config::Record;
use broker_config::wire::event::Outcome;
use integration_tests::bridge::{Asked, Bench, Odd, later, manifest, ok, send, text};
use integration_tests::{Fleet, Script, manifest as native};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use worker_sdk::{Meta, Outcome as Done};

/// A file `film` with metadata of a plugin, and a bridge.
async fn bench(fleet: &Fleet) -> anyhow::Result<(Bench, integration_tests::bridge::Listening)> {
    let odd = Odd::calls_back(json!({}));
    let (bench, listening) = Bench::serving(fleet, &odd).await?;
    let schema =
        json!({"dataSchema": {"title": {}, "genres": {"type": "set"}, "j": {"type": "json"}}});
    let script = Script::new(|_| async {
        let mut meta = Meta::new();
        meta.text("title", "Theirs").set("genres", ["Drama", "Film"]).json("j", json!({"a": 1}));
        Ok(Done::Completed(meta))
    });
    let _worker = fleet.worker(&native("early", &schema)?, &script).await?;
    fleet.run("film").await?;
    Ok((bench, listening))
}

async fn user(fleet: &Fleet, cid: &str) -> anyhow::Result<Option<Record>> {
    let found = fleet.record(cid, "user").await?;
    Ok(found.map(|(record, ..)| record))
}

#[tokio::test]
async fn people_read_the_merged_view_and_write_their_own_layer() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (bench, _listening) = bench(&fleet).await?;
    let before = (fleet.recorded("film", "early").await?, fleet.recorded("film", "odd").await?);
    let seen = async || -> anyhow::Result<Value> {
        let answer = send("GET", &bench.meta("film", ""), &[], "").await?;
        assert_eq!(
            (answer.status, &answer.headers["content-type"]),
            (200, &"application/json".parse()?)
        );
        Ok(serde_json::from_slice(&answer.body)?)
    };
    let theirs =
        json!({"genres": "Drama|Film", "j": "{\"a\":1}", "odd/done": "yes", "title": "Theirs"});
    assert_eq!(seen().await?, theirs);

    // method, behind the content id, body, status, answer, what is seen then
    let done = r#"{"success":true}"#;
    let steps = [
        ("GET", "/title", "", 200, "Theirs", theirs.clone()),
        ("GET", "/genres", "", 200, "Drama|Film", theirs.clone()),
        ("GET", "/none", "", 404, "", theirs.clone()),
        (
            "PUT",
            "/title",
            "Mine",
            200,
            done,
            json!({"genres": "Drama|Film", "j": "{\"a\":1}", "odd/done": "yes", "title": "Mine"}),
        ),
        (
            "POST",
            "/_add/genres",
            "Sea",
            200,
            done,
            json!({"genres": "Drama|Film|Sea", "j": "{\"a\":1}", "odd/done": "yes", "title": "Mine"}),
        ),
        (
            "POST",
            "/_add/genres",
            "a|b",
            400,
            "",
            json!({"genres": "Drama|Film|Sea", "j": "{\"a\":1}", "odd/done": "yes", "title": "Mine"}),
        ),
        (
            "DELETE",
            "/j",
            "",
            200,
            done,
            json!({"genres": "Drama|Film|Sea", "odd/done": "yes", "title": "Mine"}),
        ),
        (
            "DELETE",
            "/j",
            "",
            404,
            "",
            json!({"genres": "Drama|Film|Sea", "odd/done": "yes", "title": "Mine"}),
        ),
        (
            "PATCH",
            "",
            r#"{"year":1999,"odd/done":null,"fileinfo/streamdetails/video/0/codec":"h265"}"#,
            200,
            r#"{"success":true,"updated":3}"#,
            json!({"fileinfo/streamdetails/video/0/codec": "h265", "genres": "Drama|Film|Sea", "title": "Mine", "year": "1999"}),
        ),
        (
            "PUT",
            "/genres",
            "Noir|War",
            200,
            done,
            json!({"fileinfo/streamdetails/video/0/codec": "h265", "genres": "Noir|War", "title": "Mine", "year": "1999"}),
        ),
        (
            "PATCH",
            "",
            "[]",
            400,
            "",
            json!({"fileinfo/streamdetails/video/0/codec": "h265", "genres": "Noir|War", "title": "Mine", "year": "1999"}),
        ),
        (
            "PATCH",
            "",
            r#"{"a//b":"x"}"#,
            400,
            "",
            json!({"fileinfo/streamdetails/video/0/codec": "h265", "genres": "Noir|War", "title": "Mine", "year": "1999"}),
        ),
        (
            "PUT",
            "",
            r#"{"title":"Only","genres":"A|B"}"#,
            200,
            done,
            json!({"genres": "A|B", "title": "Only"}),
        ),
        ("DELETE", "", "", 200, done, json!({})),
        ("PUT", "/title", "Back", 200, done, json!({"title": "Back"})),
    ];
    for (method, route, body, status, answer, after) in steps {
        let said = send(method, &bench.meta("film", route), &[], body).await?;
        let shown = format!("{method} {route} {body}: {}", text(&said));
        assert_eq!(said.status, status, "{shown}");
        if status == 200 {
            assert_eq!(text(&said), answer, "{shown}");
        } else {
            assert_eq!(said.headers["content-type"], "application/problem+json", "{shown}");
        }
        assert_eq!(seen().await?, after, "{shown}");
    }

    let after = (fleet.recorded("film", "early").await?, fleet.recorded("film", "odd").await?);
    assert_eq!(before, after, "no plugin's record was touched");
    assert!(user(&fleet, "film").await?.is_some());
    assert_eq!(text(&send("GET", &bench.meta("unknown", ""), &[], "").await?), "{}");
    Ok(())
}

#[tokio::test]
async fn sixteen_clients_add_to_one_set_and_nothing_is_lost() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::calls_back(json!({}));
    // Two bridges, as two coordinators have: the broker's fence is what keeps them apart.
    let (one, _listening) = Bench::serving(&fleet, &odd).await?;
    let two = Bench::start(&fleet, &[_listening.url()?]).await?;
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let url = if client % 2 == 0 { &one } else { &two }.meta("film", "/_add/genres");
        clients.spawn(async move {
            for n in 0..5 {
                let answer = send("POST", &url, &[], &format!("{client}-{n}")).await?;
                anyhow::ensure!(answer.status == 200, "{}", text(&answer));
            }
            Ok(())
        });
    }
    for done in clients.join_all().await {
        done?;
    }
    let genres = text(&send("GET", &one.meta("film", "/genres"), &[], "").await?);
    assert_eq!(genres.split('|').count(), 80, "{genres}");
    Ok(())
}

#[tokio::test]
async fn tags_tell_what_was_read_and_keep_writers_from_overwriting() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (bench, _listening) = bench(&fleet).await?;
    let (title, all) = (bench.meta("film", "/title"), bench.meta("film", ""));
    let tag = async |url: &str| -> anyhow::Result<String> {
        let answer = send("GET", url, &[], "").await?;
        Ok(answer.headers["etag"].to_str()?.to_owned())
    };
    let (old, old_all) = (tag(&title).await?, tag(&all).await?);
    let fresh = send("GET", &title, &[("if-none-match", &old)], "").await?;
    assert_eq!((fresh.status, fresh.body.len()), (304, 0));
    assert_eq!(send("PUT", &title, &[("if-match", &old)], "Mine").await?.status, 200);
    assert_ne!(tag(&title).await?, old);
    for (method, url, name, value, status) in [
        ("PUT", &title, "if-match", old.as_str(), 412),
        ("DELETE", &title, "if-match", &old, 412),
        ("PATCH", &all, "if-match", &old_all, 412),
        ("PUT", &title, "if-none-match", "*", 412),
        ("PUT", &title, "if-match", "*", 200),
    ] {
        let said = send(method, url, &[(name, value)], "{}").await?;
        assert_eq!(said.status, status, "{method} {name} {value}: {}", text(&said));
    }
    assert_eq!(send("GET", &all, &[("if-none-match", &old_all)], "").await?.status, 200);
    let new = bench.meta("film", "/new");
    assert_eq!(send("PUT", &new, &[("if-none-match", "*")], "1").await?.status, 200);
    assert_eq!(send("PUT", &new, &[("if-none-match", "*")], "2").await?.status, 412);
    Ok(())
}

#[tokio::test]
async fn an_attempt_reads_its_own_writes_and_nobody_else_does_until_it_has_ended()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move { asked.accept() });
    odd.set_manifest(ok(&manifest(&json!({"dependencies": ["early"]}))));
    let schema = json!({"dataSchema": {"title": {}, "genres": {"type": "set"}}});
    let script = Script::new(|_| async {
        let mut meta = Meta::new();
        meta.text("title", "Theirs").set("genres", ["Drama"]);
        Ok(Done::Completed(meta))
    });
    let _worker = fleet.worker(&native("early", &schema)?, &script).await?;
    let (bench, _listening) = Bench::serving(&fleet, &odd).await?;
    let run = fleet.submit("film").await?;
    odd.asked_reach(1).await?;
    let asked = Asked { body: odd.asked().remove(0), number: 0 };
    assert_eq!(asked.body["existingMeta"], json!({"genres": "Drama", "title": "Theirs"}));

    for (method, route, body, status, said) in [
        ("GET", "", "", 200, r#"{"genres":"Drama","title":"Theirs"}"#),
        ("PUT", "/odd/done", "1", 200, r#"{"success":true}"#),
        ("GET", "/odd/done", "", 200, "1"),
        ("POST", "/_add/genres", "War", 200, r#"{"success":true}"#),
        ("GET", "/genres", "", 200, "Drama|War"),
        ("DELETE", "/title", "", 200, r#"{"success":true}"#),
        ("GET", "/title", "", 404, ""),
        ("PATCH", "", r#"{"odd/x":"1","odd/y":null}"#, 200, r#"{"success":true,"updated":2}"#),
        ("GET", "", "", 200, r#"{"genres":"Drama|War","odd/done":"1","odd/x":"1"}"#),
        ("DELETE", "", "", 200, r#"{"success":true}"#),
        ("GET", "", "", 200, "{}"),
        ("PUT", "", r#"{"odd/done":"2","genres":"War"}"#, 200, r#"{"success":true}"#),
        ("GET", "/odd/done", "", 200, "2"),
    ] {
        let answer = asked.meta(method, route, body).await?;
        assert_eq!(answer.status, status, "{method} {route}: {}", text(&answer));
        if status == 200 {
            assert_eq!(text(&answer), said, "{method} {route}");
        }
    }
    let public = text(&send("GET", &bench.meta("film", ""), &[], "").await?);
    assert_eq!(public, r#"{"genres":"Drama","title":"Theirs"}"#, "nobody else sees it yet");
    let base = asked.text("metaCoreUrl");
    assert_eq!(send("GET", &format!("{base}/meta/other"), &[], "").await?.status, 403);
    assert_eq!(send("PATCH", &format!("{base}/meta/other"), &[], "{}").await?.status, 403);
    assert_eq!(send("GET", &format!("{base}x/meta/film"), &[], "").await?.status, 404);
    let big = format!(r#"{{"odd/done":"{}"}}"#, "x".repeat(950 << 10));
    assert_eq!(asked.meta("PATCH", "", &big).await?.status, 413);

    asked.call_back(&json!({})).await?;
    assert_eq!(fleet.settled(run).await?.of("odd"), Some(Outcome::Completed));

    let public = text(&send("GET", &bench.meta("film", ""), &[], "").await?);
    assert_eq!(public, r#"{"genres":"Drama|War","odd/done":"2","title":"Theirs"}"#);
    assert_eq!(asked.meta("GET", "", "").await?.status, 410, "the token has ended");
    assert!(user(&fleet, "film").await?.is_none(), "a task writes no person's layer");
    Ok(())
}

#[tokio::test]
async fn a_file_whose_id_is_any_text_is_reached() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let odd = Odd::new(|asked| async move {
        later(asked.clone(), async move |asked| {
            asked.meta("PUT", "/odd/done", "ö").await?;
            asked.call_back(&json!({})).await.map(drop)
        });
        asked.accept()
    });
    let (bench, _listening) = Bench::serving(&fleet, &odd).await?;
    let cid = "midhash256:abc123def456";
    assert_eq!(fleet.run(cid).await?.of("odd"), Some(Outcome::Completed));
    assert_eq!(text(&send("GET", &bench.meta(cid, "/odd/done"), &[], "").await?), "ö");
    let spelled = bench.meta("midhash256%3Aabc123def456", "/odd%2Fdone");
    assert_eq!(text(&send("GET", &spelled, &[], "").await?), "ö");
    Ok(())
}

#[tokio::test]
async fn a_value_that_could_not_be_read_again_is_refused() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let (bench, _listening) = bench(&fleet).await?;
    let json = [("content-type", "application/json")];
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(send("PUT", &bench.meta("film", "/title"), &[], "Mine").await?.status, 200);

    // Up to 128 the JSON itself can be read; the record around it could not.
    for (depth, expected) in [(65, 400), (126, 400), (128, 400), (64, 200)] {
        let one = send("PUT", &bench.meta("film", "/j"), &json, &nested(depth)).await?;
        assert_eq!(one.status, expected, "{depth}: {}", text(&one));
        let many = format!("{{\"j\": {}}}", nested(depth));
        let many = send("PATCH", &bench.meta("film", ""), &json, &many).await?;
        assert_eq!(many.status, expected, "{depth}: {}", text(&many));
    }

    let seen = send("GET", &bench.meta("film", ""), &[], "").await?;
    let seen: Value = serde_json::from_slice(&seen.body)?;
    assert_eq!((&seen["title"], &seen["j"]), (&json!("Mine"), &json!(nested(64))));
    assert_eq!(send("PUT", &bench.meta("film", "/title"), &[], "Mine, too").await?.status, 200);
    Ok(())
}
