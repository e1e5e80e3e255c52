//! What plugins make of files beside metadata.

use broker_config::read::last_messages;
use broker_config::{ArtifactName, Cid, Lane, Names, PluginId};
use bytes::Bytes;

use super::{Store, StoreError};

impl Store {
    /// The bytes of an artefact; `None` when the plugin has made none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn artifact(
        &self,
        cid: &Cid,
        plugin: &PluginId,
        name: &ArtifactName,
    ) -> Result<Option<Bytes>, StoreError> {
        let stream = Names::bucket_stream(&self.names.artifacts_bucket());
        let filters = [self.names.artifact(cid, plugin, Lane::Main, name)];
        let found = last_messages(&self.client, &stream, &filters)
            .await
            .map_err(|error| StoreError::of_read("read an artefact", error))?;
        let kept = found.into_iter().find(|stored| !stored.is_deletion());
        Ok(kept.map(|stored| stored.payload))
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::super::testing::TestBroker;
    use super::*;

    #[tokio::test]
    async fn an_artefact_is_what_was_stored_last_under_its_name() -> anyhow::Result<()> {
        let (_broker, store) = TestBroker::start().await?;
        let (cid, plugin): (Cid, PluginId) = ("a:b".parse()?, "maker".parse()?);
        let (name, other): (ArtifactName, ArtifactName) = ("still.jpg".parse()?, "other".parse()?);
        let put = async |lane, headers: HeaderMap, bytes: &'static [u8]| -> anyhow::Result<()> {
            let subject = store.names.artifact(&cid, &plugin, lane, &name);
            store.publisher.publish(subject, headers, Bytes::from_static(bytes)).await?;
            Ok(())
        };

        assert_eq!(store.artifact(&cid, &plugin, &name).await?, None, "nothing is made yet");
        put(Lane::Next, HeaderMap::new(), b"a trial's").await?;
        assert_eq!(store.artifact(&cid, &plugin, &name).await?, None, "a trial is not shown");
        for bytes in [&b"one"[..], b"\xff\0two", b""] {
            put(Lane::Main, HeaderMap::new(), bytes).await?;
            assert_eq!(store.artifact(&cid, &plugin, &name).await?.as_deref(), Some(bytes));
        }
        assert_eq!(store.artifact(&cid, &plugin, &other).await?, None);
        assert_eq!(store.artifact(&"a".parse()?, &plugin, &name).await?, None);
        assert_eq!(store.artifact(&cid, &"other".parse()?, &name).await?, None);
        let mut deleted = HeaderMap::new();
        deleted.insert("KV-Operation", "DEL");
        put(Lane::Main, deleted, b"").await?;
        assert_eq!(store.artifact(&cid, &plugin, &name).await?, None, "it was deleted");
        Ok(())
    }
}
