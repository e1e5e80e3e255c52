//! Follows a log file line by line, also over the moment when it is moved aside because it is full.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::process::log::Lines;

/// Bytes from the end of a file in which the last lines are looked for.
const LAST_BYTES: u64 = 4 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A place in a log.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// The file that was opened last; it may have been moved aside.
    open: Option<Open>,
    lines: Lines,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    read: u64,
}

impl Tail {
    /// Opens the log at its end; returns the last lines before it. A log that is not there yet is
    /// empty.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub async fn open(path: PathBuf, last: usize) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let mut tail = Self { path, open: None, lines: Lines::default() };
        let mut found = VecDeque::new();
        if let Some((mut open, is_cut)) = open_near_end(&tail.path).await? {
            found = read_last(&mut open, &mut tail.lines, is_cut, last).await?;
            tail.open = Some(open);
        }
        if found.len() < last {
            let mut older = tail.path.clone().into_os_string();
            older.push(".1");
            if let Some((mut open, is_cut)) = open_near_end(Path::new(&older)).await? {
                let mut lines = Lines::default();
                let room = last - found.len();
                let mut before = read_last(&mut open, &mut lines, is_cut, room).await?;
                before.append(&mut found);
                found = before;
            }
        }
        Ok((tail, found.into()))
    }

    /// The lines that have come since; none is no error.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the file keeps what was read and not handed over.
    pub async fn more(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        if let Some(open) = &mut self.open {
            let read = feed(open, &mut self.lines, &mut |line| found.push(line.to_vec())).await?;
            if read > 0 {
                return Ok(found);
            }
        }
        // At its end: perhaps it goes on in another file, or was emptied.
        let present = match tokio::fs::metadata(&self.path).await {
            Ok(present) => present,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        let same = |open: &Open| open.inode == present.ino() && open.read <= present.len();
        if !self.open.as_ref().is_some_and(same) {
            let open = open_at(&self.path, 0).await?;
            self.lines.finish(|line| found.push(line.to_vec()));
            self.open = open;
        }
        Ok(found)
    }
}

async fn open_at(path: &Path, at: u64) -> io::Result<Option<Open>> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let inode = file.metadata().await?.ino();
    file.seek(SeekFrom::Start(at)).await?;
    Ok(Some(Open { file, inode, read: at }))
}

/// Opens a file not too far from its end; also says whether it begins within a line there.
async fn open_near_end(path: &Path) -> io::Result<Option<(Open, bool)>> {
    let length = match tokio::fs::metadata(path).await {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let at = length.saturating_sub(LAST_BYTES);
    Ok(open_at(path, at).await?.map(|open| (open, at > 0)))
}

/// Reads to the end; returns the last lines.
async fn read_last(
    open: &mut Open,
    lines: &mut Lines,
    is_cut: bool,
    last: usize,
) -> io::Result<VecDeque<Vec<u8>>> {
    let mut found = VecDeque::new();
    let mut skip = is_cut;
    // A writer that never rests must not keep us here.
    let limit = open.read.saturating_add(2 * LAST_BYTES);
    while open.read < limit {
        let mut take = |line: &[u8]| {
            if std::mem::take(&mut skip) || last == 0 {
                return;
            }
            if found.len() == last {
                found.pop_front();
            }
            found.push_back(line.to_vec());
        };
        if feed(open, lines, &mut take).await? == 0 {
            break;
        }
    }
    Ok(found)
}

/// Reads once; returns how many bytes there were.
async fn feed(
    open: &mut Open,
    lines: &mut Lines,
    take: &mut impl FnMut(&[u8]),
) -> io::Result<usize> {
    let mut buffer = vec![0; CHUNK];
    let read = open.file.read(&mut buffer).await?;
    open.read = open.read.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    lines.feed(buffer.get(..read).unwrap_or_default(), take);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn append(path: &Path, text: &str) -> io::Result<()> {
        std::fs::File::options().create(true).append(true).open(path)?.write_all(text.as_bytes())
    }

    /// All lines that are there to be read.
    async fn rest(tail: &mut Tail) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        // The first look may only find that the file is another.
        for _ in 0..4 {
            all.extend(texts(&tail.more().await?));
        }
        Ok(all)
    }

    fn texts(lines: &[Vec<u8>]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[tokio::test]
    async fn a_log_is_followed_over_its_rotation() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let (path, old) = (home.path().join("x.log"), home.path().join("x.log.1"));
        let (mut tail, before) = Tail::open(path.clone(), 10).await?;
        assert!(before.is_empty());
        append(&path, "1\n2\nhal")?;
        assert_eq!(rest(&mut tail).await?, ["1", "2"]);
        append(&path, "f\n3\n")?;
        assert_eq!(rest(&mut tail).await?, ["half", "3"]);

        append(&path, "4\n")?;
        std::fs::rename(&path, &old)?;
        append(&path, "5\n6\n")?;

        assert_eq!(rest(&mut tail).await?, ["4", "5", "6"]);
        std::fs::write(&path, "7\n")?;
        assert_eq!(rest(&mut tail).await?, ["7"], "it was emptied");
        Ok(())
    }

    #[tokio::test]
    async fn the_last_lines_come_from_both_files() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let (path, old) = (home.path().join("x.log"), home.path().join("x.log.1"));
        std::fs::write(&old, "1\n2\n3\n")?;
        std::fs::write(&path, "4\n5\n")?;
        for (last, expected) in [
            (0, vec![]),
            (1, vec!["5"]),
            (2, vec!["4", "5"]),
            (4, vec!["2", "3", "4", "5"]),
            (9, vec!["1", "2", "3", "4", "5"]),
        ] {
            let (mut tail, before) = Tail::open(path.clone(), last).await?;
            assert_eq!(texts(&before), expected, "{last}");
            assert!(rest(&mut tail).await?.is_empty());
        }
        std::fs::remove_file(&old)?;
        let many: String = (0..200_000).map(|n| format!("{n:064}\n")).collect();
        std::fs::write(&path, many)?;
        let (_, before) = Tail::open(path, 100_000).await?;
        let whole = |line: &Vec<u8>| line.len() == 64;
        assert!(before.len() > 60_000 && before.iter().all(whole), "{}", before.len());
        Ok(())
    }
}
