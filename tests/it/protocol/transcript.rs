//! The transcripts in PROTOCOL.md, run as they stand there with the `nats` tool.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::HeaderMap;
use broker_config::Lane;
use integration_tests::{Fleet, heavy};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::document::TEXT;

/// Stands in an answer for what differs each time.
const ANYTHING: char = '…';

/// Printed between the blocks.
const BORDER: &str = "---- next block";

/// What a person types, and what it prints.
struct Step {
    typed: &'static str,
    printed: &'static str,
}

fn steps() -> anyhow::Result<Vec<Step>> {
    let marked = TEXT.split("<!-- transcript -->\n").skip(1);
    let steps = marked.map(|part| {
        let (typed, rest) = part.strip_prefix("```sh\n")?.split_once("\n```\n```text\n")?;
        let (printed, _) = rest.split_once("\n```")?;
        Some(Step { typed, printed })
    });
    steps.collect::<Option<_>>().context("a transcript is a block `sh` and a block `text`")
}

/// Whether a line is as written, with anything at all in place of each `…`.
fn fits(line: &str, written: &str) -> bool {
    let parts: Vec<&str> = written.split(ANYTHING).collect();
    let [first, between @ .., last] = parts.as_slice() else { return line == written };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// The lines with something on them; headers, which come in any order, sorted.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let is_header = |line: &str| line.starts_with("Nats-") && line.contains(": ");
    for headers in lines.chunk_by_mut(|one, next| is_header(one) && is_header(next)) {
        headers.sort_unstable();
    }
    lines
}

/// The folder of the tool: where `NATS_CLI` says, else where `make tools` puts it.
fn folder_of_the_tool() -> anyhow::Result<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/natscli-0.4.0/nats");
    let tool = std::env::var_os("NATS_CLI").map_or(made, PathBuf::from);
    ensure!(tool.is_file(), "no {}: run `make tools`, or let NATS_CLI name it", tool.display());
    Ok(tool.parent().context("a folder")?.to_owned())
}

/// What a shell does with what is pasted into it, where `nats` is the tool and the broker that of the fleet.
async fn pasted(fleet: &Fleet, folder: &Path, typed: &str) -> anyhow::Result<Output> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = vec![folder_of_the_tool()?];
    paths.extend(std::env::split_paths(&path));
    // A home of its own: the tool reads contexts from there.
    let shell = Command::new("sh")
        .args(["-c", typed])
        .current_dir(folder)
        .env("HOME", folder)
        .env("PATH", std::env::join_paths(paths)?)
        .env("NATS_URL", fleet.server.url())
        .kill_on_drop(true)
        .output();
    Ok(timeout(Duration::from_secs(120), shell).await.context("it does not end")??)
}

#[tokio::test]
async fn the_transcripts_print_what_stands_below_them() -> anyhow::Result<()> {
    let _heavy = heavy().await?;
    // The lease of a coordinator to which nobody says otherwise.
    let lease = coordinator::service::CoordinatorOptions::default().lease;
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = lease).await?;
    let folder = TempDir::new()?;
    let steps = steps()?;
    ensure!(steps.len() >= 9, "only {} transcripts were found", steps.len());
    let typed: Vec<&str> = steps.iter().map(|step| step.typed).collect();
    let output =
        pasted(&fleet, folder.path(), &typed.join(&format!("\necho '{BORDER}'\n"))).await?;

    let printed = String::from_utf8(output.stdout)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let printed: Vec<&str> = printed.split(BORDER).collect();
    assert_eq!(printed.len(), steps.len(), "{printed:?}\n{said}");
    for (step, printed) in steps.iter().zip(printed) {
        let (printed, written) = (lines(printed), lines(step.printed));
        let fit = printed.iter().zip(&written).all(|(line, written)| fits(line, written));
        if printed.len() != written.len() || !fit {
            bail!("{}\nprinted {printed:#?}\nand not {written:#?}\n{said}", step.typed);
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_artefact_is_got_as_the_example_says() -> anyhow::Result<()> {
    let (_, rest) = TEXT.split_once("```text\nnats kv get mf-artifacts").context("the example")?;
    let typed = rest.split_once("```").context("its end")?.0;
    let (fleet, _lead) = Fleet::start().await?;
    let (cid, plugin, name) =
        ("midhash256:ab".parse()?, "still-extractor".parse()?, "still-0.jpg".parse()?);
    let subject = fleet.names.artifact(&cid, &plugin, Lane::Main, &name);
    // No text, and longer than a line.
    let still: Vec<u8> = (0..=u8::MAX).cycle().take(70_000).collect();
    fleet.put(subject, HeaderMap::new(), still.clone().into()).await?;
    let folder = TempDir::new()?;

    let output = pasted(&fleet, folder.path(), &format!("nats kv get mf-artifacts{typed}")).await?;

    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    assert!(std::fs::read(folder.path().join("still-0.jpg"))? == still, "{said}");
    Ok(())
}

#[test]
fn anything_stands_for_anything_and_the_rest_for_itself() {
    for (line, written, expected) in [
        ("seq: 12", "seq: 12", true),
        ("seq: 12", "seq: 13", false),
        ("seq: 12, ok", "seq: …, ok", true),
        ("seq: 12, no", "seq: …, ok", false),
        ("a 1 b 2 c", "a … b … c", true),
        ("a 1 2 c", "a … b … c", false),
        ("anything", "…", true),
    ] {
        assert_eq!(fits(line, written), expected, "{line} as {written}");
    }
}
