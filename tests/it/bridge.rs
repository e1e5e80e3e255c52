//! HTTP plugins of the seed, served through the bridge.

mod callbacks;
mod life;
mod meta;
mod outcomes;
mod seed;
mod server;

pub(crate) use seed::tools;
