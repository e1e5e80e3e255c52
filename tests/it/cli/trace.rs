//! One file's run is one trace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use integration_tests::cli::Home;
use integration_tests::heavy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A span as it was exported.
#[derive(Clone, Debug)]
struct Span {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
}

/// Stands in for a collector: takes spans over HTTP.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    pub(super) bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    _serving: JoinSet<()>,
}

impl Collector {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let mut serving = JoinSet::new();
        let kept = bodies.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                connections.spawn(async move { serve(stream, &kept).await });
            }
        });
        Ok(Self { address, bodies, _serving: serving })
    }

    fn spans(&self) -> anyhow::Result<Vec<Span>> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for body in bodies.iter() {
            all.extend(spans(body).context("a message of spans")?);
        }
        Ok(all)
    }
}

async fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        let end = head + length.trim().parse::<usize>().ok()?;
        while buffer.len() < end {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        let rest = buffer.split_off(end);
        let body = buffer.split_off(head);
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        buffer = rest;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()?;
    }
}

/// The fields of a protobuf message that hold bytes, by number.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message)?;
        let length = match key & 7 {
            0 => {
                number(&mut message)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(number(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = message.split_at_checked(length)?;
        if key & 7 == 2 {
            found.push((key >> 3, value));
        }
        message = rest;
    }
    Some(found)
}

fn number(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// All values of one field.
fn all(message: &[u8], wanted: u64) -> Option<Vec<&[u8]>> {
    let found = fields(message)?.into_iter();
    Some(found.filter(|(number, _)| *number == wanted).map(|(_, value)| value).collect())
}

/// The first value of one field; empty if there is none.
fn first(message: &[u8], wanted: u64) -> Option<&[u8]> {
    Some(all(message, wanted)?.first().copied().unwrap_or_default())
}

/// An `ExportTraceServiceRequest`: resource spans → scope spans → spans.
fn spans(body: &[u8]) -> Option<Vec<Span>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found = Vec::new();
    for resource_spans in all(body, 1)? {
        let mut service = String::new();
        for attribute in all(first(resource_spans, 1)?, 1)? {
            if first(attribute, 1)? == b"service.name" {
                service = text(first(first(attribute, 2)?, 1)?);
            }
        }
        for scope_spans in all(resource_spans, 2)? {
            for span in all(scope_spans, 2)? {
                found.push(Span {
                    service: service.clone(),
                    name: text(first(span, 5)?),
                    trace: first(span, 1)?.to_vec(),
                    id: first(span, 2)?.to_vec(),
                    parent: first(span, 4)?.to_vec(),
                });
            }
        }
    }
    Some(found)
}

#[tokio::test]
async fn the_run_of_one_file_is_one_trace_from_the_scan_to_every_plugin() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let collector = Collector::start().await?;
    let home = Home::with_demo_library().await?;
    let home =
        home.with_var("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address));
    let film = home.file("Pictures/diagram.png");

    let done = home.run(&["scan", &film, "--wait"]).await?.ok()?;

    let spans = collector.spans()?;
    let of = |name: &str| spans.iter().filter(move |span| span.name == name).collect::<Vec<_>>();
    let submitted = of("submit");
    assert_eq!(submitted.len(), 1, "{spans:?} {done:?}");
    let trace = &submitted[0].trace;
    assert_eq!((submitted[0].service.as_str(), trace.len()), ("metafleet", 16));
    let dispatched: BTreeMap<&[u8], &str> =
        of("dispatch").iter().map(|span| (span.id.as_slice(), span.service.as_str())).collect();
    assert_eq!(dispatched.len(), 2, "one for each plugin: {spans:?}");
    assert!(dispatched.values().all(|service| *service == "metafleet"));
    let processed: Vec<&Span> = spans.iter().filter(|span| span.name.contains("process")).collect();
    let services: BTreeSet<&str> = processed.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services, ["file-info", "full-hash"].into(), "{spans:?}");
    for span in &processed {
        assert!(dispatched.contains_key(span.parent.as_slice()), "{span:?} has no dispatch");
    }
    for span in of("dispatch").into_iter().chain(processed) {
        assert_eq!(&span.trace, trace, "{span:?} is in another trace");
    }
    Ok(())
}
