//! `metafleet plugin enable|disable|restart|scale|reset ID`

use std::num::NonZeroU32;

use broker_config::PluginId;
use clap::Args;
use serde_json::{Value, json};

use super::super::App;
use super::super::api::ApiClient;
use super::super::exit::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The plugin's id
    id: PluginId,
    /// How many instances run
    #[arg(value_name = "N")]
    instances: NonZeroU32,
}

pub(crate) async fn scale(app: &App, args: &ScaleArgs) -> Result<Exit, Failure> {
    let body = json!({ "instances": args.instances });
    let done = format!("{} instances of {} run", args.instances, args.id);
    order(app, &args.id, "scale", Some(&body), &done).await
}

/// Has the API carry out an action.
pub(crate) async fn order(
    app: &App,
    id: &PluginId,
    action: &str,
    body: Option<&Value>,
    done: &str,
) -> Result<Exit, Failure> {
    let path = format!("/api/plugins/{id}/{action}");
    let answer = ApiClient::of(app)?.post(&path, body).await?;
    say(app, id, &answer, done);
    Ok(Exit::Ok)
}

/// Says whether an order is carried out.
pub(super) fn say(app: &App, id: &PluginId, answer: &Value, done: &str) {
    app.out.say(&match answer.get("inEffect").and_then(Value::as_bool) {
        Some(true) => done.to_owned(),
        Some(false) | None => {
            format!(
                "taken, and being carried out; `metafleet plugin show {id}` shows how far it is"
            )
        }
    });
}
