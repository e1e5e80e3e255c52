//! Secrets in settings.

use std::path::{Path, PathBuf};

use integration_tests::cli::Up;
use serde_json::{Value, json};

use super::{add, odd_home};

const SECRET: &str = "hush-4f1c9e77";

/// Every file below `dir`, the broker's store left out: it is read through the broker.
fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "store") {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_secret_setting_reaches_the_plugin_and_nobody_else() -> anyhow::Result<()> {
    let mut home = odd_home(&["completes"], 2)?
        .with_var("ODD_KEY", SECRET)
        .with_var("METAFLEET_LOG", "debug,async_nats=info");
    let secret = json!({"type": "string", "secret": true, "required": true});
    let schema = json!({"key": secret, "site": {"type": "string"}});
    add(&mut home, "keyed", &["needs", "key"], &json!({"configSchema": schema}))?;
    // A secret of the wrong kind must not be quoted by whoever complains.
    let number = json!({"type": "number", "secret": true});
    add(&mut home, "wrong", &["completes"], &json!({"configSchema": {"key": number}}))?;
    let text = "plugins:\n  keyed:\n    config: {key: \"${ODD_KEY}\", site: example.org}\n  \
                wrong:\n    config: {key: \"${ODD_KEY}\"}\n";
    std::fs::create_dir_all(home.data())?;
    std::fs::write(home.data().join("plugins.yml"), text)?;
    let (up, look) = Up::fleet(&home, 2).await?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(4)), "it had its key: {summary}");
    let shown: Value = home.json(&["plugin", "show", "keyed"]).await?;
    assert_eq!(shown["settings"], json!({"key": "***", "site": "example.org"}), "{shown}");
    for arguments in [
        vec!["status"],
        vec!["plugin", "list"],
        vec!["plugin", "show", "keyed"],
        vec!["plugin", "show", "wrong"],
        vec!["event", "tail", "--since", "1", "--no-follow"],
        vec!["dead", "list"],
        vec!["file", "show", &home.file("0/0000.txt")],
        vec!["meta", "get", &home.file("0/0000.txt"), "--provenance"],
    ] {
        for format in ["json", "table"] {
            let done = home.run(&[&arguments[..], &["--output", format]].concat()).await?;
            assert!(!format!("{done:?}").contains(SECRET), "{arguments:?} shows it");
        }
    }
    let (mut messages, streams) = (0, look.streams().await?);
    assert!(streams.len() >= 10, "{streams:?}");
    for stream in streams {
        for message in look.messages(&stream).await? {
            let text =
                format!("{:?} {}", message.headers, String::from_utf8_lossy(&message.payload));
            assert!(!text.contains(SECRET), "{} on {stream} holds it", message.subject);
            messages += 1;
        }
    }
    assert!(messages > 20, "{messages} were looked at");
    let said = up.said();
    assert!(said.contains("DEBUG"), "it said little: {said}");
    assert!(!said.contains(SECRET), "the fleet's own log shows it");
    up.stop().await?;
    for file in files(home.data())? {
        let content = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        assert!(!content.contains(SECRET), "{} holds it", file.display());
    }
    Ok(())
}
