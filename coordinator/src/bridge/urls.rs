//! PURE: the addresses that plugins are told.

/// Where plugins reach the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// In front of `/api/plugins/callback`.
    pub api: String,
    /// In front of `/meta`.
    pub kv: String,
}

/// The path of callbacks, in front of the token.
pub const CALLBACK: &str = "/api/plugins/callback";
/// The path in front of the token of an attempt, which stands before the routes of metadata.
pub const ATTEMPT: &str = "/t";

impl Urls {
    /// Where an attempt reports its end.
    #[must_use]
    pub fn callback(&self, token: &str) -> String {
        format!("{}{CALLBACK}/{token}", self.api)
    }

    /// Where an attempt reads and writes metadata; plugins put `/meta/<cid>` behind it.
    #[must_use]
    pub fn meta_core(&self, token: &str) -> String {
        format!("{}{ATTEMPT}/{token}", self.kv)
    }
}
