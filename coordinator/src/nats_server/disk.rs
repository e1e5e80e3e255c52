//! Room for the store: how much the server may use, and what to do when there is none.
//!
//! A server that is told nothing takes three quarters of what is free when it starts, and refuses
//! everything after a restart once it holds more than that. One that may use all of the disk runs
//! into its end, and then keeps the stream shut until it is restarted. So it may use what is free
//! but for a reserve: then it refuses what is too much, and goes on as soon as something is
//! removed. When others fill the disk all the same, it is restarted as soon as there is room.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What the store leaves free, at most.
const RESERVE: u64 = 256 << 20;
/// With less than this, a person should know. Of a small disk, a tenth.
const LITTLE: u64 = 64 << 20;
/// How long the server may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// What it says is short.
const MAX_ANSWER: u64 = 64 << 10;

/// How much there is and how much is left, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) used: u64,
    pub(super) free: u64,
    /// Of the whole disk.
    pub(super) total: u64,
}

/// What is to be done for a server that runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing; the text is what a person should know, if anything.
    Fine(Option<String>),
    /// It may use more: so many bytes in all.
    Raise(u64),
    /// It writes again only after a restart.
    Restart(String),
}

impl Room {
    /// Looks at the disk under `store`.
    pub(super) fn look(store: &Path) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(store.parent().unwrap_or(store))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let (free, total) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
        Ok(Self { used: size(store), free, total })
    }

    /// PURE: with less room than this, nothing is expected to go well for long.
    fn little(self) -> u64 {
        LITTLE.min(self.total / 10)
    }

    /// PURE: bytes that the store may have in all.
    pub(super) fn limit(self) -> u64 {
        let reserve = RESERVE.min(self.free / 10);
        self.used.saturating_add(self.free - reserve)
    }
}

/// PURE: what to do for a server that may use `limit` and says that `problem` is wrong with it.
pub(super) fn care(limit: u64, room: Room, problem: Option<String>) -> Care {
    if let Some(problem) = problem {
        let writes = problem.contains("write error");
        return if writes && room.free >= room.little() {
            Care::Restart(problem)
        } else {
            Care::Fine(Some(problem))
        };
    }
    let possible = room.limit();
    if possible >= limit.saturating_add((limit / 10).max(LITTLE)) {
        return Care::Raise(possible);
    }
    let left = limit.saturating_sub(room.used).min(room.free);
    let text = || format!("the disk is nearly full: {} MiB left for the broker", left >> 20);
    Care::Fine((left < room.little()).then(text))
}

/// Asks the server how it is; `None` = well, or it does not answer just now.
pub(super) async fn problem(monitoring: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Health {
        error: Option<String>,
    }
    let address = monitoring.strip_prefix("http://")?;
    let answer = timeout(PATIENCE, get(address, "/healthz")).await.ok()?.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str::<Health>(body).ok()?.error
}

pub(super) async fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Bytes below `dir`, as far as they can be counted: files come and go meanwhile.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| if meta.is_dir() { size(&path) } else { meta.len() })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn the_store_may_use_what_is_free_but_for_a_reserve() {
        for (used, free, limit) in [(0, 60, 54), (500, 0, 500), (1_000, 100_000, 100_744)] {
            let room = Room { used: used * MB, free: free * MB, total: 1 << 40 };
            assert_eq!(room.limit() / MB, limit, "{used} used, {free} free");
        }
    }

    #[test]
    fn care_follows_the_table() {
        let frozen = || Some("stream 'S' write error: no space left on device".to_owned());
        let other = || Some("JetStream is not enabled".to_owned());
        for (case, total, limit, used, free, problem, expected) in [
            ("well", 9_000, 900, 100, 900, None, Care::Fine(None)),
            ("others fill the disk", 9_000, 900, 100, 60, None, Care::Fine(Some("60".into()))),
            ("the limit is reached", 9_000, 900, 890, 70, None, Care::Fine(Some("10".into()))),
            (
                "space was freed",
                9_000,
                900,
                890,
                2_560,
                None,
                Care::Raise((890 + 2_560 - 256) * MB),
            ),
            ("frozen, no room", 9_000, 900, 900, 10, frozen(), Care::Fine(frozen())),
            ("frozen, room", 9_000, 900, 900, 64, frozen(), Care::Restart(frozen().unwrap())),
            ("frozen, a small disk", 90, 80, 70, 8, frozen(), Care::Fine(frozen())),
            ("frozen, room on it", 90, 80, 70, 9, frozen(), Care::Restart(frozen().unwrap())),
            ("room on a small disk", 90, 70, 60, 10, None, Care::Fine(None)),
            ("a restart would not help", 9_000, 900, 1, 900, other(), Care::Fine(other())),
        ] {
            let room = Room { used: used * MB, free: free * MB, total: total * MB };
            let mut got = care(limit * MB, room, problem);
            if let Care::Fine(Some(text)) = &mut got
                && let Some(left) = text.strip_prefix("the disk is nearly full: ")
            {
                *text = left.split(' ').next().unwrap().to_owned();
            }
            assert_eq!(got, expected, "{case}");
        }
    }

    #[test]
    fn a_folder_is_as_large_as_its_files() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir_all(home.path().join("store/a/b"))?;
        std::fs::write(home.path().join("store/a/x"), [0; 10])?;
        std::fs::write(home.path().join("store/a/b/y"), [0; 5])?;
        let room = Room::look(&home.path().join("store"))?;
        assert_eq!(room.used, 15);
        assert!(room.free > 0);
        assert_eq!(Room::look(&home.path().join("none"))?.used, 0);
        Ok(())
    }
}
