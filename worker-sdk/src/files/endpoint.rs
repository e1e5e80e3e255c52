//! PURE. The address of those who send bytes.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// `http://host:port/files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

/// The text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` must be like http://nas:9310/files: {problem}")]
pub struct InvalidEndpoint {
    /// What was given; no login is in it.
    pub given: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl Endpoint {
    /// Host without brackets, and port.
    pub(super) fn address(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What is asked for, with a path that is spelled as the protocol says.
    pub(super) fn target(&self, spelled: &str) -> String {
        format!("{}?path={spelled}", self.path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = text.rsplit_once('@').map_or(text, |(_, behind)| behind);
        let wrong = |problem| InvalidEndpoint { given: shown.to_owned(), problem };
        let uri: Uri = text.trim().parse().map_err(|_| wrong("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("this worker speaks no TLS; let a proxy on its machine do that"));
            }
            _ => return Err(wrong("the scheme must be http")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it must hold no login"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("it must end with the path"));
        }
        let port = match authority.port_u16() {
            Some(0) => return Err(wrong("port 0 is nowhere")),
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(wrong("the port is no port")),
        };
        let host = authority.host().to_owned();
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        Ok(Self { host, port, path: uri.path().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_a_port_and_a_path() {
        for (text, expected) in [
            ("http://nas:9310/files", Some("http://nas:9310/files")),
            ("http://nas/files", Some("http://nas:80/files")),
            ("http://nas:9310", Some("http://nas:9310/")),
            ("http://[fd00::1]:1/f", Some("http://[fd00::1]:1/f")),
            ("https://nas/files", None),
            ("nas:9310", None),
            ("http://u:hush@nas/files", None),
            ("http://nas/files?x", None),
            ("http://nas/files#x", None),
            ("http://nas:0/", None),
            ("http://nas:99999/", None),
            ("", None),
        ] {
            let read = text.parse::<Endpoint>();
            assert_eq!(read.as_ref().ok().map(ToString::to_string).as_deref(), expected, "{text}");
            let error = read.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.contains("hush"), "{error}");
        }
        let v6: Endpoint = "http://[fd00::1]:1/f".parse().unwrap();
        assert_eq!((v6.address(), v6.authority()), (("fd00::1", 1), "[fd00::1]:1".to_owned()));
        assert_eq!(v6.target("/a%20b"), "/f?path=/a%20b");
    }
}
