//! Tasks given up on: read, tried again, thrown away.

use async_nats::HeaderMap;
use broker_config::header::MESSAGE_ID;
use broker_config::read::{Stored, message_at};
use broker_config::{DeadLetter, PluginId, Queue, Submission};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::{Store, StoreError};

/// A dead letter and where it is kept.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadEntry {
    /// Its sequence in the stream: the name by which people refer to it.
    pub id: u64,
    /// The letter.
    #[serde(flatten)]
    pub letter: DeadLetter,
}

impl Store {
    /// All dead letters, of one plugin if it is given, oldest first. Junk is left out and logged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the stream cannot be read.
    pub async fn dead_letters(
        &self,
        plugin: Option<&PluginId>,
    ) -> Result<Vec<DeadEntry>, StoreError> {
        let filters = match plugin {
            None => vec![self.names.all_dead()],
            Some(plugin) => Queue::ALL.map(|queue| self.names.dead(queue, plugin)).to_vec(),
        };
        let mut letters = Vec::new();
        for filter in filters {
            let found = self.all(self.names.dead_stream(), filter).await?;
            letters.extend(found.iter().filter_map(read));
        }
        letters.sort_by_key(|entry| entry.id);
        Ok(letters)
    }

    /// One dead letter.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the stream cannot be read.
    pub async fn dead_letter(&self, id: u64) -> Result<Option<DeadEntry>, StoreError> {
        let found = message_at(&self.client, &self.names.dead_stream(), id)
            .await
            .map_err(|error| StoreError::of_read("read dead letters", error))?;
        Ok(found.as_ref().and_then(read))
    }

    /// Hands the file in again for the plugin that failed, then deletes the letter.
    ///
    /// After a crash in between the letter is still there; doing it again within two minutes
    /// hands in nothing more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the letter is kept unless the file was handed in.
    pub async fn requeue(&self, entry: &DeadEntry) -> Result<(), StoreError> {
        let what = format!("dead letter {}", entry.id);
        let letter = &entry.letter;
        let submission = Submission {
            rerun: vec![letter.plugin_id.clone()],
            depth: letter.task.depth,
            ..Submission::new(
                letter.cid.clone(),
                letter.task.path.clone(),
                letter.task.file.clone(),
            )
        };
        let body = serde_json::to_vec(&submission)
            .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
        let mut headers = HeaderMap::new();
        // Plugins must not know it beforehand; they do not see the letter.
        let whole = serde_json::to_vec(letter)
            .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(whole));
        headers.insert(MESSAGE_ID, format!("requeue-{}-{hash}", entry.id));
        self.publisher
            .publish(self.names.submit(letter.queue), headers, Bytes::from(body))
            .await
            .map_err(|error| StoreError::of_publish(&what, error))?;
        self.drop_dead(entry.id).await
    }

    /// Deletes a dead letter.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not do it.
    pub async fn drop_dead(&self, id: u64) -> Result<(), StoreError> {
        self.delete_message(&self.names.dead_stream(), id).await
    }
}

fn read(stored: &Stored) -> Option<DeadEntry> {
    match serde_json::from_slice(&stored.payload) {
        Ok(letter) => Some(DeadEntry { id: stored.sequence, letter }),
        Err(error) => {
            warn!(sequence = stored.sequence, %error, "a dead letter cannot be understood");
            None
        }
    }
}
