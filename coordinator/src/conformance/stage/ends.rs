//! How tasks end.

use std::time::Duration;

use anyhow::{bail, ensure};
use broker_config::delivery::Place;
use serde_json::Value;

use super::{NotApplicable, SOON, Sent, Stage};
use crate::conformance::seen::{Said, Seen, text};

/// How a delivery ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(in super::super) place: Place,
    pub(in super::super) said: Said,
    pub(in super::super) at: Duration,
}

/// How a task ended, in the words of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// With this record, `completed` or `skipped`.
    Recorded(Value),
    /// With this signal `failed`.
    Failed(Value),
    /// With this signal `deferred`.
    Deferred(Value),
    /// It comes again after this time.
    Again(Duration),
    /// `+ACK`, and nobody knows why.
    Nothing,
}

impl Outcome {
    /// One word for it.
    pub(in super::super) fn word(&self) -> String {
        match self {
            Self::Recorded(record) => text(record, "status"),
            Self::Failed(_) => "failed".to_owned(),
            Self::Deferred(_) => "deferred".to_owned(),
            Self::Again(_) => "retrying".to_owned(),
            Self::Nothing => "nothing".to_owned(),
        }
    }
}

impl Stage {
    /// Waits for the first answer to a task that ends a delivery.
    pub(in super::super) async fn end(&self, sent: &Sent) -> anyhow::Result<End> {
        self.end_of(sent, 0).await
    }

    /// Waits for the answer that ends a delivery of a task from this one on.
    pub(in super::super) async fn end_of(&self, sent: &Sent, delivery: u32) -> anyhow::Result<End> {
        let what = format!("an answer to the task of {} (message {})", sent.cid, sent.sequence);
        self.tape.wait(&what, SOON, |all| ended(all, sent.sequence, delivery)).await
    }

    /// Whether a delivery of a task has ended already.
    pub(in super::super) fn ended(&self, sent: &Sent) -> Option<End> {
        self.tape.look(|all| ended(all, sent.sequence, 0))
    }

    /// Waits for a signal about a task.
    pub(in super::super) async fn signal(&self, kind: &str, sent: &Sent) -> anyhow::Result<Seen> {
        let what = format!("the signal `{kind}` about {}", sent.cid);
        self.tape.first(&what, SOON, |seen| seen.is_signal(kind, sent.cid.as_str())).await
    }

    /// The subject of a task's record.
    pub(in super::super) fn record_subject(&self, sent: &Sent) -> String {
        self.names.record(&sent.cid, self.plugin())
    }

    /// The record of a task that is stored.
    pub(in super::super) async fn record(&self, sent: &Sent) -> anyhow::Result<Option<Value>> {
        let subject = self.record_subject(sent);
        let stored = self.stored(&self.names.record_stream(), &subject).await?;
        Ok(stored.map(|(_, body, _)| body))
    }

    /// The record of a task that was acknowledged; one that comes too late is found, too: that it
    /// must not is for another case to say.
    async fn record_soon(&self, sent: &Sent) -> anyhow::Result<Option<Value>> {
        const TRIES: u32 = 20;
        for _ in 0..TRIES {
            let deferred = |seen: &Seen| seen.is_signal("deferred", sent.cid.as_str());
            if let Some(record) = self.record(sent).await? {
                return Ok(Some(record));
            }
            if self.tape.count(deferred) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(None)
    }

    /// Waits until a task has ended, and says how.
    pub(in super::super) async fn outcome(&self, sent: &Sent) -> anyhow::Result<Outcome> {
        let end = self.end(sent).await?;
        match end.said {
            Said::Ack => {
                if let Some(record) = self.record_soon(sent).await? {
                    return Ok(Outcome::Recorded(record));
                }
                let deferred = |seen: &Seen| seen.is_signal("deferred", sent.cid.as_str());
                Ok(match self.tape.all(deferred).first() {
                    Some(signal) => Outcome::Deferred(signal.json()),
                    None => Outcome::Nothing,
                })
            }
            Said::Term(_) => {
                let failed = self.signal("failed", sent).await?;
                Ok(Outcome::Failed(failed.json()))
            }
            Said::Nak(Some(delay)) => Ok(Outcome::Again(delay)),
            Said::Nak(None) => bail!("the task of {} was answered with a bare -NAK", sent.cid),
            Said::Renew | Said::Other(_) => {
                bail!("the task of {} was answered with {}", sent.cid, end.said)
            }
        }
    }

    /// Waits until a task has ended as it should for any plugin: with a record, as failed, or later.
    pub(in super::super) async fn settled(&self, sent: &Sent) -> anyhow::Result<Outcome> {
        let outcome = self.outcome(sent).await?;
        ensure!(
            outcome != Outcome::Nothing,
            "the task of {} was acknowledged without a record and without a signal",
            sent.cid
        );
        Ok(outcome)
    }

    /// Waits for the record of a task and returns it.
    pub(in super::super) async fn recorded(&self, sent: &Sent) -> anyhow::Result<Value> {
        let outcome = self.settled(sent).await?;
        if let Outcome::Recorded(record) = outcome {
            return Ok(record);
        }
        let how = outcome.word();
        if self.about.scripted {
            bail!("the task of {} ended as {how}, not with a record", sent.cid);
        }
        Err(NotApplicable(format!(
            "of {} the plugin makes no record, it is {how}; name another file with --file",
            sent.path.file_name().unwrap_or_default().display(),
        ))
        .into())
    }

    /// Waits for the record of a task that must be completed.
    pub(in super::super) async fn completed(&self, sent: &Sent) -> anyhow::Result<Value> {
        let record = self.recorded(sent).await?;
        ensure!(text(&record, "status") == "completed", "the record says {record}");
        Ok(record)
    }
}

/// The first answer that ends this delivery or a later one.
fn ended(all: &[Seen], sequence: u64, delivery: u32) -> Option<End> {
    all.iter().find_map(|seen| {
        let (place, said) = seen.answer_to(sequence)?;
        (place.delivered >= delivery && said.is_final()).then(|| End {
            place: *place,
            said: said.clone(),
            at: seen.at,
        })
    })
}
