//! A plugin that means harm.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::cli::Home;
use integration_tests::docker::{self, Docker, add_odd, boxed, probe_image};
use integration_tests::{eventually, heavy, within};
use serde_json::json;

use super::fleet;

#[tokio::test]
async fn a_plugin_that_means_harm_is_denied_everything() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("probe").await? else { return Ok(()) };
    let _place = heavy().await?;
    // A plugin of another fleet, to be reached if that were possible.
    let mut neighbour = boxed(Home::new()?);
    let entry = add_odd(&mut neighbour, "odd", &["same"]).await?;
    let (beside, _look) = fleet(&neighbour, &json!({"odd": entry}), 1, &[]).await?;
    let container = docker.inspect("plugin-odd-1").await?.context("the neighbour")?;
    let networks = container["NetworkSettings"]["Networks"].as_object().context("networks")?;
    let address = networks.values().next().and_then(|of| of["IPAddress"].as_str());
    let address = address.context("an address")?;
    let home = boxed(Home::new()?).with_var("METAFLEET_PLUGIN_PATH", "/none");
    home.write("film.txt", "film")?;
    // Something of this machine that listens on all addresses, as many programs do.
    let open = tokio::net::TcpListener::bind("0.0.0.0:0").await?;
    let port = open.local_addr()?.port().to_string();
    let probe = json!({"image": probe_image().await?, "labels": {docker::LABEL: "fleet"},
        "command": [home.library(), port, address]});
    let (up, _look) = fleet(&home, &json!({"probe": probe}), 0, &[]).await?;

    let printed = within(Duration::from_secs(150), "the probe to end", async || {
        let printed = docker.printed("plugin-probe-1").await?;
        Ok(printed.ends_with("end\n").then_some(printed))
    })
    .await?;

    docker::report("docker-probe.txt", &printed)?;
    assert!(printed.contains("\nreached the broker\n"), "{printed}");
    let denied = printed.lines().filter(|line| line.starts_with("denied ")).count();
    let allowed: Vec<&str> = printed.lines().filter(|line| line.starts_with("ALLOWED ")).collect();
    assert!(allowed.is_empty() && denied >= 40, "{denied} denied, allowed: {allowed:#?}");
    assert_eq!(std::fs::read_to_string(home.library().join("film.txt"))?, "film");

    let container = docker.inspect("plugin-probe-1").await?.context("the probe")?;
    let password = std::fs::read_dir(home.data().join("secrets/probe"))?
        .flatten()
        .find(|file| file.file_name() == "nats-password")
        .context("a secret")?;
    let password = std::fs::read_to_string(password.path())?;
    assert!(!container.to_string().contains(&password), "the engine shows the password");
    let said = up.said();
    assert!(!said.contains(&password), "the log shows the password");
    up.stop().await?;
    beside.stop().await?;
    eventually("the secrets to be gone", async || {
        Ok((!home.data().join("secrets").exists()).then_some(()))
    })
    .await?;
    docker.nothing_is_left().await
}
