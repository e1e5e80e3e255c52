//! What the NATS client of this language can do without the SDK: `raw_ceiling TASKS`.
//!
//! Pulls from the consumer `noop_fast`, puts a record with the fence, waits for its acknowledgement,
//! acknowledges the task, and prints the seconds that so many tasks took.

use std::process::ExitCode;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, HeaderMap, Message};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Tasks in hand at once, as many as the no-op plugin has places for.
const PLACES: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is all that this program says")]
async fn main() -> ExitCode {
    let Some(tasks) = std::env::args().nth(1).and_then(|text| text.parse().ok()) else {
        eprintln!("usage: raw_ceiling TASKS");
        return ExitCode::from(2);
    };
    match serve(tasks).await {
        Ok(seconds) => {
            println!("{seconds:.3}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

async fn connect() -> Result<Client, Failure> {
    let options = match (variable("NATS_USER"), variable("NATS_PASSWORD")) {
        (Some(user), Some(password)) => ConnectOptions::with_user_and_password(user, password),
        (_, _) => ConnectOptions::new(),
    };
    let url = variable("NATS_URL").unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    Ok(options.connect(url).await?)
}

async fn serve(tasks: usize) -> Result<f64, Failure> {
    let client = connect().await?;
    let js = jetstream::new(client.clone());
    let prefix = variable("METAFLEET_PREFIX").unwrap_or_else(|| "mf".to_owned());
    let stream = format!("{}_TASKS", prefix.to_ascii_uppercase().replace('-', "_"));
    let inbox = client.new_inbox();
    let mut arriving = client.subscribe(inbox.clone()).await?;
    let request = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.noop_fast");
    let (mut asked, mut done, mut begun) = (0, 0, None);
    let mut held = JoinSet::new();
    while done < tasks {
        let free = PLACES.saturating_sub(asked + held.len());
        // A request for each task would cost more than the task.
        if free >= PLACES / 2 {
            let body = json!({"batch": free, "expires": 30_000_000_000_u64}).to_string();
            let none = HeaderMap::new();
            let to = inbox.clone();
            client.publish_with_reply_and_headers(request.clone(), to, none, body.into()).await?;
            asked += free;
        }
        tokio::select! {
            message = arriving.next() => {
                let message = message.ok_or("the connection is closed")?;
                if message.subject.as_str() == inbox {
                    let missing = message.headers.as_ref().and_then(|it| it.get("Nats-Pending-Messages"));
                    let missing = missing.and_then(|it| it.as_str().parse().ok()).unwrap_or(asked);
                    asked = asked.saturating_sub(missing);
                    continue;
                }
                asked = asked.saturating_sub(1);
                begun.get_or_insert_with(Instant::now);
                held.spawn(record(client.clone(), js.clone(), prefix.clone(), message));
            }
            Some(ended) = held.join_next() => {
                ended??;
                done += 1;
            }
        }
    }
    // The last acknowledgements are on their way; what is buffered would end with the program.
    client.flush().await?;
    Ok(begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64()))
}

/// The record of a task, then its acknowledgement.
async fn record(
    client: Client,
    js: Context,
    prefix: String,
    message: Message,
) -> Result<(), Failure> {
    let task: Value = serde_json::from_slice(&message.payload)?;
    let token = message.subject.rsplit('.').next().unwrap_or_default();
    let body = json!({
        "type": "metafleet.record.v1", "taskId": task["taskId"], "pluginId": "noop",
        "cid": task["cid"], "status": "completed", "attempt": 1, "pluginVersion": "1.0.0",
        "fingerprint": task["fingerprint"], "durationMs": 0, "instance": "raw",
        "finishedAt": jiff::Timestamp::now().to_string(), "meta": {"noop/done": "1"},
    });
    let mut headers = HeaderMap::new();
    let revision = task["recordRevision"].as_u64().unwrap_or(0);
    headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
    let subject = format!("$KV.{prefix}-records.{token}.noop");
    js.publish_with_headers(subject, headers, body.to_string().into()).await?.await?;
    let reply = message.reply.ok_or("a task has a reply subject")?;
    client.publish_with_headers(reply, HeaderMap::new(), "+ACK".into()).await?;
    Ok(())
}
