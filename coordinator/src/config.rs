//! What a person tells MetaFleet: environment, `plugins.yml`, where the broker is, the data folder.
//!
//! Files and variables are read here and nowhere else; what is made of them is decided by pure
//! functions. No message from here ever holds the value of a setting, because it may be a secret.

pub mod base_url;
pub mod connection;
pub mod context;
pub mod data_dir;
pub mod overrides;
pub mod plugins;
pub mod private_file;
pub mod problem;
pub mod secret;
pub mod substitute;
pub mod vars;
mod yaml;

pub use base_url::BaseUrl;
pub use connection::{Connection, ConnectionFlags, Login};
pub use data_dir::{DataDir, FleetFile};
pub use overrides::Overrides;
pub use plugins::{PluginEntry, PluginsFile, Runtime};
pub use problem::Problem;
pub use secret::Secret;
pub use vars::{Env, Vars};
