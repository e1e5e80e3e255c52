//! PURE: what workers are told instead of the address.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

use super::ROUTE;

/// Where workers ask: this coordinator, or a proxy in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesUrl(String);

/// The text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be like http://nas:9310 or https://nas.example/files: {0}")]
pub struct InvalidFilesUrl(&'static str);

impl FilesUrl {
    /// Of a server at this address.
    #[must_use]
    pub fn at(address: std::net::SocketAddr) -> Self {
        Self(format!("http://{address}{ROUTE}"))
    }
}

impl FromStr for FilesUrl {
    type Err = InvalidFilesUrl;

    /// Without a path, that of our route is meant.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| InvalidFilesUrl("it is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(InvalidFilesUrl("the scheme must be http or https"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty())
        else {
            return Err(InvalidFilesUrl("there is no host"));
        };
        if authority.as_str().contains('@') {
            return Err(InvalidFilesUrl("it must hold no login"));
        }
        if authority.port_u16() == Some(0) {
            return Err(InvalidFilesUrl("port 0 is nowhere"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(InvalidFilesUrl("it must end with the path"));
        }
        let path = if uri.path() == "/" { ROUTE } else { uri.path() };
        Ok(Self(format!("{}://{authority}{path}", uri.scheme_str().unwrap_or("http"))))
    }
}

impl fmt::Display for FilesUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_gets_our_path_where_it_has_none() {
        for (text, expected) in [
            ("http://nas:9310", Some("http://nas:9310/files")),
            ("http://nas:9310/", Some("http://nas:9310/files")),
            ("https://nas.example/mf/files", Some("https://nas.example/mf/files")),
            ("http://[fd00::1]:9310", Some("http://[fd00::1]:9310/files")),
            ("nas:9310", None),
            ("ftp://nas", None),
            ("http://user:pass@nas", None),
            ("http://nas/files?x=1", None),
            ("http://nas/files#x", None),
            ("http://nas:0", None),
            ("http://", None),
            ("", None),
        ] {
            let read = text.parse::<FilesUrl>().map(|url| url.to_string());
            assert_eq!(read.ok().as_deref(), expected, "{text}");
        }
        let address = "[::1]:9310".parse().unwrap();
        assert_eq!(FilesUrl::at(address).to_string(), "http://[::1]:9310/files");
    }
}
