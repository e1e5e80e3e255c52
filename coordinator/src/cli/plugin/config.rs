//! `metafleet plugin config get ID` and `set ID KEY=VALUE…`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use broker_config::PluginId;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::App;
use super::super::api::ApiClient;
use super::super::exit::{Exit, Failure};
use super::steer::say;

/// Bytes of a setting that is read from a file.
const MOST_BYTES: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the settings of a plugin, secrets masked
    Get(super::OnePlugin),
    /// Change settings of a plugin; the others stay as they are
    Set(SetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The plugin's id
    id: PluginId,
    /// What is to be set; other users of this machine may see it, so give secrets with --from-file
    #[arg(value_name = "KEY=VALUE", value_parser = pair, required_unless_present_any = ["from_file", "unset"])]
    values: Vec<(String, String)>,
    /// A setting whose value is in a file; `-` is standard input
    #[arg(long, value_name = "KEY=PATH", value_parser = pair)]
    from_file: Vec<(String, String)>,
    /// A setting that is to have its default
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    if key.is_empty() {
        return Err("must begin with a key");
    }
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(app: &App, command: ConfigCommand) -> Result<Exit, Failure> {
    let api = ApiClient::of(app)?;
    match command {
        ConfigCommand::Get(args) => {
            let found = api.get(&path_of(&args.id)).await?.body;
            app.out.document(&found, |lines| {
                for (key, value) in
                    found.get("config").and_then(Value::as_object).into_iter().flatten()
                {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    lines.line(&format!("{key} = {value}"));
                }
            })?;
        }
        ConfigCommand::Set(args) => {
            let path = path_of(&args.id);
            let found = api.get(&path).await?;
            let mut config =
                found.body.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
            for key in &args.unset {
                config.remove(key);
            }
            for (key, value) in args.values {
                config.insert(key, Value::from(value));
            }
            for (key, path) in args.from_file {
                config.insert(key, Value::from(read(&path)?));
            }
            let body = json!({ "config": config });
            let answer = api.put(&path, &body, found.tag.as_deref()).await?;
            say(app, &args.id, &answer, &format!("{} has the new settings", args.id));
        }
    }
    Ok(Exit::Ok)
}

fn path_of(id: &PluginId) -> String {
    format!("/api/plugins/{id}/config")
}

/// A setting without the line end that editors leave.
fn read(path: &str) -> Result<String, Failure> {
    let source: Box<dyn std::io::Read> = if path == "-" {
        Box::new(std::io::stdin())
    } else {
        let failed = |error| Failure::because(Exit::Usage, &format!("read {path}"), &error);
        Box::new(std::fs::File::open(PathBuf::from(path)).map_err(failed)?)
    };
    let mut text = String::new();
    let failed = |error| {
        let what = format!("read {}", Path::new(path).display());
        Failure::because(Exit::Usage, &what, &error)
    };
    source.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_without_its_last_line_end() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("key");
        std::fs::write(&path, "a=b\nc\r\n")?;
        let path = path.to_string_lossy();
        assert_eq!(read(&path).map_err(|failure| anyhow::anyhow!(failure.what))?, "a=b\nc");
        assert!(read(&format!("{path}.none")).is_err());
        assert_eq!(pair("k=a=b"), Ok(("k".to_owned(), "a=b".to_owned())));
        assert!(pair("=x").is_err() && pair("k").is_err());
        Ok(())
    }
}
