use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use broker_config::wire::files::encode_path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::config::Secret;
use crate::http::{HttpOptions, Limits, Server};

/// How long an answer may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A library with a server in front of it, and things beside it that are nobody's business.
struct Place {
    home: TempDir,
    address: std::net::SocketAddr,
    token: String,
    _stop: DropGuard,
    _server: AbortOnDropHandle<()>,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Place {
    async fn new() -> Result<Self> {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::create_dir_all(home.path().join("library/films"))?;
        fs::write(home.path().join("secret"), "hush")?;
        let key = Arc::new(Key::new(Secret::new("of this test")));
        let token = key.token(&"full-hash".parse()?);
        let routes = routes(key, Libraries::new(vec![home.path().join("library")]));
        let options = HttpOptions { any_host: true, limits, ..HttpOptions::default() };
        let server = Server::bind(&options, routes).await?;
        let (address, stop) = (server.address(), CancellationToken::new());
        let _server = AbortOnDropHandle::new(
            tokio::runtime::Handle::current().spawn(server.run(stop.clone())),
        );
        Ok(Self { home, address, token, _stop: stop.drop_guard(), _server })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Sends a request as it is, and reads until the other end closes.
    async fn raw(&self, request: &str) -> Result<Reply> {
        let mut stream = TcpStream::connect(self.address).await?;
        // It may have closed before it has read everything.
        stream.write_all(request.as_bytes()).await.ok();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await?.ok();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.context("no head")?);
        let head = String::from_utf8(head.to_vec())?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Reply { status, head, body: body[4..].to_vec() })
    }

    async fn ask(&self, method: &str, query: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        let more: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let token = if more.contains("Authorization") {
            String::new()
        } else {
            format!("Authorization: Bearer {}\r\n", self.token)
        };
        self.raw(&format!(
            "{method} /files{query} HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n{token}{more}\r\n"
        ))
        .await
    }

    async fn get(&self, path: &Path, headers: &[(&str, &str)]) -> Result<Reply> {
        let query = format!("?path={}", encode_path(path.as_os_str().as_bytes()));
        self.ask("GET", &query, headers).await
    }
}

#[tokio::test]
async fn a_file_is_sent_whole_and_in_parts() -> Result<()> {
    let place = Place::new().await?;
    let path = place.path("library/films").join(OsStr::from_bytes(b"Caf\xe9 +%26 #1.mkv"));
    let content: Vec<u8> = (0..=250).cycle().take(700_000).collect();
    fs::write(&path, &content)?;

    let whole = place.get(&path, &[]).await?;
    assert_eq!((whole.status, whole.body == content), (200, true), "{}", whole.head);
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-length"), Some("700000"));
    let etag = whole.header("etag").context("an ETag")?;

    let part = [("Range", "bytes=300000-600000"), ("If-Match", etag)];
    let part = place.get(&path, &part).await?;
    assert_eq!((part.status, part.body == content[300_000..=600_000]), (206, true));
    assert_eq!(part.header("content-range"), Some("bytes 300000-600000/700000"));
    assert_eq!(part.header("etag"), Some(etag));

    let query = format!("?path={}", encode_path(path.as_os_str().as_bytes()));
    let head = place.ask("HEAD", &query, &[]).await?;
    assert_eq!((head.status, head.body.len()), (200, 0), "{}", head.head);
    assert_eq!(head.header("content-length"), Some("700000"));
    let outside = place.get(&path, &[("Range", "bytes=700000-")]).await?;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */700000")));
    assert_eq!(place.ask("POST", &query, &[]).await?.status, 405);

    fs::write(&path, "another")?;
    assert_eq!(place.get(&path, &[("If-Match", etag)]).await?.status, 412);
    let new = place.get(&path, &[("Range", "bytes=0-1"), ("If-Range", etag)]).await?;
    assert_eq!((new.status, new.body.as_slice()), (200, b"another".as_slice()));
    Ok(())
}

#[tokio::test]
async fn nothing_else_of_the_machine_can_be_read() -> Result<()> {
    let place = Place::new().await?;
    let films = place.path("library/films");
    fs::write(films.join("film"), "film")?;
    for (link, to) in [
        ("out", place.path("secret")),
        ("far", PathBuf::from("../../secret")),
        ("passwd", PathBuf::from("/etc/passwd")),
        ("proc", PathBuf::from("/proc/self/root/etc/passwd")),
        ("folder-out", place.path("")),
        ("loop", PathBuf::from("loop")),
        ("inside", PathBuf::from("film")),
        ("inside-absolute", films.join("film")),
        ("dangling", PathBuf::from("gone")),
        ("tty", PathBuf::from("/dev/tty")),
    ] {
        symlink(to, films.join(link))?;
    }
    let made = std::process::Command::new("mkfifo").arg(films.join("pipe")).status()?;
    anyhow::ensure!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(films.join("socket"))?;
    let there = films.to_str().context("text")?;
    for (path, expected) in [
        ("film", 200),
        ("inside", 200),
        ("inside-absolute", 200),
        ("./film", 200),
        ("out", 403),
        ("far", 403),
        ("passwd", 403),
        ("proc", 403),
        ("tty", 403),
        ("folder-out/secret", 403),
        ("../../secret", 403),
        ("%2e%2e/%2e%2e/secret", 403),
        ("..%2f..%2fsecret", 403),
        ("film/", 200),
        ("film/x", 404),
        ("gone", 404),
        ("dangling", 404),
        ("loop", 404),
        ("pipe", 404),
        ("socket", 404),
        ("", 404),
        ("film%00", 400),
        ("fi%lm", 400),
    ] {
        let answer = place.ask("GET", &format!("?path={there}/{path}"), &[]).await?;
        assert_eq!(answer.status, expected, "{path}: {}", String::from_utf8_lossy(&answer.body));
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("hush") && !body.contains("root:"), "{path}: {body}");
    }
    for query in ["?path=/etc/passwd", "?path=etc/passwd", "?path=/", "?path=/dev/zero", "?path="] {
        assert_eq!(place.ask("GET", query, &[]).await?.status, 403, "{query}");
    }
    let twice = format!("?path={there}/film&path={there}/film");
    for query in ["", "?", "?file=/etc/passwd", &twice] {
        assert_eq!(place.ask("GET", query, &[]).await?.status, 400, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn only_a_token_of_the_fleet_opens() -> Result<()> {
    let place = Place::new().await?;
    fs::write(place.path("library/film"), "film")?;
    let path = place.path("library/film");
    let other = Key::new(Secret::new("of another fleet")).token(&"full-hash".parse()?);
    for wrong in [
        "Bearer x",
        "Bearer ",
        "Basic x",
        "",
        "Bearer full-hash.",
        &format!("Bearer {other}"),
        &format!("Bearer {}x", place.token),
        &format!("Basic {}", place.token),
    ] {
        let answer = place.get(&path, &[("Authorization", wrong)]).await?;
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(answer.header("www-authenticate").is_some(), "{}", answer.head);
    }
    let outside = place.ask("GET", "?path=/etc/passwd", &[("Authorization", "Bearer x")]).await?;
    assert_eq!(outside.status, 401, "what lies where is nobody's business without a token");
    let right = format!("bearer {}", place.token);
    assert_eq!(place.get(&path, &[("Authorization", &right)]).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn requests_are_bounded_and_a_client_that_does_not_read_is_cut_off() -> Result<()> {
    let stall = Duration::from_millis(500);
    let place = Place::with(Limits { stall, ..Limits::default() }).await?;
    let path = place.path("library/film");
    let file = fs::File::create(&path)?;
    file.set_len(1 << 30)?;
    let huge = place.ask("GET", &format!("?path=/{}", "a".repeat(200_000)), &[]).await?;
    assert!([414, 431].contains(&huge.status), "{}", huge.head);
    let long = format!("?path=/{}", "a".repeat(9_000));
    assert_eq!(place.ask("GET", &long, &[]).await?.status, 403);
    let body = [("Content-Length", "5")];
    assert!(place.get(&path, &body).await?.status >= 400);

    let mut stuck = TcpStream::connect(place.address).await?;
    let query = encode_path(path.as_os_str().as_bytes());
    let request = format!(
        "GET /files?path={query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        place.token
    );
    stuck.write_all(request.as_bytes()).await?;
    stuck.read_u8().await?;
    tokio::time::sleep(stall * 4).await;
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    let ended = timeout(PATIENCE, async {
        while let Ok(bytes @ 1..) = stuck.read(&mut buffer).await {
            read += bytes;
        }
    });
    ended.await?;
    assert!(read < 1 << 29, "{read} bytes came all the same");
    Ok(())
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_breaks_off() -> Result<()> {
    let place = Place::new().await?;
    let path = place.path("library/film");
    fs::File::create(&path)?.set_len(1 << 28)?;
    let mut slow = TcpStream::connect(place.address).await?;
    let query = encode_path(path.as_os_str().as_bytes());
    let request = format!(
        "GET /files?path={query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        place.token
    );
    slow.write_all(request.as_bytes()).await?;
    slow.read_u8().await?;

    fs::OpenOptions::new().append(true).open(&path)?.set_len(5)?;

    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest)).await?.ok();
    assert!(rest.len() < 1 << 28, "{} bytes of a file that is no more", rest.len());
    Ok(())
}
