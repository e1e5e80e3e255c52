//! Single requests that are odd, too large or broken: refused in words, and nothing is changed.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::api::Api;
use integration_tests::{LIMIT, heavy};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fleet;

const SECRET: &str = "hush-canary-4711";

/// What it is called, its first line, more headers, the body, and the status that it gets.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], Vec<u8>, u16);

/// An answer as it came.
struct Raw {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Sends bytes as they are.
async fn raw(api: &Api, request: &[u8]) -> anyhow::Result<Raw> {
    let host = api.url.strip_prefix("http://").context("an address")?;
    let mut stream = TcpStream::connect(host).await?;
    // It may be refused, and the connection closed, before all of it was sent.
    stream.write_all(request).await.ok();
    let mut bytes = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut bytes)).await?.ok();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.map_or(bytes.len(), |at| at + 4));
    let head = String::from_utf8_lossy(head).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Raw { status: status.unwrap_or_default(), head, body: body.to_vec() })
}

/// A request with the token; the line, more headers, the body.
fn request(api: &Api, line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let host = api.url.strip_prefix("http://").unwrap_or_default();
    let mut all = format!("{line} HTTP/1.1\r\n");
    if !headers.iter().any(|header| header.to_lowercase().starts_with("host")) {
        all += &format!("Host: {host}\r\n");
    }
    all += &format!("Authorization: Bearer {}\r\nConnection: close\r\n", api.token);
    for header in headers {
        all += &format!("{header}\r\n");
    }
    let is_framed = headers.iter().any(|header| {
        let header = header.to_lowercase();
        header.starts_with("content-length") || header.starts_with("transfer-encoding")
    });
    if !is_framed {
        all += &format!("Content-Length: {}\r\n", body.len());
    }
    [all.as_bytes(), b"\r\n", body].concat()
}

#[tokio::test]
async fn odd_requests_are_refused_in_words_and_change_nothing() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (_home, up, _look, api) = fleet().await?;
    let set = json!({"config": {"key": SECRET, "size": 7}}).to_string();
    assert_eq!(api.send("PUT", "/api/plugins/odd/config", &set).await?.status, 200);
    let config = api.get("/api/plugins/odd/config").await?;
    let (put, scale, logs) = (
        "PUT /api/plugins/odd/config",
        "POST /api/plugins/odd/scale",
        "GET /api/plugins/odd/instances/plugin-odd-1/logs",
    );
    let get = |path: &str| format!("GET /api/{path}");
    let many: Vec<String> = (0..90).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let deep = ["[".repeat(500_000), r#"{"config":"#.to_owned() + &r#"{"a":"#.repeat(100_000)];
    let large = vec![b' '; (1 << 20) + 1];
    let chunks =
        |body: &[u8]| [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    let chunked = &["Transfer-Encoding: chunked"][..];
    let none: &[&str] = &[];
    let long = format!("{logs}?tail={}", "9".repeat(8_000));
    let traversal = get(&format!("plugins/{}etc%2fpasswd", "..%2f".repeat(9)));
    let instance = "GET /api/plugins/odd/instances/..%2f..%2f..%2fapi-token/logs";

    let rows: Vec<Row<'_>> = vec![
        ("deep arrays", put, none, deep[0].clone().into(), 400),
        ("deep objects", put, none, deep[1].clone().into(), 400),
        ("deep arrays for a number", scale, none, deep[0].clone().into(), 422),
        ("one byte too many", put, none, large.clone(), 413),
        ("one byte too many, in chunks", put, chunked, chunks(&large), 413),
        ("a huge length", put, &["Content-Length: 9223372036854775807"], b"{}".to_vec(), 413),
        ("chunks that are none", put, chunked, b"zz\r\n{}\r\n0\r\n\r\n".to_vec(), 400),
        ("no UTF-8", put, none, b"{\"config\": {\"size\": \"\xff\xfe\"}}".to_vec(), 400),
        ("no UTF-8 for a number", scale, none, b"\xff\xfe".to_vec(), 422),
        ("no body", put, none, Vec::new(), 400),
        ("not a document", put, none, b"[]".to_vec(), 422),
        ("a key twice", scale, none, br#"{"instances": 1, "instances": 1}"#.to_vec(), 422),
        ("a number beyond", scale, none, br#"{"instances": 4294967297}"#.to_vec(), 422),
        ("a number below", scale, none, br#"{"instances": -1}"#.to_vec(), 422),
        ("a fraction", scale, none, br#"{"instances": 1.5}"#.to_vec(), 422),
        (
            "a secret in what is no JSON",
            put,
            none,
            format!("{{\"config\": {{\"key\": \"{SECRET}\"").into(),
            400,
        ),
        (
            "a secret of the wrong kind",
            put,
            none,
            json!({"config": {"key": [SECRET]}}).to_string().into(),
            422,
        ),
        (
            "a secret where a number is due",
            put,
            none,
            json!({"config": {"size": SECRET}}).to_string().into(),
            422,
        ),
        ("nobody's setting", put, none, br#"{"config": {"__proto__": {}}}"#.to_vec(), 422),
        ("an id that is no text", "GET /api/plugins/%FF", none, Vec::new(), 400),
        (
            "an instance that is no text",
            "GET /api/plugins/odd/instances/%80/logs",
            none,
            Vec::new(),
            400,
        ),
        ("an escape that is none", "GET /api/plugins/%zz", none, Vec::new(), 404),
        ("a zero", "GET /api/plugins/odd%00", none, Vec::new(), 404),
        ("out of the plugins", &traversal, none, Vec::new(), 404),
        ("out of the logs", instance, none, Vec::new(), 404),
        ("dots", "GET /api/plugins/../../api-token", none, Vec::new(), 404),
        ("two slashes", "GET //api//plugins", none, Vec::new(), 404),
        ("an absurd number", &long, none, Vec::new(), 400),
        (
            "an unknown parameter",
            "GET /api/plugins/odd/instances/plugin-odd-1/logs?a=b&a=b",
            none,
            Vec::new(),
            400,
        ),
        ("another host", "GET /api/plugins", &["Host: evil.example"], Vec::new(), 421),
        (
            "a host that begins well",
            "GET /api/plugins",
            &["Host: 127.0.0.1.evil.example"],
            Vec::new(),
            421,
        ),
        (
            "a host with a user",
            "GET /api/plugins",
            &["Host: localhost:1@evil.example"],
            Vec::new(),
            421,
        ),
        ("a host that is empty", "GET /api/plugins", &["Host: "], Vec::new(), 421),
        (
            "another host behind ours",
            "GET /api/plugins",
            &["Host: localhost", "Host: evil.example"],
            Vec::new(),
            400,
        ),
        ("another origin", "GET /api/plugins", &["Origin: https://evil.example"], Vec::new(), 403),
        ("an origin that is none", "GET /api/plugins", &["Origin: null"], Vec::new(), 403),
        (
            "an origin on another port",
            "GET /api/plugins",
            &["Host: localhost:1", "Origin: http://localhost:2"],
            Vec::new(),
            403,
        ),
        ("another method", "QUERY /api/plugins", none, Vec::new(), 405),
    ];
    for (what, line, headers, body, expected) in rows {
        let answer = raw(&api, &request(&api, line, headers, &body)).await?;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, expected, "{what}: {} {said}", answer.head);
        assert!(
            answer.head.contains("content-type: application/problem+json"),
            "{what}: {}",
            answer.head
        );
        let told: Value =
            serde_json::from_slice(&answer.body).with_context(|| format!("{what}: {said}"))?;
        assert_eq!(told["status"], expected, "{what}: {told}");
        assert!(!said.contains(SECRET) && !said.contains(&api.token), "{what}: {said}");
    }
    // What is no HTTP is answered by the library, without a body.
    let mut huge = request(&api, "GET /api/health", &[&format!("X: {}", "y".repeat(1 << 20))], b"");
    for (what, request, expected) in [
        ("a head that is too large", std::mem::take(&mut huge), 431),
        ("nonsense", b"\x16\x03\x01\x02\x00\x01\r\n\r\n".to_vec(), 400),
        ("a length that is none", request(&api, put, &["Content-Length: -1"], b""), 400),
        (
            "two lengths",
            request(&api, put, &["Content-Length: 1", "Content-Length: 2"], b"{}"),
            400,
        ),
    ] {
        let answer = raw(&api, &request).await?;
        assert_eq!(answer.status, expected, "{what}: {}", answer.head);
        assert!(answer.body.is_empty(), "{what}");
    }
    for (what, line, headers) in [
        ("many headers", get("plugins"), many.as_slice()),
        ("letters that are escaped", get("plugins/%6f%64d"), none),
        ("the whole address", format!("GET {}/api/plugins", api.url), none),
    ] {
        assert_eq!(raw(&api, &request(&api, &line, headers, b"")).await?.status, 200, "{what}");
    }

    assert_eq!(api.get("/api/plugins/odd/config").await?, config, "something was changed");
    // Of a setting that is there twice the last counts, in the check and in what is kept.
    let twice = br#"{"config": {"size": "x", "size": 8, "key": "***"}}"#;
    assert_eq!(raw(&api, &request(&api, put, none, twice)).await?.status, 200);
    assert_eq!(api.get("/api/plugins/odd/config").await?["config"]["size"], 8);
    assert!(!up.said().contains("panicked"), "{}", up.said());
    tokio::time::timeout(Duration::from_secs(60), up.stop()).await?
}
