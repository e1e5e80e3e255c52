//! Plugins that misbehave, and a `plugins.yml` that is wrong.

use integration_tests::cli::{Home, Up};
use integration_tests::eventually;
use serde_json::{Value, json};

use super::{add, odd_home};

/// A home with a good plugin `odd` beside one that behaves as told.
fn beside(id: &str, behaviour: &[&str], change: &Value, files: usize) -> anyhow::Result<Home> {
    let mut home = odd_home(&["completes"], files)?;
    add(&mut home, id, behaviour, change)?;
    Ok(home)
}

#[tokio::test]
async fn a_crash_loop_is_shown_and_disturbs_nobody() -> anyhow::Result<()> {
    let home = beside("bad", &["crashes"], &json!({}), 3)?;
    let (up, _look) = Up::fleet(&home, 1).await?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(3)), "{summary}");
    up.says("plugin-bad-1").await?;
    up.says("ended with exit code 3").await?;
    up.says("failures=5").await?;
    let log = std::fs::read_to_string(home.data().join("log/plugin-bad-1.log"))?;
    assert!(log.matches("this plugin always crashes").count() >= 5, "{log}");
    let shown = async || {
        let status = home.run(&["status"]).await?.ok()?;
        let bad = status.out.lines().find(|line| line.trim_start().starts_with("bad "));
        let is_failing = bad.is_some_and(|line| line.contains("failing"));
        Ok((is_failing && status.out.contains("crash loop: ended with exit code 3")).then_some(()))
    };
    eventually("the crash loop in `status`", shown).await?;
    up.stop().await
}

#[tokio::test]
async fn a_scan_of_its_own_says_which_plugin_crashes_and_does_without_it() -> anyhow::Result<()> {
    let home = beside("bad", &["crashes"], &json!({}), 3)?;

    let done = home.run(&["scan", &home.file(""), "--output", "json"]).await?.ok()?;

    assert_eq!(done.json::<Value>()?["tasks"]["completed"], 3, "{done:?}");
    done.says("plugin-bad-1 ended: ended with exit code 3; see ")?;
    Ok(())
}

#[tokio::test]
async fn a_flood_of_output_is_bounded_on_disk() -> anyhow::Result<()> {
    let home = beside("bad", &["floods"], &json!({}), 3)?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(6)), "{summary}");
    let log = home.data().join("log/plugin-bad-1.log");
    let bytes = std::fs::metadata(&log)?.len();
    assert!((1 << 20..8 << 20).contains(&bytes), "72 MiB were printed, {bytes} bytes are kept");
    assert!(std::fs::read_to_string(&log)?.contains("lines left out: too much at once"));
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_hangs_is_timed_out_and_given_up_on() -> anyhow::Result<()> {
    let home = beside("bad", &["hangs"], &json!({"timeout": 400}), 2)?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!(code, 6, "{summary}");
    let tasks = json!({"completed": 2, "skipped": 0, "failed": 2, "cached": 0});
    assert_eq!((&summary["tasks"], &summary["dead"]), (&tasks, &json!(2)));
    let letters: Vec<Value> = home.json(&["dead", "list", "--plugin", "bad"]).await?;
    for letter in &letters {
        assert_eq!((&letter["cause"], &letter["attempts"]), (&json!("attempts"), &json!(2)));
        assert!(letter["error"].as_str().is_some_and(|error| error.contains("400")), "{letter}");
    }
    assert!(home.calls("bad")?.values().all(|&attempts| attempts == 2));
    Ok(())
}

#[tokio::test]
async fn metadata_that_may_not_be_written_fails_with_a_clear_error() -> anyhow::Result<()> {
    for (behaviour, words) in [
        (vec!["strays"], ["elsewhere/key", "dataSchema"]),
        (vec!["bloats", "5000000"], ["5000", "bytes"]),
    ] {
        let home = beside("bad", &behaviour, &json!({}), 1)?;

        let (code, summary) = home.scan(&[]).await?;

        assert_eq!((code, &summary["tasks"]["failed"]), (6, &json!(1)), "{summary}");
        let letters: Vec<Value> = home.json(&["dead", "list"]).await?;
        let error = letters[0]["error"].as_str().unwrap_or_default();
        for word in words {
            assert!(error.contains(word), "{behaviour:?}: `{error}` does not say {word}");
        }
        assert_eq!(letters[0]["attempts"], 1, "another attempt would not help");
        let cid = letters[0]["cid"].as_str().unwrap_or_default();
        let seen: Value = home.json(&["meta", "get", cid]).await?;
        assert_eq!(seen, json!({"odd/done": "1.0.0"}), "nothing of it was kept");
    }
    Ok(())
}

#[tokio::test]
async fn metadata_that_is_too_much_for_one_task_fails_the_plugin_that_would_read_it()
-> anyhow::Result<()> {
    // A megabyte is fine; what two plugins wrote together is more than one message may hold.
    let mut home = beside("one", &["bloats", "1048576"], &json!({}), 2)?;
    add(&mut home, "two", &["bloats", "3500000"], &json!({}))?;
    let needs = json!({"dependencies": ["one", "two"]});
    add(&mut home, "both", &["completes"], &needs)?;
    add(&mut home, "small", &["completes"], &json!({"dependencies": ["one"]}))?;

    let (code, summary) = home.scan(&[]).await?;

    assert_eq!(code, 6, "{summary}");
    let tasks = json!({"completed": 8, "skipped": 0, "failed": 2, "cached": 0});
    assert_eq!(summary["tasks"], tasks, "{summary}");
    let letters: Vec<Value> = home.json(&["dead", "list"]).await?;
    for letter in &letters {
        assert_eq!(letter["pluginId"], "both", "{}", letter["error"]);
        assert!(letter["error"].as_str().is_some_and(|error| error.contains("bytes")));
    }
    assert_eq!(letters.len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_entry_of_plugins_yml_that_is_wrong_is_named_and_the_others_run() -> anyhow::Result<()> {
    let mut home = odd_home(&["completes"], 2)?.with_var("SPEED", "3");
    add(&mut home, "keyed", &["completes"], &json!({"configSchema": {"key": {"type": "string"}}}))?;
    add(&mut home, "typo", &["completes"], &json!({}))?;
    let text = "plugins:\n  odd:\n    instances: 2\n    concurrency: ${SPEED}\n  keyed:\n    \
                config:\n      key: ${NOBODY_SET_THIS}\n  typo:\n    instanzes: 3\n  \
                missing: {}\n";
    let file = home.root().join("plugins.yml");
    std::fs::write(&file, text)?;

    let file = file.to_string_lossy();
    let library = home.file("");
    let done = home.run(&["scan", &library, "--output", "json", "--plugins", &file]).await?.ok()?;

    for words in [
        vec![&*file, ":7", "keyed", "NOBODY_SET_THIS"],
        vec![&*file, ":9", "typo", "unknown field `instanzes`"],
        vec!["missing", "in no plugin folder"],
    ] {
        let told = done.err.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(told, "no line says {words:?}: {}", done.err);
    }
    assert_eq!(done.json::<Value>()?["tasks"]["completed"], 2, "only `odd` runs: {done:?}");
    assert!(home.data().join("log/plugin-odd-2.log").exists(), "two of it");
    assert!(!home.data().join("log/plugin-typo-1.log").exists());

    let gone = home.run(&["scan", &library, "--plugins", "no/such.yml"]).await?.ended(2)?;
    gone.says("no/such.yml")?;

    std::fs::write(&*file, "plugins: [\n")?;
    let before = home.calls("odd")?;
    let broken = home.run(&["scan", &library, "--plugins", &file]).await?.ended(2)?;
    broken.says(&format!("{file}:"))?;
    assert_eq!(home.calls("odd")?, before, "nothing was started");
    Ok(())
}
