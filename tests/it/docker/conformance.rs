//! The conformance kit with workers in containers of an image.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use integration_tests::docker::{Docker, LABEL, image};
use integration_tests::{LIMIT, heavy, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::conformance::{Tried, example, finished, manifest, passed_everything, program};

const FOLDER: &str = "metafleet.conformance.folder";
const HOST: &str = "metafleet.conformance.host";

/// The image of the worker that follows the script; its manifest lies in its root.
async fn scripted() -> anyhow::Result<String> {
    let manifest = manifest().to_string_lossy().into_owned();
    let more = ["--permissions", "", "--add", &manifest];
    image("metafleet-test-conformance:1", &example("conformance")?, &more).await
}

/// The kit over that image, with its temporary folders in `home`.
async fn kit(home: &Path, options: &[&str]) -> anyhow::Result<Command> {
    let image = scripted().await?;
    let options = [&["--image", &image, "--jobs", "4"], options].concat();
    let mut kit = program(&options, &["/manifest.json".to_owned()])?;
    kit.env("TMPDIR", home);
    Ok(kit)
}

/// The containers of kits whose folders lie in `home`.
async fn containers(docker: &Docker, home: &Path) -> anyhow::Result<Vec<Value>> {
    let all = docker.api.get("/containers/json?all=true").await?;
    let of_kit = |container: &&Value| {
        let folder = container["Labels"][FOLDER].as_str();
        folder.is_some_and(|folder| Path::new(folder).starts_with(home))
    };
    Ok(all.as_array().context("a list")?.iter().filter(of_kit).cloned().collect())
}

/// Starts the kit and waits for its first container.
async fn at_work(docker: &Docker, home: &Path) -> anyhow::Result<(Child, Pid)> {
    let mut kit = kit(home, &[]).await?;
    let mut kit = kit.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = kit.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("a process")?;
    within(LIMIT, "a container of the kit", async || {
        anyhow::ensure!(kit.try_wait()?.is_none(), "the kit has ended");
        Ok((!containers(docker, home).await?.is_empty()).then_some(()))
    })
    .await?;
    Ok((kit, pid))
}

#[tokio::test]
async fn an_image_passes_every_case_and_leaves_no_container() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("the kit over an image").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = tempfile::tempdir()?;

    let tried = finished(kit(home.path(), &["--format", "json"]).await?).await?;

    passed_everything(&tried)?;
    assert_eq!(containers(&docker, home.path()).await?, [] as [Value; 0]);
    assert_eq!(std::fs::read_dir(home.path())?.count(), 0, "the kit's folder is left");
    Ok(())
}

#[tokio::test]
async fn a_kit_that_is_interrupted_removes_its_containers() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("the kit is interrupted").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = tempfile::tempdir()?;
    let (mut kit, pid) = at_work(&docker, home.path()).await?;

    kill_process(pid, Signal::INT)?;

    let ended = timeout(LIMIT, kit.wait()).await.context("the kit does not end")??;
    assert_eq!(ended.code(), Some(130));
    assert_eq!(containers(&docker, home.path()).await?, [] as [Value; 0]);
    assert_eq!(std::fs::read_dir(home.path())?.count(), 0, "the kit's folder is left");
    Ok(())
}

#[tokio::test]
async fn what_a_killed_kit_has_left_is_removed_by_the_next_one() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("a killed kit").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = tempfile::tempdir()?;
    let (mut killed, pid) = at_work(&docker, home.path()).await?;
    kill_process(pid, Signal::KILL)?;
    killed.wait().await?;
    // Of a kit whose folder is gone, of another one that lives, and of one on another machine.
    let lock = std::fs::File::create(home.path().join("lock"))?;
    lock.lock()?;
    let image = scripted().await?;
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let gone = home.path().join("gone");
    let mut made = Vec::new();
    for (folder, host) in [(&*gone, here.trim()), (home.path(), here.trim()), (&*gone, "there")] {
        let labels = json!({FOLDER: folder, HOST: host, LABEL: "kit"});
        let body = json!({"Image": image, "Labels": labels});
        let answer = docker.api.post("/containers/create", Some(&body)).await?;
        made.push(answer["Id"].as_str().context("an id")?.to_owned());
    }

    let tried = finished(kit(home.path(), &["--case", "fence"]).await?).await?;

    assert_eq!(tried.code, Some(0), "{}", tried.err);
    let (left, stay) = made.split_first().context("a container")?;
    assert!(docker.inspect(left).await?.is_none(), "it has not removed what is left over");
    for id in stay {
        assert!(docker.inspect(id).await?.is_some(), "it has removed what is not left over");
        docker.api.delete(&format!("/containers/{id}?force=true&v=true")).await?;
    }
    assert_eq!(containers(&docker, home.path()).await?, [] as [Value; 0]);
    Ok(())
}

#[tokio::test]
async fn an_image_that_is_not_there_or_cannot_run_is_told() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("no image for the kit").await? else { return Ok(()) };
    let _place = heavy().await?;
    let home = tempfile::tempdir()?;

    let tried: Tried = finished(program(&["--image", "metafleet-test-none:9"], &[])?).await?;
    assert_eq!(tried.code, Some(3), "{}", tried.err);
    for words in ["there is no image metafleet-test-none:9", "docker build -t", "docker pull"] {
        assert!(tried.err.contains(words), "{words}: {}", tried.err);
    }

    // It ends before it has announced itself: it lacks its argument.
    let image = scripted().await?;
    let options = ["--image", &image, "--case", "fence"];
    let mut kit = program(&options, &["/no/manifest.json".to_owned()])?;
    kit.env("TMPDIR", home.path());
    let tried = finished(kit).await?;
    assert_eq!(tried.code, Some(1), "{}", tried.err);
    assert!(tried.out.contains("did not announce itself"), "{}", tried.out);
    assert!(tried.out.contains("/no/manifest.json"), "its log is not shown: {}", tried.out);
    assert_eq!(containers(&docker, home.path()).await?, [] as [Value; 0]);
    Ok(())
}
