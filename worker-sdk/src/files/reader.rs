//! Reads a file that is here or elsewhere, with the same calls.

use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use broker_config::wire::files::MOST_AHEAD;
use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _, ReadBuf};
use tokio::runtime::Handle;

use super::remote::{FIRST, Remote};
use crate::context::BoxFuture;

/// A file of a task, open for reading; it can be read from anywhere.
///
/// Where its bytes come from elsewhere, at most 1 MiB of them is held, and little is got that is
/// not read: reading on asks for ever larger pieces, a jump begins with a small one again.
#[derive(Debug)]
pub struct FileReader(Inner);

#[derive(Debug)]
enum Inner {
    Here { file: File, size: u64 },
    Elsewhere(Box<Elsewhere>),
}

struct Elsewhere {
    state: State,
    size: u64,
    position: u64,
    /// What was got last, and where it begins.
    piece: Bytes,
    begins: u64,
    /// Bytes of the next piece.
    ahead: u64,
}

type Got = (Box<Remote>, u64, io::Result<Bytes>);

enum State {
    Idle(Box<Remote>),
    /// Never locked; the mutex lets the reader be shared while nobody reads.
    Getting(Mutex<BoxFuture<'static, Got>>),
    /// Getting failed; the next read tries again.
    Lost,
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elsewhere").field("size", &self.size).finish_non_exhaustive()
    }
}

impl FileReader {
    pub(super) fn here(file: File, size: u64) -> Self {
        Self(Inner::Here { file, size })
    }

    pub(super) fn elsewhere(remote: Remote, beginning: Bytes) -> Self {
        let size = remote.size;
        Self(Inner::Elsewhere(Box::new(Elsewhere {
            state: State::Idle(Box::new(remote)),
            size,
            position: 0,
            piece: beginning,
            begins: 0,
            ahead: FIRST * 2,
        })))
    }

    /// Whether the file is on this machine.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.0, Inner::Here { .. })
    }

    /// Bytes of the file when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.0 {
            Inner::Here { size, .. } => *size,
            Inner::Elsewhere(elsewhere) => elsewhere.size,
        }
    }

    /// When the file was last changed; `None` where that is not known, as of one elsewhere.
    pub async fn modified(&self) -> Option<SystemTime> {
        match &self.0 {
            Inner::Here { file, .. } => file.metadata().await.ok()?.modified().ok(),
            Inner::Elsewhere(_) => None,
        }
    }

    /// The same for code that blocks its thread, e.g. in `tokio::task::spawn_blocking`.
    pub async fn into_blocking(self) -> BlockingReader {
        BlockingReader(match self.0 {
            Inner::Here { file, .. } => Blocking::Here(file.into_std().await),
            elsewhere @ Inner::Elsewhere(_) => {
                Blocking::Elsewhere { reader: Self(elsewhere), handle: Handle::current() }
            }
        })
    }
}

impl Elsewhere {
    /// What is held from the position on.
    fn held(&self) -> &[u8] {
        let into = self.position.checked_sub(self.begins).and_then(|at| usize::try_from(at).ok());
        into.and_then(|at| self.piece.get(at..)).unwrap_or_default()
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let held = self.held();
            if !held.is_empty() {
                let length = held.len().min(buffer.remaining());
                buffer.put_slice(held.get(..length).unwrap_or_default());
                self.position += length as u64;
                return Poll::Ready(Ok(()));
            }
            if self.position >= self.size || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match std::mem::replace(&mut self.state, State::Lost) {
                State::Idle(remote) => self.state = State::Getting(Mutex::new(self.get(remote))),
                State::Getting(mut getting) => match polled(&mut getting, context) {
                    Poll::Pending => {
                        self.state = State::Getting(getting);
                        return Poll::Pending;
                    }
                    Poll::Ready((remote, begins, got)) => {
                        self.state = State::Idle(remote);
                        self.piece = got?;
                        self.begins = begins;
                    }
                },
                State::Lost => return Poll::Ready(Err(io::Error::other("reading was given up"))),
            }
        }
    }

    fn get(&mut self, mut remote: Box<Remote>) -> BoxFuture<'static, Got> {
        let (begins, length) = (self.position, self.ahead.min(self.size - self.position));
        self.ahead = (self.ahead * 2).min(MOST_AHEAD);
        Box::pin(async move {
            let got = remote.piece(begins, length).await;
            (remote, begins, got)
        })
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<()> {
        let from = |base: u64, by: i64| base.checked_add_signed(by);
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => from(self.position, by),
            SeekFrom::End(by) => from(self.size, by),
        };
        let before = "a position before the beginning of the file";
        let position =
            position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, before))?;
        let goes_on = position == self.begins + self.piece.len() as u64;
        self.position = position;
        if self.held().is_empty() && !goes_on {
            self.ahead = FIRST;
        }
        Ok(())
    }
}

fn polled(getting: &mut Mutex<BoxFuture<'static, Got>>, context: &mut Context<'_>) -> Poll<Got> {
    getting.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(context)
}

impl AsyncRead for FileReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Here { file, .. } => Pin::new(file).poll_read(context, buffer),
            Inner::Elsewhere(elsewhere) => elsewhere.poll_read(context, buffer),
        }
    }
}

impl AsyncSeek for FileReader {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        match &mut self.0 {
            Inner::Here { file, .. } => Pin::new(file).start_seek(to),
            Inner::Elsewhere(elsewhere) => elsewhere.seek(to),
        }
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match &mut self.0 {
            Inner::Here { file, .. } => Pin::new(file).poll_complete(context),
            Inner::Elsewhere(elsewhere) => Poll::Ready(Ok(elsewhere.position)),
        }
    }
}

/// A [`FileReader`] for code that blocks its thread.
///
/// Must not be used where async code runs.
#[derive(Debug)]
pub struct BlockingReader(Blocking);

#[derive(Debug)]
enum Blocking {
    Here(std::fs::File),
    Elsewhere { reader: FileReader, handle: Handle },
}

impl BlockingReader {
    /// The file, if it is on this machine.
    #[must_use]
    pub fn file(&self) -> Option<&std::fs::File> {
        match &self.0 {
            Blocking::Here(file) => Some(file),
            Blocking::Elsewhere { .. } => None,
        }
    }

    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn size(&self) -> io::Result<u64> {
        match &self.0 {
            Blocking::Here(file) => Ok(file.metadata()?.len()),
            Blocking::Elsewhere { reader, .. } => Ok(reader.size()),
        }
    }
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Blocking::Here(file) => file.read(buffer),
            Blocking::Elsewhere { reader, handle } => handle.block_on(reader.read(buffer)),
        }
    }
}

impl Seek for BlockingReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Blocking::Here(file) => file.seek(to),
            Blocking::Elsewhere { reader, handle } => handle.block_on(reader.seek(to)),
        }
    }
}
