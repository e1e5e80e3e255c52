//! How soon a broker has on disk what it is given; pure.

use std::collections::BTreeMap;
use std::path::Path;

use broker_config::Names;
use clap::ValueEnum;
use coordinator::nats_server::render::render_config;
use coordinator::nats_server::{Listen, Sync, Tenants, Users};

/// A value of `sync_interval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Setting {
    /// Before it is acknowledged: a broker for production.
    #[default]
    Always,
    /// Within a second: the embedded broker, unless it was told otherwise.
    #[value(name = "1s")]
    EverySecond,
    /// What nats-server does when nobody says anything.
    #[value(name = "2m")]
    EveryTwoMinutes,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::EverySecond, Self::EveryTwoMinutes];

    /// As the configuration of a server has it.
    #[must_use]
    pub const fn interval(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "1s",
            Self::EveryTwoMinutes => "2m",
        }
    }

    /// How long before a power cut what was acknowledged may be lost, in microseconds.
    #[must_use]
    pub const fn forgets(self) -> i64 {
        match self {
            Self::Always => 0,
            Self::EverySecond => 1_000_000,
            Self::EveryTwoMinutes => 120_000_000,
        }
    }

    /// The configuration of the embedded broker with this setting.
    #[must_use]
    pub fn config(self, home: &Path, store: &Path, users: &Users, names: &Names) -> String {
        let listen = Listen {
            port: 0,
            store,
            ports_dir: home,
            log: &home.join("log"),
            limit: LIMIT,
            sync: match self {
                Self::Always => Sync::Always,
                Self::EverySecond | Self::EveryTwoMinutes => Sync::EverySecond,
            },
        };
        let nobody = Tenants::Each { plugins: BTreeMap::new(), forgets_others: false };
        let text = render_config(&listen, users, names, &nobody);
        match self {
            Self::Always | Self::EverySecond => text,
            Self::EveryTwoMinutes => text.replace("sync_interval: \"1s\"", "sync_interval: \"2m\""),
        }
    }
}

/// Bytes that the store may have.
const LIMIT: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use coordinator::config::Secret;

    use super::*;

    #[test]
    fn each_setting_is_what_the_server_is_told() {
        let users = Users { coordinator: Secret::new("a"), plugins: BTreeMap::new(), plugin: None };
        for setting in Setting::ALL {
            let (home, store) = (Path::new("/home"), Path::new("/store"));
            let text = setting.config(home, store, &users, &Names::default());

            let line = format!("sync_interval: \"{}\"", setting.interval());
            assert_eq!(text.matches("sync_interval").count(), 1, "{text}");
            assert!(text.contains(&line), "{text}");
        }
    }
}
