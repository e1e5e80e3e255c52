//! Who may use the API: whoever can read a file of the data folder.

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;
use tracing::warn;

use super::super::problem::Problem;
use crate::config::{Secret, private_file};

/// Random bytes in a token.
const BYTES: usize = 32;
/// A shorter one would be guessed.
const SHORTEST: usize = 16;

/// The token; `Debug` prints `***`.
#[derive(Clone, Debug)]
pub struct Token(Arc<Secret>);

impl Token {
    /// Reads the token at `path`, or makes one there that its owner alone may read.
    ///
    /// # Errors
    ///
    /// What the operating system says; also when what stands there is too short to be a secret.
    pub fn read_or_make(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = private_file::random_hex(BYTES)?;
                private_file::write(path, format!("{text}\n").as_bytes())?;
                Ok(Self(Arc::new(Secret::new(text))))
            }
            done => done,
        }
    }

    /// Reads the token at `path`.
    ///
    /// # Errors
    ///
    /// As [`Token::read_or_make`]; also when there is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let text = text.trim();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() < SHORTEST || !is_plain {
            let rule = format!(
                "a token must have {SHORTEST} or more visible characters; remove it, and a new one is made"
            );
            return Err(io::Error::new(ErrorKind::InvalidData, rule));
        }
        if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            warn!(path = %path.display(), "others can read the token of the API; `chmod 600` it");
        }
        Ok(Self(Arc::new(Secret::new(text))))
    }

    /// The header that shows it.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0.reveal())
    }

    /// Whether the request shows it; takes as long for each wrong one of the same length.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let is_same = token.trim().as_bytes().ct_eq(self.0.reveal().as_bytes());
        scheme.eq_ignore_ascii_case("bearer") && bool::from(is_same)
    }
}

/// Lets only requests through that show the token.
pub(super) async fn guard(State(token): State<Token>, request: Request, next: Next) -> Response {
    if token.is_shown(request.headers()) {
        return next.run(request).await;
    }
    let detail =
        "send `Authorization: Bearer <token>`; the token is in `api-token` of the data folder";
    let mut answer = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"metafleet\"");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Token(Arc::new(Secret::new("0123456789abcdef")));
        for (given, expected) in [
            (vec!["Bearer 0123456789abcdef"], true),
            (vec!["bearer 0123456789abcdef"], true),
            (vec![], false),
            (vec!["0123456789abcdef"], false),
            (vec!["Basic 0123456789abcdef"], false),
            (vec!["Bearer 0123456789abcdeg"], false),
            (vec!["Bearer 0123456789abcde"], false),
            (vec!["Bearer 0123456789abcdef0"], false),
            (vec!["Bearer "], false),
            (vec!["Bearer 0123456789abcdef", "Bearer x"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &given {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(token.is_shown(&headers), expected, "{given:?}");
        }
    }

    #[test]
    fn it_is_made_once_and_is_its_owners_alone() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("api-token");
        let made = Token::read_or_make(&path)?;
        assert_eq!(Token::read_or_make(&path)?.header(), made.header());
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert!(made.header().len() > 2 * BYTES && !format!("{made:?}").contains(made.0.reveal()));
        for wrong in ["", "short", "with space and more of it"] {
            std::fs::write(&path, wrong)?;
            assert!(Token::read_or_make(&path).is_err(), "{wrong}");
        }
        Ok(())
    }
}
