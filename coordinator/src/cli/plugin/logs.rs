//! `metafleet plugin logs ID`

use broker_config::{InstanceId, PluginId};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::super::App;
use super::super::api::ApiClient;
use super::super::exit::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The plugin's id
    id: PluginId,
    /// Only this instance, e.g. plugin-ffmpeg-1
    #[arg(long, value_name = "NAME")]
    instance: Option<InstanceId>,
    /// Go on with the lines that come
    #[arg(short, long)]
    follow: bool,
    /// Lines from before, of each instance
    #[arg(long, value_name = "N", default_value_t = 100)]
    tail: usize,
}

pub(crate) async fn run(app: &App, args: &LogsArgs) -> Result<Exit, Failure> {
    let api = ApiClient::of(app)?;
    let id = &args.id;
    let names = match &args.instance {
        Some(name) => vec![name.to_string()],
        None => started_here(&api.get(&format!("/api/plugins/{id}")).await?.body),
    };
    if names.is_empty() {
        return Err(Failure::not_found(format!("no instance of {id} is started here")));
    }
    let wide = names.iter().map(String::len).max().unwrap_or_default();
    let is_one = names.len() == 1;
    let mut all = Vec::new();
    for name in names {
        let (tail, follow) = (args.tail, args.follow);
        let path = format!("/api/plugins/{id}/instances/{name}/logs?tail={tail}&follow={follow}");
        let lines = api.log(&path).await?;
        all.push(lines.map(move |line| line.map(|line| (name.clone(), line))));
    }
    let mut lines = stream::select_all(all);
    while let Some(line) = lines.next().await {
        let (name, line) = line?;
        let line = String::from_utf8_lossy(&line).into_owned();
        app.out.document(&json!({ "instance": name, "line": line }), |lines| {
            lines.line(&if is_one { line.clone() } else { format!("{name:<wide$} | {line}") });
        })?;
    }
    Ok(Exit::Ok)
}

/// The instances whose logs are on this machine.
fn started_here(plugin: &Value) -> Vec<String> {
    let all = plugin.get("containers").and_then(Value::as_array).into_iter().flatten();
    let is_here = |one: &&Value| {
        let runtime = one.get("runtime").and_then(Value::as_str);
        // What is not even started has never been started again, nor has it a log.
        let has_log = one.get("restarts").is_some_and(Value::is_u64);
        matches!(runtime, Some("process" | "docker")) && has_log
    };
    all.filter(is_here).filter_map(|one| Some(one.get("name")?.as_str()?.to_owned())).collect()
}
