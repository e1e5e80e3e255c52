//! PURE: what is wanted + the image + the network → the container, to the last field.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use broker_config::{InstanceId, Manifest, PluginId};
use serde::Serialize;

use super::broker::{Broker, SECRETS_DIR};
use super::isolation::{Asked, Isolation, isolate};
use super::naming::{CONFIG_HASH, FleetId, IMAGE_MANIFEST, IMAGE_PERMISSIONS, INSTANCE, hash};
use super::wanted::Wanted;
use crate::bridge::urls::Urls;
use crate::config::plugins::Mount;

/// An image that the engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its identity: another build under the same name has another.
    pub id: String,
    /// How its registry knows it; `None` = it is from none.
    pub digest: Option<String>,
    /// Its labels, as far as they say something about the plugin.
    pub labels: BTreeMap<String, String>,
    /// Folders that it wants to write to.
    pub volumes: Vec<String>,
}

/// A network that the engine has, with doors at its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its identity: one that was made anew has another.
    pub id: String,
    /// The address of this machine in it.
    pub gateway: IpAddr,
    /// Where it leads to.
    pub doors: Doors,
}

/// The ports at the gateway of a network; there is nothing else to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doors {
    /// To the broker.
    Broker {
        /// The port.
        port: u16,
    },
    /// To the bridge, for HTTP plugins.
    Bridge {
        /// The port for callbacks.
        api: u16,
        /// The port for metadata.
        kv: u16,
    },
}

/// What containers of HTTP plugins call this machine, as the document of the seed does.
pub const BRIDGE_HOST: &str = "meta-sort";

impl Doors {
    /// The ports.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        match self {
            Self::Broker { port } => vec![*port],
            Self::Bridge { api, kv } => vec![*api, *kv],
        }
    }
}

/// What HTTP plugins are told of the bridge behind these ports.
#[must_use]
pub fn bridge_urls(api: u16, kv: u16) -> Urls {
    let url = |port| format!("http://{BRIDGE_HOST}:{port}");
    Urls { api: url(api), kv: url(kv) }
}

/// A container to be made; two with the same hash are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin.
    pub plugin: PluginId,
    /// The image's name.
    pub image: String,
    /// The image's identity.
    pub image_id: String,
    /// How its registry knows it; the identity says all that counts.
    #[serde(skip)]
    pub image_digest: Option<String>,
    /// Arguments; `None` = the image's.
    pub command: Option<Vec<String>>,
    /// All variables; none is secret.
    pub env: BTreeMap<String, String>,
    /// What of this machine it sees.
    pub mounts: Vec<Mount>,
    /// Folders that the image wants to write to.
    pub volumes: Vec<String>,
    /// Labels of the person.
    pub labels: BTreeMap<String, String>,
    /// Names it must know.
    pub hosts: BTreeMap<String, IpAddr>,
    /// The network's name.
    pub network: String,
    /// The network's identity.
    pub network_id: String,
    /// How it is kept apart.
    pub isolation: Isolation,
    /// Where it reaches the bridge; told with each task, so it may change.
    #[serde(skip)]
    pub bridge: Option<Urls>,
}

/// How containers of `wanted` are kept apart.
///
/// # Errors
///
/// Why they must not be started.
pub fn isolation_of(wanted: &Wanted, image: &Image, user: (u32, u32)) -> Result<Isolation, String> {
    check_version(wanted, image)?;
    let of_image = permissions_of(image)?;
    let declared = match (&wanted.declared, of_image) {
        (None, None) => None,
        (on_disk, of_image) => {
            let both = on_disk.iter().flatten().cloned().chain(of_image.into_iter().flatten());
            Some(both.collect::<Vec<String>>())
        }
    };
    let asked = Asked {
        declared: declared.as_deref(),
        granted: &wanted.granted,
        has_writable_mount: wanted.mounts.iter().any(|mount| mount.writable),
    };
    isolate(&asked, wanted.resources, user)
}

/// That the image holds what it is said to hold, as far as it says so itself.
fn check_version(wanted: &Wanted, image: &Image) -> Result<(), String> {
    let (Some(version), Some(manifest)) = (&wanted.version, manifest_of(image)?) else {
        return Ok(());
    };
    if manifest.version == *version {
        return Ok(());
    }
    let (name, held) = (&wanted.image, &manifest.version);
    Err(format!("the image {name} holds version {held}, and plugins.yml says {version}"))
}

/// The manifest that an image carries; `None` = none.
fn manifest_of(image: &Image) -> Result<Option<Manifest>, String> {
    let Some(text) = image.labels.get(IMAGE_MANIFEST) else { return Ok(None) };
    let manifest = Manifest::from_json(text);
    manifest.map(Some).map_err(|e| format!("the label `{IMAGE_MANIFEST}` of its image: {e}"))
}

/// What an image says its plugin wants; `None` = it says nothing.
pub(crate) fn permissions_of(image: &Image) -> Result<Option<Vec<String>>, String> {
    if let Some(list) = image.labels.get(IMAGE_PERMISSIONS) {
        let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
        return Ok(Some(texts.map(str::to_owned).collect()));
    }
    Ok(manifest_of(image)?.map(|manifest| manifest.permissions))
}

/// How a container reaches the fleet.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// It pulls its tasks from the broker.
    Broker {
        /// The broker.
        broker: &'a Broker,
        /// The port at the gateway that leads there.
        port: u16,
        /// The folder with the plugin's secrets.
        secrets: &'a Path,
    },
    /// The bridge hands tasks to it; it has no business with the broker.
    Bridge(&'a Urls),
}

/// Puts all parts together.
#[must_use]
pub fn describe(
    wanted: &Wanted,
    image: &Image,
    isolation: Isolation,
    network: &Network,
    way: Way<'_>,
) -> Description {
    let mut env = wanted.env.clone();
    let mut mounts = wanted.mounts.clone();
    let (hosts, bridge) = match way {
        Way::Broker { broker, port, secrets } => {
            env.insert("NATS_URL".to_owned(), broker.url((network.gateway, port)));
            let login = broker.login_of(&wanted.plugin);
            env.extend(login.variables);
            if !login.files.is_empty() {
                let target = PathBuf::from(SECRETS_DIR);
                mounts.push(Mount { source: secrets.to_owned(), target, writable: false });
            }
            (broker.hosts(network.gateway), None)
        }
        Way::Bridge(urls) => {
            let hosts = BTreeMap::from([(BRIDGE_HOST.to_owned(), network.gateway)]);
            (hosts, Some(urls.clone()))
        }
    };
    Description {
        name: wanted.name.clone(),
        plugin: wanted.plugin.clone(),
        image: wanted.image.clone(),
        image_id: image.id.clone(),
        image_digest: image.digest.clone(),
        command: wanted.command.clone(),
        env,
        mounts,
        volumes: image.volumes.clone(),
        labels: wanted.labels.clone(),
        hosts,
        network: network.name.clone(),
        network_id: network.id.clone(),
        isolation,
        bridge,
    }
}

impl Description {
    /// The hash of all that is here.
    #[must_use]
    pub fn hash(&self) -> String {
        // Maps are sorted, so equal descriptions have equal texts.
        hash(&serde_json::to_vec(self).unwrap_or_default(), 16)
    }

    /// All labels, the person's first: ours cannot be overwritten.
    #[must_use]
    pub fn all_labels(&self, fleet: &FleetId) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.extend(fleet.labels(&self.plugin));
        labels.insert(INSTANCE.to_owned(), self.name.to_string());
        labels.insert(CONFIG_HASH.to_owned(), self.hash());
        labels
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use broker_config::Lane;

    use crate::config::connection::{Origin, Tls};
    use crate::config::plugins::{Protocol, Resources};
    use crate::config::{Connection, Login, Secret};
    use crate::nats_server::Access;

    pub(crate) fn wanted(id: &str, n: u32) -> Wanted {
        Wanted {
            name: format!("plugin-{id}-{n}").parse().unwrap(),
            plugin: id.parse().unwrap(),
            lane: Lane::Main,
            version: None,
            protocol: Protocol::Nats,
            image: "i".to_owned(),
            command: None,
            env: BTreeMap::new(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            declared: None,
            granted: Vec::new(),
            resources: Resources::default(),
        }
    }

    fn network() -> Network {
        let (name, id) = ("n".to_owned(), "n1".to_owned());
        let gateway = [10, 0, 0, 1].into();
        Network { name, id, gateway, doors: Doors::Broker { port: 4222 } }
    }

    fn broker() -> Broker {
        let password = Secret::new("hush");
        let login = Login::User { name: "plugin".to_owned(), password };
        let url = "nats://127.0.0.1:1".to_owned();
        let connection = Connection { url, login, tls: Tls::default(), origin: Origin::Fleet };
        Broker::new(&Access::Shared(connection)).unwrap()
    }

    /// The container of `wanted` as the tests of other modules need one.
    pub(crate) fn description(wanted: &Wanted) -> Description {
        let image = Image { id: "sha256:1".to_owned(), ..Image::default() };
        let isolation = isolation_of(wanted, &image, (0, 0)).unwrap();
        let way = Way::Broker { broker: &broker(), port: 4222, secrets: Path::new("/s") };
        describe(wanted, &image, isolation, &network(), way)
    }

    #[test]
    fn an_http_plugin_is_led_to_the_bridge_and_knows_nothing_of_the_broker() {
        let wanted = Wanted { protocol: Protocol::Http, ..wanted("a", 1) };
        let image = Image { id: "sha256:1".to_owned(), ..Image::default() };
        let isolation = isolation_of(&wanted, &image, (0, 0)).unwrap();
        let made = |urls: &Urls| {
            describe(&wanted, &image, isolation.clone(), &network(), Way::Bridge(urls))
        };

        let first = made(&bridge_urls(8180, 9000));

        assert!(first.env.is_empty() && first.mounts.is_empty(), "{first:?}");
        assert_eq!(first.hosts["meta-sort"], IpAddr::from([10, 0, 0, 1]));
        assert_eq!(first.bridge.as_ref().unwrap().kv, "http://meta-sort:9000");
        // It is told with each task, so another port is no reason for another container.
        assert_eq!(first.hash(), made(&bridge_urls(18_180, 19_000)).hash());
    }

    #[test]
    fn whatever_changes_changes_the_hash_and_no_secret_is_in_the_container() {
        let base = wanted("a", 1);
        let first = description(&base);
        assert_eq!(first.hash(), description(&base).hash());
        assert_eq!(first.env["NATS_URL"], "nats://10.0.0.1:4222");
        let shown =
            format!("{first:?} {:?}", first.all_labels(&FleetId::new(&"p".parse().unwrap(), "1")));
        assert!(!shown.contains("hush"), "{shown}");
        let more = |change: &dyn Fn(&mut Wanted)| {
            let mut other = base.clone();
            change(&mut other);
            description(&other).hash()
        };
        for (what, other) in [
            ("image", more(&|w| w.image.push('x'))),
            ("command", more(&|w| w.command = Some(Vec::new()))),
            ("env", more(&|w| drop(w.env.insert("A".into(), "b".into())))),
            ("labels", more(&|w| drop(w.labels.insert("A".into(), "b".into())))),
            ("memory", more(&|w| w.resources.memory = std::num::NonZeroU64::new(1))),
            ("granted", more(&|w| w.granted.push("root".into()))),
            ("image id", Description { image_id: "2".into(), ..first.clone() }.hash()),
            ("network", Description { network_id: "2".into(), ..first.clone() }.hash()),
        ] {
            assert_ne!(other, first.hash(), "{what}");
        }
    }

    #[test]
    fn the_person_cannot_make_a_container_look_like_another_fleets() {
        let mut other = wanted("a", 1);
        other.labels.insert(INSTANCE.to_owned(), "plugin-b-1".to_owned());
        let labels = description(&other).all_labels(&FleetId::new(&"p".parse().unwrap(), "1"));
        assert_eq!(labels[INSTANCE], "plugin-a-1");
    }

    #[test]
    fn an_image_says_what_it_wants_by_label() {
        let image = |name: &str, value: &str| Image {
            id: "1".to_owned(),
            labels: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..Image::default()
        };
        let refused =
            isolation_of(&wanted("a", 1), &image(IMAGE_PERMISSIONS, "root, gpu.access"), (0, 0));
        assert!(refused.unwrap_err().contains("`gpu.access`, `root`"));
        let manifest = r#"{"id":"a","name":"a","version":"1.0.0","priority":20,"queue":"fast",
            "dataSchema":{},"permissions":["network.http"]}"#;
        let refused = isolation_of(&wanted("a", 1), &image(IMAGE_MANIFEST, manifest), (0, 0));
        assert!(refused.unwrap_err().contains("`network.http`"));
        let broken = isolation_of(&wanted("a", 1), &image(IMAGE_MANIFEST, "{"), (0, 0));
        assert!(broken.unwrap_err().contains("the label `metafleet.plugin.manifest`"));
        // A label opens nothing either.
        let mut granted = wanted("a", 1);
        granted.granted.push("root".to_owned());
        let kept = isolation_of(&granted, &image(IMAGE_PERMISSIONS, ""), (0, 0)).unwrap();
        assert!(kept.user.is_some());
    }
}
