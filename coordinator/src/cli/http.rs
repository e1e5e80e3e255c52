//! Where HTTP plugins reach the fleet.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;

use crate::bridge::{API_PORT, Addresses, KV_PORT};
use crate::config::BaseUrl;
use crate::http::HttpOptions;

/// Where callbacks and metadata of HTTP plugins are taken; nothing listens unless there is one.
#[derive(Clone, Debug, Args)]
pub(crate) struct HttpArgs {
    /// Where callbacks of HTTP plugins are taken
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "METAFLEET_API_LISTEN",
        default_value_t = local(API_PORT)
    )]
    pub(crate) api_listen: SocketAddr,
    /// Where HTTP plugins read and write metadata
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "METAFLEET_KV_LISTEN",
        default_value_t = local(KV_PORT)
    )]
    pub(crate) kv_listen: SocketAddr,
    /// What HTTP plugins are told instead of --api-listen, e.g. `http://meta-sort:8180`
    #[arg(long, value_name = "URL", env = "METAFLEET_API_URL")]
    pub(crate) api_url: Option<BaseUrl>,
    /// What HTTP plugins are told instead of --kv-listen, e.g. `http://meta-sort:9000`
    #[arg(long, value_name = "URL", env = "METAFLEET_KV_URL")]
    pub(crate) kv_url: Option<BaseUrl>,
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Default for HttpArgs {
    fn default() -> Self {
        Self { api_listen: local(API_PORT), kv_listen: local(KV_PORT), api_url: None, kv_url: None }
    }
}

impl HttpArgs {
    pub(crate) fn addresses(&self) -> Addresses {
        let on = |listen, url: &Option<BaseUrl>| {
            // Requests come for the name that plugins were told.
            let hosts = url.iter().map(|url| url.endpoint().0.to_owned());
            HttpOptions { listen, hosts: hosts.collect::<BTreeSet<_>>(), ..HttpOptions::default() }
        };
        Addresses {
            api: on(self.api_listen, &self.api_url),
            kv: on(self.kv_listen, &self.kv_url),
            api_url: self.api_url.as_ref().map(ToString::to_string),
            kv_url: self.kv_url.as_ref().map(ToString::to_string),
        }
    }
}
