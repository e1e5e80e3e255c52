//! Every path of the document with every method and every way to show what is not the token.

use coordinator::files::key::Key;
use integration_tests::api::problem;
use integration_tests::bridge::{send, text};
use integration_tests::heavy;

use super::{filled, fleet, operations};

const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"];

fn one(value: &str) -> Vec<(&'static str, &str)> {
    vec![("authorization", value)]
}

#[tokio::test]
async fn nothing_but_the_token_opens_any_route_by_any_method() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (home, up, look, api) = fleet().await?;
    let document = api.get("/api/openapi.json").await?;
    let operations = operations(&document);
    // What the plugin is given to read files with: another token of the same fleet.
    let files = Key::new(look.store.files_secret("x").await?).token(&"odd".parse()?);
    let bearer = |token: &str| format!("Bearer {token}");
    let (wrong, files, right) =
        (bearer(&format!("{}x", api.token)), bearer(&files), bearer(&api.token));
    let (bare, basic) = (api.token.clone(), format!("Basic {}", api.token));
    let cut = bearer(&api.token[..api.token.len() - 1]);
    let shown: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("nothing", vec![]),
        ("a wrong token", one(&wrong)),
        ("a part of the token", one(&cut)),
        ("the token of a plugin", one(&files)),
        ("the token alone", one(&bare)),
        ("the token as a password", one(&basic)),
        ("no token", one("Bearer ")),
        ("the token and another one", vec![("authorization", &right), ("authorization", &wrong)]),
        ("the token elsewhere", vec![("x-api-key", &bare), ("cookie", &bare)]),
    ];
    let before = api.get("/api/plugins/odd").await?["enabled"].clone();

    let (mut asked, mut open) = (0, 0);
    for path in document["paths"].as_object().into_iter().flatten().map(|(path, _)| path) {
        let target = filled(path);
        for method in METHODS {
            let is_documented = operations.contains(&(method.to_owned(), path.clone()));
            for (what, headers) in &shown {
                let query = if *what == "the token elsewhere" {
                    format!("?token={bare}")
                } else {
                    String::new()
                };
                let url = format!("{}{target}{query}", api.url);
                let answer = send(method, &url, headers, r#"{"instances": 1}"#).await?;
                asked += 1;
                let case =
                    format!("{method} {path} with {what}: {} {}", answer.status, text(&answer));
                if path == "/api/health" && ["GET", "HEAD"].contains(&method) {
                    open += 1;
                    assert_eq!(answer.status, 200, "{case}");
                    continue;
                }
                // A method that the route has not is refused for everybody.
                let expected: &[u16] = if is_documented { &[401] } else { &[401, 405] };
                assert!(expected.contains(&answer.status), "{case}");
                if answer.status == 401 {
                    assert!(answer.headers.contains_key("www-authenticate"), "{case}");
                }
                if method != "HEAD" {
                    assert_eq!(problem(&answer)?["status"], answer.status, "{case}");
                }
                assert!(!text(&answer).contains(&bare), "{case}");
            }
            // With the token, what is not documented is not there either.
            if !is_documented && method != "HEAD" {
                let answer =
                    send(method, &format!("{}{target}", api.url), &one(&right), "").await?;
                assert_eq!(answer.status, 405, "{method} {path} is served and not documented");
            }
        }
    }

    assert_eq!(
        asked,
        document["paths"].as_object().map_or(0, serde_json::Map::len) * METHODS.len() * shown.len()
    );
    assert_eq!(open, 2 * shown.len(), "only health is open");
    assert_eq!(api.get("/api/plugins/odd").await?["enabled"], before, "somebody has switched it");
    assert!(!up.said().contains("panicked"), "{}", up.said());
    up.stop().await?;
    drop(home);
    Ok(())
}
