//! What the coordinator asked of a broker that dies before it answers.

use std::future;
use std::sync::atomic::{AtomicUsize, Ordering};

use coordinator::broker::Broker;
use coordinator::config::connection::{Connection, Login, Origin, Tls};
use integration_tests::nats::free_port;
use integration_tests::{Fleet, eventually, within};
use tokio::time::Duration;

/// Far shorter than the time after which the library gives up an answer, far longer than a
/// connection takes to come back.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_went_with_a_lost_connection_is_asked_again() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let broker = Broker::open(fleet.client.clone(), fleet.names.clone()).await?;
    let attempts = AtomicUsize::new(0);
    // The first answer never comes, however long it is waited for.
    let ask = async || {
        broker
            .through(|| async {
                if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
                    future::pending::<()>().await;
                }
                Ok::<_, String>("answer")
            })
            .await
    };
    let restart = async {
        eventually("a first attempt", async || {
            Ok((attempts.load(Ordering::Relaxed) == 1).then_some(()))
        })
        .await?;
        fleet.server.hang()?;
        fleet.server.kill()?;
        fleet.server.restart().await
    };

    let (answer, restarted) = tokio::join!(tokio::time::timeout(SOON, ask()), restart);

    restarted?;
    assert_eq!(answer?, Ok("answer"));
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    Ok(())
}

#[tokio::test]
async fn of_several_servers_one_that_is_there_is_enough() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let url = format!("nats://127.0.0.1:{}, {}", free_port()?, fleet.server.url());
    let (login, tls) = (Login::Anonymous, Tls::default());
    let connection = Connection { url, login, tls, origin: Origin::Flag };

    let client = connection.connect("test").await?;

    client.flush().await?;
    Ok(())
}

#[tokio::test]
async fn an_error_of_a_connection_that_holds_is_the_answer() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let broker = Broker::open(fleet.client.clone(), fleet.names.clone()).await?;
    let attempts = AtomicUsize::new(0);

    let answer = broker
        .through(|| async {
            attempts.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>("refused")
        })
        .await;

    assert_eq!((answer, attempts.into_inner()), (Err("refused"), 1));
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_fails_while_the_broker_is_away_is_made_again() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let broker = Broker::open(fleet.client.clone(), fleet.names.clone()).await?;
    fleet.server.kill()?;
    within(SOON, "the loss to be noticed", async || {
        let state = fleet.client.connection_state();
        Ok((state != async_nats::connection::State::Connected).then_some(()))
    })
    .await?;
    let attempts = AtomicUsize::new(0);

    let asked = broker.through(|| async {
        let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Err("away") } else { Ok(()) }
    });
    let (answer, restarted) = tokio::join!(asked, fleet.server.restart());

    restarted?;
    assert_eq!(answer, Ok(()));
    Ok(())
}
