//! Files with secrets, for containers to see and nobody else.
//!
//! ```text
//! secrets/                  only its owner gets in
//! secrets/<plugin>/<name>   mounted read-only at /run/metafleet
//! ```

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use broker_config::PluginId;

use super::broker::{Broker, Content};
use crate::config::private_file;

/// Writes the secrets of a plugin; returns their folder.
///
/// # Errors
///
/// What the operating system says.
pub fn write(root: &Path, plugin: &PluginId, broker: &Broker) -> io::Result<PathBuf> {
    private_file::make_dir(root)?;
    fs::set_permissions(root, Permissions::from_mode(0o700))?;
    let dir = root.join(plugin.as_str());
    private_file::make_dir(&dir)?;
    // Whoever the container's user is may read; only the folder above keeps others out.
    fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
    for (name, content) in &broker.login_of(plugin).files {
        let text = match content {
            Content::Text(secret) => secret.reveal().as_bytes().to_vec(),
            Content::CopyOf(path) => fs::read(path)?,
        };
        let path = dir.join(name);
        if fs::read(&path).ok().as_ref() != Some(&text) {
            private_file::write(&path, &text)?;
        }
        fs::set_permissions(&path, Permissions::from_mode(0o444))?;
    }
    Ok(dir)
}

/// Removes all secrets; there may be none.
pub fn remove(root: &Path) {
    if let Err(error) = fs::remove_dir_all(root)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %root.display(), %error, "secrets of containers are left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connection::{Origin, Tls};
    use crate::config::{Connection, Login, Secret};
    use crate::nats_server::Access;

    #[test]
    fn a_container_may_read_them_and_other_users_of_the_machine_may_not() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let root = home.path().join("secrets");
        let login = Login::Token(Secret::new("hush"));
        let url = "nats://127.0.0.1:1".to_owned();
        let connection = Connection { url, login, tls: Tls::default(), origin: Origin::Fleet };
        let broker = Broker::new(&Access::Shared(connection)).map_err(anyhow::Error::msg)?;

        let dir = write(&root, &"a".parse()?, &broker)?;

        let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777);
        assert_eq!((mode(&root)?, mode(&dir)?), (0o700, 0o755));
        assert_eq!(mode(&dir.join("nats-token"))?, 0o444);
        assert_eq!(fs::read(dir.join("nats-token"))?, b"hush");
        write(&root, &"a".parse()?, &broker)?;
        remove(&root);
        remove(&root);
        assert!(!root.exists());
        Ok(())
    }
}
