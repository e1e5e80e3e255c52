//! `metafleet doctor`, on this machine and on one that lacks something.

use broker_config::topology::Topology;
use broker_config::{Names, apply};
use integration_tests::cli::Home;
use integration_tests::{Fleet, Server};
use serde_json::{Value, json};

/// The level of a topic.
fn level<'a>(report: &'a Value, topic: &str) -> Option<&'a str> {
    let findings = report["findings"].as_array()?;
    findings.iter().find(|finding| finding["topic"] == topic)?["level"].as_str()
}

#[tokio::test]
async fn a_machine_that_has_what_is_needed_is_told_so() -> anyhow::Result<()> {
    let home = Home::new()?;

    let done = home.run(&["doctor", "--output", "json"]).await?.ok()?;
    let report: Value = done.json()?;

    for topic in ["nats-server", "data folder", "clock", "plugins.yml", "isolation"] {
        assert_eq!(level(&report, topic), Some("good"), "{topic}: {report:#}");
    }
    assert!(report["facts"]["sandbox"]["landlock"].is_i64(), "{report:#}");
    let told = home.run(&["doctor"]).await?.ok()?;
    for word in ["landlock", "seccomp", "docker", "ffprobe", "open files"] {
        assert!(told.out.contains(word), "{told:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_is_held_against_what_is_guaranteed() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let home = Home::new()?.with_var("NATS_URL", fleet.server.url());
    let before: Value = home.json(&["doctor"]).await?;
    assert_eq!(level(&before, "streams"), Some("note"), "there are none: {before:#}");

    apply(&fleet.js, &Topology::of(&fleet.names, 1)).await?;
    let report: Value = home.json(&["doctor"]).await?;

    for (topic, expected) in [
        ("writes", "good"),
        ("streams", "good"),
        ("limits", "good"),
        ("copies", "note"),
        ("sync", "note"),
        ("accounts", "note"),
    ] {
        assert_eq!(level(&report, topic), Some(expected), "{topic}: {report:#}");
    }
    let broker = &report["facts"]["broker"]["Ok"];
    assert_eq!((&broker["copies"], &broker["embedded"]), (&json!(1), &json!(false)), "{broker}");

    // As where the disk of the server was full: it answers what is read, and nothing that is written.
    let lease = Names::bucket_stream(&fleet.names.lease_bucket());
    let mut config = fleet.js.get_stream(&lease).await?.cached_info().config.clone();
    config.no_ack = true;
    fleet.js.update_stream(config).await?;
    let done = home.run(&["doctor", "--output", "json"]).await?.ended(1)?;
    assert_eq!(level(&done.json()?, "writes"), Some("failure"), "{done:?}");

    let bare = Server::without_jetstream().await?;
    let home = Home::new()?.with_var("NATS_URL", bare.url());
    let done = home.run(&["doctor", "--output", "json"]).await?.ended(1)?;
    assert_eq!(level(&done.json()?, "broker"), Some("failure"), "{done:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_to_do_and_ends_badly() -> anyhow::Result<()> {
    let home = Home::new()?.with_var("NATS_SERVER_BIN", "/none/nats-server");
    let file = home.root().join("plugins.yml");
    let text = "plugins:\n  a: {image: i}\n  b: {command: [x], isolation: off}\n";
    std::fs::write(&file, text)?;
    let file = file.to_string_lossy();
    // A file in the place of the folder.
    std::fs::write(home.root().join("data"), "")?;
    let home = home.with_var("DOCKER_HOST", "unix:///none/docker.sock");

    let done = home.run(&["doctor", "--plugins", &file, "--output", "json"]).await?.ended(1)?;
    let report: Value = done.json()?;

    for topic in ["nats-server", "data folder", "docker"] {
        assert_eq!(level(&report, topic), Some("failure"), "{topic}: {report:#}");
    }
    assert_eq!(level(&report, "isolation"), Some("warning"));
    let findings = report["findings"].as_array().into_iter().flatten();
    let wrong = findings.filter(|finding| finding["level"] != "good");
    for finding in wrong {
        assert!(finding["advice"].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
    }
    Ok(())
}
