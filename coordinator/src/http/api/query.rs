//! PURE: what stands behind the `?` of a request for logs.

use super::super::problem::Problem;

/// Lines from before that are sent unless told otherwise, and at most.
const USUAL: usize = 100;
const MOST: usize = 10_000;

/// What is wanted of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Lines from before.
    pub tail: usize,
    /// Whether those that come are sent, too.
    pub follow: bool,
}

impl LogQuery {
    /// Reads `tail=N&follow=true`; a parameter that nobody knows is refused, so that a typing
    /// error is seen.
    ///
    /// # Errors
    ///
    /// The [`Problem`].
    pub fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut wanted = Self { tail: USUAL, follow: false };
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match (name, value) {
                ("follow", "" | "true" | "1") => wanted.follow = true,
                ("follow", "false" | "0") => wanted.follow = false,
                ("tail", "all") => wanted.tail = MOST,
                ("tail", number) => {
                    let number = number.parse().ok().filter(|number| *number <= MOST);
                    let rule = || {
                        Problem::bad_request(format!(
                            "`tail` must be 0 to {MOST}, or `all`, which is as many"
                        ))
                    };
                    wanted.tail = number.ok_or_else(rule)?;
                }
                ("follow", _) => {
                    return Err(Problem::bad_request("`follow` must be true or false"));
                }
                _ => {
                    let detail = "there are only the parameters `tail` and `follow`";
                    return Err(Problem::bad_request(detail));
                }
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_the_table() {
        for (query, expected) in [
            (None, Some((100, false))),
            (Some(""), Some((100, false))),
            (Some("follow"), Some((100, true))),
            (Some("follow=true&tail=0"), Some((0, true))),
            (Some("tail=7&follow=0"), Some((7, false))),
            (Some("tail=all"), Some((10_000, false))),
            (Some("tail=10001"), None),
            (Some("tail=-1"), None),
            (Some("tail="), None),
            (Some("follow=maybe"), None),
            (Some("since=1h"), None),
        ] {
            let parsed = LogQuery::parse(query).ok();
            assert_eq!(parsed.map(|query| (query.tail, query.follow)), expected, "{query:?}");
        }
    }
}
