//! `metafleet broker render`: for those who set up streams and servers with tools of their own.

use broker_config::Names;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::Format;
use super::RenderArgs;

pub(crate) fn run(app: &App, args: &RenderArgs) -> Result<Exit, Failure> {
    if args.server {
        app.out.raw(&server(&args.store_dir.display().to_string()))?;
        return Ok(Exit::Ok);
    }
    let names = Names::new(app.globals.prefix.clone().unwrap_or_default());
    let topology = args.topology.topology(&names);
    // It is data for programs; a table would lose most of it.
    let text = match app.out.format {
        Format::Ndjson => serde_json::to_string(&topology),
        Format::Json | Format::Table => serde_json::to_string_pretty(&topology),
    };
    let text = text.map_err(|error| Failure::because(Exit::Failure, "write as JSON", &error))?;
    app.out.line(&text)?;
    Ok(Exit::Ok)
}

/// A configuration to begin with: one server, one account that is the fleet's.
fn server(store_dir: &str) -> String {
    let store_dir = serde_json::Value::from(store_dir);
    format!(
        r#"# nats-server 2.12 or newer; 2.15.1 is recommended.
listen: "0.0.0.0:4222"
http: "127.0.0.1:8222"
max_payload: 8MB

jetstream {{
  store_dir: {store_dir}
  # An acknowledged message is on disk. Quoted: without quotes it is not understood.
  sync_interval: "always"
}}

# Replace the password, e.g. by the output of `nats server passwd`.
authorization {{
  user: metafleet
  password: $METAFLEET_NATS_PASSWORD
}}
"#
    )
}
