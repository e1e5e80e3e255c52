//! What the server says about itself.

use std::io;

use serde::Deserialize;

use super::disk;

/// When it last read its configuration, in its own words; they differ from time to time.
pub(super) async fn config_load_time(monitoring: &str) -> io::Result<String> {
    #[derive(Deserialize)]
    struct Varz {
        config_load_time: String,
    }
    let address = monitoring.strip_prefix("http://").unwrap_or(monitoring);
    let answer = disk::get(address, "/varz").await?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let varz: Varz = serde_json::from_str(body)?;
    Ok(varz.config_load_time)
}
