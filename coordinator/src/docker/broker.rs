//! How a container finds the broker and with which login, and what of that is secret.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use async_nats::ServerAddr;
use broker_config::PluginId;

pub use crate::config::connection::files::Content;
use crate::config::connection::files::LoginFiles;
use crate::nats_server::Access;

/// Where containers see their secrets.
pub const SECRETS_DIR: &str = "/run/metafleet";

/// The broker as containers need to know it.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Where the relay connects to: host and port.
    pub address: (String, u16),
    /// The name under which certificates expect it.
    tls_name: Option<String>,
    /// How plugins reach it.
    access: Access,
}

impl Broker {
    /// What containers are told of the broker that plugins reach so.
    ///
    /// # Errors
    ///
    /// Why containers cannot use it.
    pub fn new(access: &Access) -> Result<Self, String> {
        let connection = access.common();
        let unusable = || "containers need a broker at `nats://` or `tls://`".to_owned();
        // Each container has one way out, so the relay knows one server.
        let first = connection.url.split(',').next().unwrap_or_default();
        let server: ServerAddr = first.trim().parse().map_err(|_| unusable())?;
        if server.host().is_empty() || !matches!(server.scheme(), "nats" | "tls") {
            return Err(unusable());
        }
        let host = server.host().to_owned();
        let tls = &connection.tls;
        let has_tls = server.tls_required() || tls.ca.is_some() || tls.client.is_some();
        if has_tls && host.parse::<IpAddr>().is_ok() {
            let rule = "containers need a broker with TLS to be named by a name, not by an address";
            return Err(rule.to_owned());
        }
        Ok(Self {
            address: (host.clone(), server.port()),
            tls_name: has_tls.then_some(host),
            access: access.clone(),
        })
    }

    /// The login of a plugin: variables, no secret among them, and files in [`SECRETS_DIR`].
    #[must_use]
    pub fn login_of(&self, plugin: &PluginId) -> LoginFiles {
        self.access.of(plugin).login_files(Path::new(SECRETS_DIR))
    }

    /// The address for a container whose relay listens there.
    #[must_use]
    pub fn url(&self, relay: (IpAddr, u16)) -> String {
        let (address, port) = relay;
        match (&self.tls_name, address) {
            (Some(name), _) => format!("tls://{name}:{port}"),
            (None, IpAddr::V4(address)) => format!("nats://{address}:{port}"),
            (None, IpAddr::V6(address)) => format!("nats://[{address}]:{port}"),
        }
    }

    /// Names that a container must know: that of the certificate leads to the relay.
    #[must_use]
    pub fn hosts(&self, relay: IpAddr) -> BTreeMap<String, IpAddr> {
        self.tls_name.iter().map(|name| (name.clone(), relay)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connection::{Origin, Tls};
    use crate::config::{Connection, Login, Secret};

    fn access(url: &str, login: Login) -> Access {
        let (url, tls) = (url.to_owned(), Tls::default());
        Access::Shared(Connection { url, login, tls, origin: Origin::Fleet })
    }

    #[test]
    fn secrets_are_files_and_never_variables() {
        let hush = || Secret::new("hush");
        for (login, variable, file) in [
            (
                Login::User { name: "plugin".to_owned(), password: hush() },
                "NATS_PASSWORD_FILE",
                "nats-password",
            ),
            (Login::Token(hush()), "NATS_TOKEN_FILE", "nats-token"),
            (Login::Credentials("/c/x.creds".into()), "NATS_CREDS", "nats.creds"),
            (Login::Nkey(hush()), "NATS_NKEY", "nats-nkey"),
        ] {
            let broker = Broker::new(&access("nats://127.0.0.1:4000", login)).unwrap();
            let login = broker.login_of(&"a".parse().unwrap());
            assert_eq!(login.variables[variable], format!("/run/metafleet/{file}"));
            assert!(login.files.contains_key(file), "{variable}");
            assert!(!format!("{broker:?}").contains("hush"), "{variable} is shown");
        }
    }

    #[test]
    fn the_address_is_that_of_the_relay() {
        let relay = (IpAddr::from([172, 20, 0, 1]), 4222);
        let plain = Broker::new(&access("nats://127.0.0.1:4000", Login::Anonymous)).unwrap();
        assert_eq!(plain.address, ("127.0.0.1".to_owned(), 4000));
        assert_eq!(plain.url(relay), "nats://172.20.0.1:4222");
        assert!(plain.hosts(relay.0).is_empty());
        let tls = Broker::new(&access("tls://nas.lan:4443", Login::Anonymous)).unwrap();
        assert_eq!(tls.url(relay), "tls://nas.lan:4222");
        assert_eq!(tls.hosts(relay.0)["nas.lan"], relay.0);
        for url in ["tls://10.0.0.1:4222", "ws://nas:80", ""] {
            assert!(Broker::new(&access(url, Login::Anonymous)).is_err(), "{url}");
        }
    }
}
