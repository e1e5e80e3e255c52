//! Every route: in the document, behind the token, for nobody else's pages.

use anyhow::Context as _;
use integration_tests::api::{Api, ok, problem};
use integration_tests::bridge::text;
use integration_tests::cli::Up;
use integration_tests::heavy;
use serde_json::{Value, json};

use super::odd_home;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

/// A schema of the document, with all that it refers to.
fn schema(document: &Value, name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] })
}

fn check(document: &Value, schema: &Value, instance: &Value) -> anyhow::Result<()> {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole)?;
    let errors: Vec<String> =
        validator.iter_errors(instance).map(|error| error.to_string()).collect();
    anyhow::ensure!(errors.is_empty(), "{errors:?} in {instance:#}");
    Ok(())
}

/// Every method and path.
fn operations(document: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in methods.as_object().into_iter().flatten().map(|(method, _)| method) {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    all
}

/// Every example with its schema stands below some `content`.
fn examples<'a>(value: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
    if let (Some(schema), Some(example)) = (value.get("schema"), value.get("example")) {
        found.push((schema, example));
    }
    let below: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    for value in below {
        examples(value, found);
    }
}

#[tokio::test]
async fn every_documented_route_answers_the_owner_and_nobody_else() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["completes"], &json!({"site": {"type": "string"}}), 0)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    let document = api.get("/api/openapi.json").await?;
    let wrong = format!("Bearer {}x", api.token);
    let right = format!("Bearer {}", api.token);
    let operations = operations(&document);
    assert_eq!(operations.len(), 14, "{operations:?}");

    for (method, path) in &operations {
        let none = path.replace("{id}", "none").replace("{instance}", "plugin-none-1");
        let is_open = path == "/api/health";
        for headers in [vec![], vec![("authorization", wrong.as_str())]] {
            let answer = api.send_as(method, &none, &headers, "").await?;
            let expected = if is_open { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{method} {path} {headers:?}");
            assert!(is_open || answer.headers.contains_key("www-authenticate"), "{path}");
        }
        for (header, value, expected) in
            [("host", "evil.example", 421), ("origin", "https://evil.example", 403)]
        {
            let headers = [("authorization", right.as_str()), (header, value)];
            let answer = api.send_as(method, &none, &headers, "").await?;
            assert_eq!(answer.status, expected, "{method} {path} {header}");
        }
        let body =
            if path.ends_with("/scale") { r#"{"instances": 1}"# } else { r#"{"config": {}}"# };
        let answer = api.send(method, &none, body).await?;
        if path.contains("{id}") {
            assert_eq!(answer.status, 404, "{method} {path}: {}", text(&answer));
            check(&document, &schema(&document, "Problem"), &problem(&answer)?)?;
        } else {
            assert_eq!(answer.status, 200, "{method} {path}: {}", text(&answer));
        }
        for other in METHODS.iter().filter(|other| document["paths"][path].get(**other).is_none()) {
            let answer = api.send(&other.to_uppercase(), &none, "").await?;
            assert_eq!(answer.status, 405, "{other} {path} is served and not documented");
        }
    }
    assert_eq!(api.send("GET", "/api/none", "").await?.status, 404);
    up.stop().await
}

#[tokio::test]
async fn answers_and_examples_are_as_the_document_says() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["completes"], &json!({"site": {"type": "string"}}), 2)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    home.scan(&[]).await?;
    let document = api.get("/api/openapi.json").await?;

    for (path, name) in [
        ("/api/health", "Health"),
        ("/api/plugins", "PluginList"),
        ("/api/plugins/odd", "Plugin"),
        ("/api/plugins/odd/config", "Config"),
    ] {
        check(&document, &schema(&document, name), &api.get(path).await?).context(path)?;
    }
    let done = api.post("/api/plugins/odd/pause", &Value::Null).await?;
    check(&document, &schema(&document, "Done"), &done)?;
    let answer = api.send("PUT", "/api/plugins/odd/config", r#"{"config": {"a/b~": 1}}"#).await?;
    assert_eq!(answer.status, 422);
    let told = problem(&answer)?;
    check(&document, &schema(&document, "Problem"), &told)?;
    assert_eq!(told["errors"][0]["pointer"], "/config/a~1b~0", "{told}");
    let mut found = Vec::new();
    examples(&document, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for (schema, example) in found {
        check(&document, schema, example)?;
    }
    // The answers list all fields: what the document does not know, nobody would find.
    let plugin = ok(&api.send("GET", "/api/plugins/odd", "").await?)?;
    for (object, name) in [
        (&plugin, "Plugin"),
        (&plugin["stats"], "Stats"),
        (&plugin["containers"][0], "Container"),
        (&plugin["source"], "Source"),
    ] {
        let documented = &document["components"]["schemas"][name]["properties"];
        for field in object.as_object().context(name)?.keys() {
            assert!(documented.get(field).is_some(), "{name} has {field}");
        }
    }
    up.stop().await
}
