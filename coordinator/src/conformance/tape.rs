//! What passed, in the order in which it was heard, and waiting for what is to come.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use async_nats::Message;
use broker_config::Names;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::seen::{Seen, read};

/// Messages that are kept: a worker that asks without a pause must not fill the memory.
const MOST: usize = 50_000;

/// All that was heard in one case.
#[derive(Debug)]
pub(super) struct Tape {
    names: Names,
    begun: Instant,
    seen: Mutex<Vec<Seen>>,
    length: watch::Sender<usize>,
}

impl Tape {
    pub(super) fn new(names: Names) -> Self {
        Self { names, begun: Instant::now(), seen: Mutex::default(), length: watch::Sender::new(0) }
    }

    /// Time since the case began.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(super) fn add(&self, message: Message) {
        let headers: BTreeMap<String, String> = message
            .headers
            .iter()
            .flat_map(|headers| headers.iter())
            .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
            .collect();
        let subject = message.subject.into_string();
        let what = read(&self.names, &subject, &headers, &message.payload);
        let reply = message.reply.map(|it| it.into_string()).unwrap_or_default();
        let seen = Seen { at: self.now(), subject, reply, headers, body: message.payload, what };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            all.push(seen);
        }
        self.length.send_replace(all.len());
    }

    /// Looks at all that was heard.
    pub(super) fn look<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many of what was heard are such.
    pub(super) fn count(&self, such: impl Fn(&Seen) -> bool) -> usize {
        self.look(|all| all.iter().filter(|seen| such(seen)).count())
    }

    /// All that are such.
    pub(super) fn all(&self, such: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.look(|all| all.iter().filter(|seen| such(seen)).cloned().collect())
    }

    /// Waits until `find` finds something in what was heard.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        find: impl Fn(&[Seen]) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut length = self.length.subscribe();
        let waiting = async {
            loop {
                length.borrow_and_update();
                if let Some(found) = self.look(&find) {
                    return Some(found);
                }
                if length.changed().await.is_err() {
                    return None;
                }
            }
        };
        match timeout(limit, waiting).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) | Err(_) if self.look(<[Seen]>::len) >= MOST => bail!(
                "waited {} s for {what}; {MOST} messages had passed, and no more are kept: does it \
                 ask without a pause?",
                limit.as_secs()
            ),
            Ok(None) | Err(_) => bail!("waited {} s for {what}", limit.as_secs()),
        }
    }

    /// Waits for the first that is such.
    pub(super) async fn first(
        &self,
        what: &str,
        limit: Duration,
        such: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<Seen> {
        self.wait(what, limit, |all| all.iter().find(|seen| such(seen)).cloned()).await
    }

    /// Waits for the first that is such after `since`.
    pub(super) async fn after(
        &self,
        since: Duration,
        what: &str,
        limit: Duration,
        such: impl Fn(&Seen) -> bool,
    ) -> anyhow::Result<Seen> {
        self.first(what, limit, |seen| seen.at >= since && such(seen)).await
    }
}
