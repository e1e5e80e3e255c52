//! Where HTTP plugins reach the fleet.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;

use crate::bridge::{API_PORT, Addresses, KV_PORT};
use crate::config::BaseUrl;
use crate::http::HttpOptions;

/// Where the API listens, and metadata of HTTP plugins is read and written.
#[derive(Clone, Debug, Args)]
pub(crate) struct HttpArgs {
    /// Where the API listens and callbacks of HTTP plugins are taken [default: 127.0.0.1:8180, or
    /// a free port when another program has that one]
    #[arg(long, value_name = "ADDRESS", env = "METAFLEET_API_LISTEN")]
    pub(crate) api_listen: Option<SocketAddr>,
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
        Self { api_listen: None, kv_listen: local(KV_PORT), api_url: None, kv_url: None }
    }
}

impl HttpArgs {
    pub(crate) fn addresses(&self) -> Addresses {
        let on = |listen, url: &Option<BaseUrl>| {
            // Requests come for the name that plugins were told.
            let hosts = url.iter().map(|url| url.endpoint().0.to_owned());
            HttpOptions { listen, hosts: hosts.collect::<BTreeSet<_>>(), ..HttpOptions::default() }
        };
        let api = on(self.api_listen.unwrap_or_else(|| local(API_PORT)), &self.api_url);
        // Who names an address, or tells plugins of one, relies on it.
        let or_any_port = self.api_listen.is_none() && self.api_url.is_none();
        Addresses {
            api: HttpOptions { or_any_port, ..api },
            kv: on(self.kv_listen, &self.kv_url),
            api_url: self.api_url.as_ref().map(ToString::to_string),
            kv_url: self.kv_url.as_ref().map(ToString::to_string),
        }
    }
}
