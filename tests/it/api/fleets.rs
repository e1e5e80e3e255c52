//! Several fleets on one machine.

use integration_tests::api::Api;
use integration_tests::cli::Up;
use integration_tests::{LIMIT, heavy, within};
use serde_json::json;
use tokio::net::TcpListener;

use super::odd_home;

#[tokio::test]
async fn a_second_fleet_listens_elsewhere_and_has_a_token_of_its_own() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (one, two) =
        (odd_home(&["completes"], &json!({}), 0)?, odd_home(&["completes"], &json!({}), 0)?);
    // Another test may have it, and give it back when that does not suit this one.
    let usual = within(LIMIT * 10, "port 8180", async || {
        Ok(TcpListener::bind("127.0.0.1:8180").await.ok())
    });
    let usual = usual.await?;
    let (first, _) = Up::fleet(&one, 1).await?;
    let (second, _) = Up::fleet_with(&two, 1, &["--api-listen", "127.0.0.1:0"]).await?;
    let (a, b) = (Api::of(&one)?, Api::of(&two)?);

    assert_ne!(a.url, b.url);
    first.says("another program listens on port 8180").await?;
    first.says(&a.url).await?;
    assert!(!second.said().contains("another program"), "{}", second.said());
    assert_ne!(a.token, b.token);
    let other = Api { token: b.token.clone(), ..a.clone() };
    assert_eq!(other.send("GET", "/api/plugins", "").await?.status, 401);
    a.post("/api/plugins/odd/disable", &json!(null)).await?;
    assert_eq!(b.get("/api/plugins/odd").await?["status"], "healthy");

    let three = odd_home(&["completes"], &json!({}), 0)?;
    let address = b.url.trim_start_matches("http://");
    let done = three.run(&["up", "--api-listen", address]).await?.ended(1)?;
    done.says("could not listen on")?;
    done.says("--api-listen")?;
    drop(usual);
    first.stop().await?;
    second.stop().await
}
