//! Ways to reach a fleet: a NATS that exists, two fleets on it, and no way at all.

use integration_tests::Server;
use integration_tests::cli::{Home, Up};
use serde_json::{Value, json};

use super::odd_home;

/// A home whose commands use the server, with a coordinator that runs the plugins of the home.
async fn on(server: &Server, prefix: &str, home: Home) -> anyhow::Result<(Home, Up)> {
    let home = home.with_var("NATS_URL", server.url()).with_var("METAFLEET_PREFIX", prefix);
    let plugins = home.root().join("plugins");
    let coordinator = ["coordinator", "--plugin-dir", &plugins.to_string_lossy()];
    let up = Up::start(&home, &coordinator)?;
    up.says("the coordinator is up").await?;
    Ok((home, up))
}

#[tokio::test]
async fn two_fleets_share_one_server_and_do_not_see_each_other() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let (one, up_one) = on(&server, "mf-one", odd_home(&["completes"], 5)?).await?;
    let (two, up_two) = on(&server, "mf-two", odd_home(&["completes"], 2)?).await?;

    let (first, second) = tokio::try_join!(one.scan(&[]), two.scan(&[]))?;

    for (home, files, (code, summary)) in [(&one, 5, first), (&two, 2, second)] {
        assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(files)), "{summary}");
        let listed: Vec<Value> = home.json(&["file", "list"]).await?;
        assert_eq!(listed.len(), files);
        assert!(!home.data().join("nats").exists(), "no broker of its own");
    }
    up_one.stop().await?;
    up_two.stop().await?;

    // The records are on the server: a scan without plugins or coordinator still reads them.
    let status: Value = one.json(&["status"]).await?;
    assert_eq!(status["records"], 5, "{status}");
    Ok(())
}

#[tokio::test]
async fn a_server_is_named_by_flag_or_by_a_context_of_the_nats_tool() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let home = odd_home(&["completes"], 2)?;
    home.run(&["broker", "check", "--nats", &server.url()])
        .await?
        .ended(1)?
        .says("broker apply")?;
    home.run(&["status", "--nats", &server.url()]).await?.ended(3)?.says("broker apply")?;
    let contexts = home.root().join("config/nats/context");
    std::fs::create_dir_all(&contexts)?;
    std::fs::write(contexts.join("here.json"), json!({"url": server.url()}).to_string())?;
    let config = home.root().join("config").to_string_lossy().into_owned();
    let home = home.with_var("XDG_CONFIG_HOME", config);

    let made: Vec<Value> = home.json(&["broker", "apply", "--context", "here"]).await?;
    assert!(made.len() >= 10 && made.iter().all(|row| row["change"] == "create"), "{made:?}");
    let again: Vec<Value> = home.json(&["broker", "apply", "--context", "here"]).await?;
    assert!(again.iter().all(|row| row["change"] == "unchanged"), "{again:?}");
    home.run(&["broker", "check", "--nats", &server.url()]).await?.ok()?;

    let plugins = home.root().join("plugins").to_string_lossy().into_owned();
    let arguments = ["coordinator", "--context", "here", "--plugin-dir", &plugins];
    let up = Up::start(&home, &arguments)?;
    up.says("the coordinator is up").await?;
    let (code, summary) = home.scan(&["--nats", &server.url()]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(2)), "{summary}");
    home.run(&["status", "--context", "nowhere"]).await?.ended(2)?.says("`nowhere`")?;
    up.stop().await
}

#[tokio::test]
async fn how_a_command_ends_is_as_documented() -> anyhow::Result<()> {
    let home = odd_home(&["hangs"], 1)?;
    let library = home.file("");
    for (arguments, code, words) in [
        (vec!["status"], 4, "no fleet runs"),
        (vec!["status", "--nats", "nats://127.0.0.1:9"], 4, "127.0.0.1:9"),
        (vec!["coordinator", "--nats", "nats://127.0.0.1:9"], 4, "127.0.0.1:9"),
        (vec!["scan", &library, "--nats", "nats://127.0.0.1:9"], 4, "127.0.0.1:9"),
        (vec!["status", "--nats", "nats://h:no"], 2, "must be like"),
        (vec!["coordinator"], 2, "no broker is named"),
        (vec!["scna", &library], 2, "'scan'"),
        (vec!["scan"], 2, "PATH"),
        (vec!["scan", &library, "--timeout", "soon"], 2, "soon"),
        (vec!["scan", "/no/such/folder"], 3, "/no/such/folder"),
        (vec!["scan", &library, "--timeout", "2s"], 124, "1 file not settled yet"),
    ] {
        let done = home.run(&arguments).await?.ended(code)?;
        done.says(words)?;
        let data = done.out.is_empty() || arguments.contains(&"/no/such/folder");
        assert!(data, "{arguments:?}: {}", done.out);
    }
    Ok(())
}
