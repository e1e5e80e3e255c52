//! PURE: the address of an HTTP plugin.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;

/// Where a plugin listens: `http://host:port`, with a path in front of its routes if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    host: String,
    port: u16,
    path: String,
}

/// The text is no address of an HTTP plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be like http://127.0.0.1:8080: {0}")]
pub struct InvalidUrl(&'static str);

impl BaseUrl {
    /// Where the seed's plugins listen.
    #[must_use]
    pub fn usual() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 8080, path: String::new() }
    }

    /// Where one listens that has an address to itself, as each container has.
    #[must_use]
    pub fn usual_at(address: IpAddr) -> Self {
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        Self { host, ..Self::usual() }
    }

    /// Host without brackets, and port.
    #[must_use]
    pub fn endpoint(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// The `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path of one of its routes.
    #[must_use]
    pub fn route(&self, route: &str) -> String {
        format!("{}{route}", self.path)
    }

    /// The same `steps` ports further on; `None` past the last port.
    #[must_use]
    pub fn further(&self, steps: u32) -> Option<Self> {
        let port = self.port.checked_add(u16::try_from(steps).ok()?)?;
        Some(Self { port, ..self.clone() })
    }

    /// Whether only this machine can listen there.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let (host, _) = self.endpoint();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl("it is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(InvalidUrl("the scheme must be http"));
        }
        let authority = uri.authority().ok_or(InvalidUrl("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl("it must hold no login"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(InvalidUrl("it must end with the path"));
        }
        let port = match authority.port_u16() {
            Some(0) => return Err(InvalidUrl("port 0 is nowhere")),
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(InvalidUrl("the port is no port")),
        };
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(InvalidUrl("there is no host"));
        }
        Ok(Self { host, port, path: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_written_or_refused() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("http://Plugin-A:8080/", Some("http://plugin-a:8080")),
            ("http://host/base/", Some("http://host:80/base")),
            ("http://[::1]:1", Some("http://[::1]:1")),
            ("https://host:1", None),
            ("http://user@host:1", None),
            ("http://host:1/?x", None),
            ("http://host:0", None),
            ("http://host:99999", None),
            ("http://", None),
            ("host:1", None),
            ("", None),
        ] {
            let read = text.parse::<BaseUrl>().ok().map(|url| url.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn routes_ports_and_hosts_follow_from_it() {
        let url: BaseUrl = "http://[::1]:65534/base".parse().unwrap();
        assert_eq!(url.endpoint(), ("::1", 65_534));
        assert_eq!(url.authority(), "[::1]:65534");
        assert_eq!(url.route("/health"), "/base/health");
        assert_eq!(url.further(1).unwrap().endpoint().1, 65_535);
        assert_eq!(url.further(2), None);
        assert!(url.is_loopback() && BaseUrl::usual().is_loopback());
        assert!(!"http://10.0.0.1:1".parse::<BaseUrl>().unwrap().is_loopback());
    }
}
