//! Images that the engine does not have, from a real registry that wants a login.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use integration_tests::api::Api;
use integration_tests::cli::Home;
use integration_tests::docker::{self, Docker, add_odd, boxed, odd_image};
use integration_tests::{LIMIT, eventually, heavy, within};
use serde_json::json;
use tokio::process::{Child, Command};

use super::{errors_of, fleet};

const USER: &str = "films";
const PASSWORD: &str = "hush-registry";
/// Both, as the `docker` command keeps them.
const BASE64: &str = "ZmlsbXM6aHVzaC1yZWdpc3RyeQ==";
/// The password above, with bcrypt, which is all that the registry knows.
const HASH: &str = "$2b$04$/xxN9UVZNdgXRTp1DqeeW.93WKhO01k8Gc4i6ProNddoDP4xjQNuK";

/// Starts a registry in `dir`; `None` when there is none on this machine.
fn registry(dir: &Path) -> anyhow::Result<Option<(Child, u16)>> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("htpasswd"), format!("{USER}:{HASH}\n"))?;
    let config = json!({
        "version": 0.1, "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": dir.join("images")}},
        "http": {"addr": format!("127.0.0.1:{port}")},
        "auth": {"htpasswd": {"realm": "test", "path": dir.join("htpasswd")}},
    });
    std::fs::write(dir.join("config.yml"), config.to_string())?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(dir.join("config.yml")).kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Ok(Some((child, port))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn run(program: &str, arguments: &[&str], config: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let done = command.args(arguments).env("DOCKER_CONFIG", config).output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "{program} {}: {said}", arguments.join(" "));
    Ok(())
}

#[tokio::test]
async fn an_image_is_pulled_with_the_login_of_a_credential_helper_and_without_one_it_is_told()
-> anyhow::Result<()> {
    let Some(docker) = Docker::get("pull").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let Some((_registry, port)) = registry(&home.root().join("registry"))? else {
        return docker::nothing_shown("pull", "docker-registry is not installed");
    };
    let (bin, config) = (home.root().join("bin"), home.root().join("docker"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(&config)?;
    let server = format!("127.0.0.1:{port}");
    let image = format!("{server}/metafleet-test-pulled:1");
    std::fs::write(
        config.join("config.json"),
        json!({"auths": {&server: {"auth": BASE64}}}).to_string(),
    )?;
    run("docker", &["tag", &odd_image().await?, &image], &config).await?;
    within(LIMIT, "the registry to take the image", async || {
        Ok(run("docker", &["push", "-q", &image], &config).await.ok())
    })
    .await?;
    docker.api.delete(&format!("/images/{image}?force=true")).await?;
    // From here on a helper alone knows the login, and not from the beginning.
    std::fs::write(
        config.join("config.json"),
        json!({"credHelpers": {&server: "metafleet-test"}}).to_string(),
    )?;
    let helper = bin.join("docker-credential-metafleet-test");
    let path = std::env::var_os("PATH").context("a PATH")?;
    home = home
        .with_var("DOCKER_CONFIG", config.to_string_lossy())
        .with_var("PATH", format!("{}:{}", bin.display(), path.display()));
    let mut entry = add_odd(&mut home, "odd", &["same"]).await?;
    entry["image"] = json!(image);
    home.write_many(3)?;

    let (up, look) = fleet(&home, &json!({"odd": entry}), 0, &[]).await?;

    eventually("the missing helper to be shown", async || {
        let told = errors_of(&home, "odd").await?;
        Ok(told.contains("the credential helper docker-credential-metafleet-test").then_some(()))
    })
    .await?;
    let answer = json!({"ServerURL": server, "Username": USER, "Secret": PASSWORD});
    std::fs::write(&helper, format!("#!/bin/sh\ncat >/dev/null\necho '{answer}'\n"))?;
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755))?;
    within(Duration::from_secs(90), "the image to be pulled", async || {
        Ok(docker.inspect("plugin-odd-1").await?.map(|_| ()))
    })
    .await?;
    let api = Api::of(&home)?;
    let shown = api.until("odd", "its digest", |plugin| plugin["imageId"].is_string()).await?;
    // As the registry itself keeps it.
    let repositories = home.root().join("registry/images/docker/registry/v2/repositories");
    let link = "metafleet-test-pulled/_manifests/tags/1/current/link";
    let digest = std::fs::read_to_string(repositories.join(link))?;
    assert_eq!(shown["imageDigest"], digest.trim(), "{shown:#}");
    let here = docker.api.get(&format!("/images/{image}/json")).await?;
    assert_eq!(shown["imageId"], here["Id"], "{shown:#}");
    assert_ne!(shown["imageId"], shown["imageDigest"]);
    home.scan(&[]).await?;

    look.settled().await?;
    assert_eq!(look.records().await?.len(), 3);
    assert!(!up.said().contains(PASSWORD), "the password is told");
    up.stop().await?;
    docker.api.delete(&format!("/images/{image}?force=true")).await?;
    docker.nothing_is_left().await
}
