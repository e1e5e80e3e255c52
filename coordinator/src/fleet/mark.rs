//! What a scan remembers of itself: that everything below a folder was handed in to this graph of
//! plugins.
//!
//! While the mark holds, a file that is as it was has nothing left to run and is not handed in
//! again. When a plugin, a version or a setting is another the mark does not match, and the next
//! scan hands in unchanged files too: they are not hashed again, and only what is outdated runs.

use std::path::PathBuf;

use async_nats::HeaderMap;
use broker_config::Names;
use broker_config::read::last_messages;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::source::index::DirHash;
use crate::store::patience::Patience;
use crate::store::plugins::deletion;
use crate::store::{Store, StoreError};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    r#type: MarkType,
    /// For people.
    root: String,
    /// The graph, as [`Store::graph_mark`] has it.
    graph: String,
    /// The last submission there was; while one up to it is open, not all is settled.
    through: u64,
    /// For people, RFC 3339.
    at: String,
}

#[derive(Serialize, Deserialize)]
enum MarkType {
    #[serde(rename = "metafleet.scan.v1")]
    V1,
}

/// Key of the mark of a folder; two tokens, where known paths have three.
fn subject(names: &Names, root: &str) -> String {
    Names::key_subject(&names.paths_bucket(), &format!("scan.{root}"))
}

/// Whether each root, or a folder above it, was scanned to its end for this graph; and, for
/// somebody who `waits`, whether all that was handed in then is settled.
pub(super) async fn covers(
    store: &Store,
    roots: &[PathBuf],
    graph: &str,
    waits: bool,
) -> Result<bool, StoreError> {
    let names = store.names();
    let open = store.stream_state(&names.submit_stream()).await?;
    let is_settled = |through: u64| open.messages == 0 || open.first_seq > through;
    let stream = Names::bucket_stream(&names.paths_bucket());
    for root in roots {
        let above: Vec<String> =
            root.ancestors().map(|dir| subject(names, &DirHash::of(dir).to_string())).collect();
        let found = last_messages(store.client(), &stream, &above)
            .await
            .map_err(|error| StoreError::of_read("read marks of scans", error))?;
        let is_same = |payload: &[u8]| {
            serde_json::from_slice::<Mark>(payload)
                .is_ok_and(|mark| mark.graph == graph && (!waits || is_settled(mark.through)))
        };
        if !found.iter().any(|stored| !stored.is_deletion() && is_same(&stored.payload)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Notes that everything below the roots was handed in.
pub(super) async fn put(
    store: &Store,
    patience: &Patience,
    roots: &[PathBuf],
    graph: &str,
    now: &str,
) -> Result<(), StoreError> {
    let submitted = patience.stream_state(store, &store.names().submit_stream()).await?;
    let through = submitted.last_seq;
    for root in roots {
        let mark = Mark {
            through,
            r#type: MarkType::V1,
            root: root.to_string_lossy().into_owned(),
            graph: graph.to_owned(),
            at: now.to_owned(),
        };
        let what = format!("mark the scan of {}", mark.root);
        let body = serde_json::to_vec(&mark)
            .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
        let subject = subject(store.names(), &DirHash::of(root).to_string());
        let (headers, body) = (HeaderMap::new(), Bytes::from(body));
        let stored = patience.publish(store, &subject, &headers, &body).await;
        stored.map_err(|error| StoreError::of_publish(&what, error))?;
    }
    Ok(())
}

/// Forgets all marks: files were, or are about to be, handed in for a part of the graph only.
pub(super) async fn forget(store: &Store) -> Result<(), StoreError> {
    let names = store.names();
    let stream = Names::bucket_stream(&names.paths_bucket());
    for stored in store.all(stream, subject(names, "*")).await? {
        let gone = store.publisher().publish(stored.subject, deletion(), Bytes::new()).await;
        gone.map_err(|error| StoreError::of_publish("forget marks of scans", error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::store::testing::TestBroker;

    #[tokio::test]
    async fn a_mark_covers_what_is_below_it_until_the_graph_changes() -> anyhow::Result<()> {
        let (_broker, store) = TestBroker::start().await?;
        let dirs = |dirs: &[&str]| dirs.iter().map(PathBuf::from).collect::<Vec<_>>();

        let patience = Patience::new(CancellationToken::new());
        put(&store, &patience, &dirs(&["/a/b"]), "g", "now").await?;

        for (roots, graph, expected) in [
            (&["/a/b"] as &[&str], "g", true),
            (&["/a/b/c"], "g", true),
            (&["/a"], "g", false),
            (&["/a/b", "/x"], "g", false),
            (&["/a/b"], "h", false),
        ] {
            let covered = covers(&store, &dirs(roots), graph, true).await?;
            assert_eq!(covered, expected, "{roots:?} {graph}");
        }
        forget(&store).await?;
        assert!(!covers(&store, &dirs(&["/a/b"]), "g", false).await?);
        Ok(())
    }

    #[tokio::test]
    async fn who_waits_is_not_told_that_open_files_are_done() -> anyhow::Result<()> {
        let (_broker, store) = TestBroker::start().await?;
        let roots = [PathBuf::from("/a")];
        let submit = store.names().submit(broker_config::Queue::Fast);
        let body = Bytes::from_static(b"{}");
        let run = store.publisher().publish(submit, HeaderMap::new(), body).await?;

        let patience = Patience::new(CancellationToken::new());
        put(&store, &patience, &roots, "g", "now").await?;

        assert!(covers(&store, &roots, "g", false).await?);
        assert!(!covers(&store, &roots, "g", true).await?);
        store.delete_message(&store.names().submit_stream(), run).await?;
        assert!(covers(&store, &roots, "g", true).await?);
        Ok(())
    }
}
