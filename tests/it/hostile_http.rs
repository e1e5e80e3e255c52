//! The API of a real fleet against requests that mean no good; see `bridge/server.rs` for the server
//! they stand on.

mod clients;
mod doors;
mod requests;

use std::path::Path;

use integration_tests::api::Api;
use integration_tests::cli::{Home, Look, Up};
use serde_json::{Value, json};

/// A fleet with one plugin that has a secret setting, an HTTP plugin's metadata API, and a server of files.
async fn fleet() -> anyhow::Result<(Home, Up, Look, Api)> {
    let schema = json!({"key": {"secret": true}, "size": {"type": "number"}});
    let mut home = Home::new()?;
    let program = Path::new(env!("CARGO_BIN_EXE_odd-plugin"));
    home.add_plugin("odd", program, &["completes"], &json!({ "configSchema": schema }))?;
    let files = ["--library".to_owned(), format!("demo={}", home.library().display())];
    let more = [files[0].as_str(), &files[1], "--files-listen", "127.0.0.1:0"];
    let (up, look) = Up::fleet_with(&home, 1, &more).await?;
    let api = Api::of(&home)?;
    Ok((home, up, look, api))
}

/// Every method and path of the document.
fn operations(document: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in methods.as_object().into_iter().flatten().map(|(method, _)| method) {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    all
}

/// A path of the document about the plugin that there is.
fn filled(path: &str) -> String {
    path.replace("{id}", "odd").replace("{instance}", "plugin-odd-1")
}
