//! What shells and people at a terminal get.

use integration_tests::cli::Home;

#[tokio::test]
async fn completions_are_there_for_the_usual_shells() -> anyhow::Result<()> {
    let home = Home::new()?;
    for (shell, words) in [
        ("bash", ["_metafleet()", "requeue"]),
        ("zsh", ["#compdef metafleet", "requeue"]),
        ("fish", ["complete -c metafleet", "requeue"]),
    ] {
        let done = home.run(&["completions", shell]).await?.ok()?;
        for word in words {
            assert!(done.out.contains(word), "{shell} lacks {word}");
        }
        assert_eq!(done.err, "");
    }
    home.run(&["completions", "tcl"]).await?.ended(2)?;
    Ok(())
}

#[tokio::test]
async fn colours_are_only_where_they_are_wanted() -> anyhow::Result<()> {
    let home = super::odd_home(&["completes"], 1)?;
    home.scan(&[]).await?;
    let plain = home.run(&["file", "list"]).await?.ok()?;
    assert!(plain.out.contains("PATH") && !plain.out.contains('\u{1b}'), "{plain:?}");

    let home = home.with_var("CLICOLOR_FORCE", "1");
    let forced = home.run(&["file", "list"]).await?.ok()?;
    assert!(forced.out.contains("\u{1b}[1m"), "{forced:?}");

    let home = home.with_var("NO_COLOR", "1");
    assert_eq!(home.run(&["file", "list"]).await?.ok()?.out, plain.out);
    Ok(())
}

#[tokio::test]
async fn help_is_data_and_errors_are_not() -> anyhow::Result<()> {
    let home = Home::new()?;
    let help = home.run(&["--help"]).await?.ok()?;
    assert!(help.out.contains("Exit codes: 0 done") && help.err.is_empty(), "{help:?}");
    let version = home.run(&["--version"]).await?.ok()?;
    assert!(version.out.starts_with("metafleet "), "{version:?}");
    let wrong = home.run(&["status", "--output", "yaml"]).await?.ended(2)?;
    assert!(wrong.out.is_empty() && wrong.err.contains("yaml"), "{wrong:?}");
    Ok(())
}
