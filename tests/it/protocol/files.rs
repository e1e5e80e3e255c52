//! The tables of "Files from elsewhere" beside what the code does.

use std::path::Path;

use broker_config::PathMap;
use broker_config::wire::files::{MOST_AHEAD, decode_path, encode_path};

use super::document::{TEXT, code, table};

#[test]
fn paths_are_mapped_as_listed() -> anyhow::Result<()> {
    let rows = table("paths")?;
    assert!(rows.len() >= 5);
    for row in rows {
        let (pairs, there, here) = (code(row[0])?, code(row[1])?, code(row[2])?);
        let map = PathMap::parse(pairs.as_bytes())?;
        assert_eq!(map.here(Path::new(there)), Path::new(here), "{pairs}");
        assert_eq!(map.there(Path::new(here)), Path::new(there), "{pairs}");
    }
    Ok(())
}

#[test]
fn paths_are_spelled_as_listed() -> anyhow::Result<()> {
    let rows = table("file-paths")?;
    assert_eq!(rows.len(), 3);
    for row in rows {
        let (path, spelled) = (code(row[0])?, code(row[1])?);
        assert_eq!(encode_path(path.as_bytes()), spelled);
        assert_eq!(decode_path(spelled).as_deref(), Some(path.as_bytes()));
    }
    assert!(TEXT.contains(&format!("at most {MOST_AHEAD} bytes")));
    Ok(())
}
