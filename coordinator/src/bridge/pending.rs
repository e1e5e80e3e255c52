//! The attempts that wait for a callback, each known by a token of its own.
//!
//! The token stands in the callback's URL and in that of the metadata API. It is unguessable, made
//! for one attempt, and worth nothing after it: a callback that comes late, twice, or from
//! somebody who does not know it changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_config::{Cid, PluginId, TaskId};
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;

use super::answer::{Callback, Verdict};
use super::layer::Layer;
use crate::config::private_file::random_hex;

/// Random bytes in a token.
const SECRET_BYTES: usize = 24;
/// Ended attempts that are remembered, to tell a late callback from a forged one.
const REMEMBERED: usize = 4_096;

/// What an attempt is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The task.
    pub task: TaskId,
    /// The plugin.
    pub plugin: PluginId,
    /// The file.
    pub cid: Cid,
}

/// What became of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It settles the attempt, or says again what has settled it.
    Taken,
    /// It names something else than its URL belongs to: this field.
    Mismatch(&'static str),
    /// Another callback has settled the attempt differently.
    Conflict,
    /// The attempt is over.
    Late,
    /// There is no such token.
    Unknown,
}

/// The token is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAttempt {
    /// Its attempt is over.
    Over,
    /// There never was one.
    Unknown,
}

/// All attempts in hand; cheap to share.
#[derive(Debug, Default)]
pub struct Pending {
    table: Mutex<Table>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<u64, Slot>,
    /// In the order of their end.
    over: VecDeque<(u64, Past)>,
}

#[derive(Debug)]
struct Slot {
    secret: String,
    facts: Facts,
    layer: Layer,
    /// Gone once the attempt is settled.
    settle: Option<oneshot::Sender<Verdict>>,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
struct Past {
    secret: String,
    verdict: Option<Verdict>,
}

/// One attempt that waits; its token ends with it.
#[derive(Debug)]
pub struct Attempt {
    pending: Arc<Pending>,
    id: u64,
    /// What its URLs hold.
    pub token: String,
    verdict: oneshot::Receiver<Verdict>,
}

impl Pending {
    /// Opens an attempt.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes.
    pub fn open(self: &Arc<Self>, facts: Facts) -> io::Result<Attempt> {
        let secret = random_hex(SECRET_BYTES)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, verdict) = oneshot::channel();
        let token = format!("{id:x}-{secret}");
        let slot =
            Slot { secret, facts, layer: Layer::default(), settle: Some(sender), verdict: None };
        self.lock().open.insert(id, slot);
        Ok(Attempt { pending: self.clone(), id, token, verdict })
    }

    /// Takes a callback that came with `token`.
    pub fn receive(&self, token: &str, callback: &Callback) -> Received {
        let mut table = self.lock();
        match table.find(token) {
            Ok(slot) => {
                let Facts { task, plugin, cid } = &slot.facts;
                if let Some(field) = callback.mismatch(task, plugin, cid) {
                    return Received::Mismatch(field);
                }
                match &slot.verdict {
                    Some(verdict) if *verdict == callback.verdict => return Received::Taken,
                    Some(_) => return Received::Conflict,
                    None => {}
                }
                slot.verdict = Some(callback.verdict.clone());
                let sender = slot.settle.take();
                // Whoever waits may have gone just now; then it is late after all.
                match sender.map(|sender| sender.send(callback.verdict.clone())) {
                    Some(Ok(())) => Received::Taken,
                    Some(Err(_)) | None => Received::Late,
                }
            }
            Err(Some(Past { verdict: Some(verdict), .. })) if *verdict == callback.verdict => {
                Received::Taken
            }
            Err(Some(Past { verdict: Some(_), .. })) => Received::Conflict,
            Err(Some(Past { verdict: None, .. })) => Received::Late,
            Err(None) => Received::Unknown,
        }
    }

    /// Lets `work` see and change what the attempt with `token` writes.
    ///
    /// # Errors
    ///
    /// [`NoAttempt`]; also once its callback has come.
    pub fn with<T>(
        &self,
        token: &str,
        work: impl FnOnce(&Facts, &mut Layer) -> T,
    ) -> Result<T, NoAttempt> {
        let mut table = self.lock();
        match table.find(token) {
            Ok(slot) if slot.verdict.is_none() => Ok(work(&slot.facts, &mut slot.layer)),
            Ok(_) | Err(Some(_)) => Err(NoAttempt::Over),
            Err(None) => Err(NoAttempt::Unknown),
        }
    }

    /// Attempts in hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The attempt of a token, or what is remembered of it.
    fn find(&mut self, token: &str) -> Result<&mut Slot, Option<&Past>> {
        let Some((id, secret)) = parse(token) else { return Err(None) };
        // How long this takes tells the number of an attempt at most, which is no secret.
        if let Some(slot) = self.open.get_mut(&id) {
            return if same(&slot.secret, secret) { Ok(slot) } else { Err(None) };
        }
        let past = self.over.iter().find(|(past, _)| *past == id).map(|(_, past)| past);
        Err(past.filter(|past| same(&past.secret, secret)))
    }
}

fn parse(token: &str) -> Option<(u64, &str)> {
    let (id, secret) = token.split_once('-')?;
    Some((u64::from_str_radix(id, 16).ok()?, secret))
}

/// Whether two secrets are the same; takes as long wherever they differ.
fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

impl Attempt {
    /// Waits for the callback; for ever if none comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; not to be called again after it has answered.
    pub async fn verdict(&mut self) -> Verdict {
        match (&mut self.verdict).await {
            Ok(verdict) => verdict,
            // The sender lives in the table as long as this attempt does.
            Err(_) => std::future::pending().await,
        }
    }

    /// What it has written.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.pending.lock().open.get(&self.id).map(|slot| slot.layer.clone()).unwrap_or_default()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut table = self.pending.lock();
        if let Some(slot) = table.open.remove(&self.id) {
            let past = Past { secret: slot.secret, verdict: slot.verdict };
            table.over.push_back((self.id, past));
            if table.over.len() > REMEMBERED {
                table.over.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let (plugin, cid): (PluginId, Cid) = ("p".parse().unwrap(), "c".parse().unwrap());
        Facts { task: TaskId::derive(&cid, &plugin, "", 0), plugin, cid }
    }

    fn callback(status: &str) -> Callback {
        Callback::read(format!(r#"{{"status":"{status}"}}"#).as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn the_first_callback_settles_and_the_rest_has_no_effect() -> anyhow::Result<()> {
        let pending = Arc::new(Pending::default());
        let mut attempt = pending.open(facts())?;
        let token = attempt.token.clone();
        let other = Callback::read(br#"{"status":"completed","cid":"x"}"#).unwrap();
        assert_eq!(pending.receive(&token, &other), Received::Mismatch("cid"));
        assert_eq!(pending.receive(&token, &callback("completed")), Received::Taken);
        assert_eq!(pending.receive(&token, &callback("completed")), Received::Taken, "again");
        assert_eq!(pending.receive(&token, &callback("failed")), Received::Conflict);
        assert_eq!(attempt.verdict().await, Verdict::Completed);
        assert_eq!(pending.with(&token, |_, _| ()), Err(NoAttempt::Over));
        drop(attempt);
        assert_eq!(pending.receive(&token, &callback("completed")), Received::Taken);
        assert_eq!(pending.receive(&token, &callback("skipped")), Received::Conflict);
        assert!(pending.is_empty());
        Ok(())
    }

    #[test]
    fn a_late_callback_is_told_from_a_forged_one() -> anyhow::Result<()> {
        let pending = Arc::new(Pending::default());
        let late = pending.open(facts())?.token.clone();
        let open = pending.open(facts())?;
        let forged = format!("{}-{}", open.id, "0".repeat(2 * SECRET_BYTES));
        let cut = open.token.get(..open.token.len() - 1).unwrap_or_default().to_owned();
        for (token, expected) in [
            (late.as_str(), Received::Late),
            (&forged, Received::Unknown),
            (&cut, Received::Unknown),
            ("", Received::Unknown),
            ("0-", Received::Unknown),
            ("x-y", Received::Unknown),
        ] {
            assert_eq!(pending.receive(token, &callback("completed")), expected, "{token}");
        }
        assert_eq!(pending.with(&late, |_, _| ()), Err(NoAttempt::Over));
        assert_eq!(pending.with(&forged, |_, _| ()), Err(NoAttempt::Unknown));
        assert_eq!(pending.with(&open.token, |facts, _| facts.clone()), Ok(facts()));
        Ok(())
    }

    #[test]
    fn what_is_remembered_is_bounded() -> anyhow::Result<()> {
        let pending = Arc::new(Pending::default());
        let first = pending.open(facts())?.token.clone();
        for _ in 0..REMEMBERED {
            drop(pending.open(facts())?);
        }
        assert_eq!(pending.receive(&first, &callback("completed")), Received::Unknown);
        assert_eq!(pending.lock().over.len(), REMEMBERED);
        Ok(())
    }
}
