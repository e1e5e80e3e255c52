//! Thirty secrets, put through real processes, and looked for in all that comes out of them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::PoisonError;

use anyhow::Context as _;
use broker_config::Names;
use coordinator::config::{DataDir, Secret};
use coordinator::files::key::Key;
use integration_tests::api::Api;
use integration_tests::canary::{Canaries, base64, files, forms, hex, percent};
use integration_tests::cli::{Home, Look, Up, processes};
use integration_tests::{eventually, heavy};
use serde_json::{Map, Value, json};

use super::add;
use super::package::folder;
use super::trace::Collector;

/// Secret settings of the plugin that says all of them; half of them by a variable.
const SETTINGS: usize = 14;
/// The key of a package, made for this test.
const SEED: &str = "SUAPLK2VQLUF64NSXSMKDJL24NC2RNGTKXJMUD6N5VCJ6AKNCLYQY4YM2Y";
/// How its attempts end, by the names of files.
const FILES: [&str; 6] = ["fails", "retries", "waits", "skips", "panics", "ends well"];
/// Files of the data folder that are made for a secret: beginnings of their paths.
const MADE_FOR: [&str; 7] = [
    "fleet.json",
    "api-token",
    "overrides.json",
    "plugins.yml",
    "nats/users.json",
    "nats/nats-server.conf",
    "login/",
];

/// A fleet whose plugins know secrets, and what is looked for.
struct Stage {
    home: Home,
    canaries: Canaries,
    collector: Collector,
}

impl Stage {
    async fn set() -> anyhow::Result<Self> {
        let mut canaries = Canaries::default();
        let collector = Collector::start().await?;
        let mut home = Home::new()?
            .with_var("METAFLEET_LOG", "debug")
            .with_var("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address))
            .with_var(
                "OTEL_EXPORTER_OTLP_HEADERS",
                format!("authorization=Bearer {}", canaries.plain("OTLP header")),
            );
        let (mut schema, mut given) = (Map::new(), Map::new());
        for number in 0..SETTINGS {
            let (key, variable) = (format!("key{number}"), format!("CANARY_{number}"));
            let value = canaries.odd(&key);
            schema.insert(key.clone(), json!({"type": "string", "secret": true}));
            if number % 2 == 0 {
                given.insert(key, value.into());
            } else {
                home = home.with_var(&variable, value);
                given.insert(key, format!("${{{variable}}}").into());
            }
        }
        let number: u64 = fastrand::u64(1_000_000_000_000..9_000_000_000_000);
        canaries.know("number", &number.to_string());
        schema.insert("number".to_owned(), json!({"type": "number", "secret": true}));
        given.insert("number".to_owned(), number.into());
        let parts = json!({"user": "me", "inner": [canaries.odd("part of an object")]}).to_string();
        schema.insert("parts".to_owned(), json!({"type": "string", "secret": true}));
        given.insert("parts".to_owned(), parts.into());
        add(&mut home, "keyed", &["confesses"], &json!({ "configSchema": schema }))?;
        // Settings that are refused must not be quoted by whoever complains.
        let wrong = json!({"configSchema": {"amount": {"type": "number", "secret": true}}});
        add(&mut home, "wrong", &["completes"], &wrong)?;
        add(&mut home, "open", &["completes"], &json!({}))?;
        let plugins = json!({"plugins": {
            "keyed": {"config": given},
            "wrong": {"config": {"amount": canaries.odd("of a wrong kind")}},
            "open": {"config": {"undeclared": canaries.odd("undeclared")}},
        }});
        std::fs::create_dir_all(home.data())?;
        // JSON is YAML.
        let file = home.data().join("plugins.yml");
        std::fs::write(&file, plugins.to_string())?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        for name in FILES {
            home.write(name, format!("a file that {name}"))?;
        }
        Ok(Self { home, canaries, collector })
    }

    /// What the fleet has made for itself is looked for, too.
    async fn know_own(&mut self, look: &Look) -> anyhow::Result<()> {
        let token = std::fs::read_to_string(DataDir::new(self.home.data()).api_token())?;
        self.canaries.know("API token", token.trim());
        let users = std::fs::read(self.home.data().join("nats/users.json"))?;
        let users: Value = serde_json::from_slice(&users)?;
        let plugins = users["plugins"].as_object().context("plugins")?;
        anyhow::ensure!(!plugins.is_empty(), "no plugin has a login");
        let all = plugins.iter().map(|(id, password)| (id.as_str(), password));
        for (user, password) in all.chain([("coordinator", &users["coordinator"])]) {
            let password = password.as_str().context("a password")?;
            self.canaries.know(&format!("broker password of {user}"), password);
        }
        let bucket = Names::bucket_stream(&look.store.names().lease_bucket());
        let kept = look.messages(&bucket).await?.into_iter();
        let secret = kept.rev().find(|kept| kept.subject.ends_with(".files"));
        let secret = secret.context("the secret for files")?;
        let secret = std::str::from_utf8(&secret.payload)?.to_owned();
        self.canaries.know("secret for files", &secret);
        let token = Key::new(Secret::new(secret)).token(&"keyed".parse()?);
        let proof = token.split_once('.').context("a token for files")?.1;
        self.canaries.know("token for files", proof);
        Ok(())
    }

    /// Everything that a person can ask on the command line.
    async fn commands(&mut self) -> anyhow::Result<()> {
        let (home, canaries) = (&self.home, &mut self.canaries);
        let (good, bad) = (home.file("ends well"), home.file("fails"));
        let mut asked: Vec<Vec<&str>> = vec![
            vec!["status"],
            vec!["plugin", "list"],
            vec!["doctor"],
            vec!["up", "--dry-run"],
            vec!["dead", "list"],
            vec!["file", "list"],
            vec!["file", "show", &good],
            vec!["file", "show", &bad],
            vec!["meta", "get", &good, "--provenance"],
            vec!["meta", "get", &bad, "--provenance"],
            vec!["event", "tail", "--since", "1", "--no-follow"],
            vec!["plugin", "logs", "keyed"],
        ];
        for plugin in ["keyed", "wrong", "open"] {
            asked.push(vec!["plugin", "show", plugin]);
            asked.push(vec!["plugin", "config", "get", plugin]);
            asked.push(vec!["plugin", "diff", plugin]);
        }
        for arguments in &asked {
            for format in ["json", "table"] {
                let whole = [arguments.as_slice(), &["--output", format]].concat();
                command(canaries, home, &whole).await?;
            }
        }
        let letters: Value = home.json(&["dead", "list"]).await?;
        let letters = letters.as_array().or_else(|| letters["letters"].as_array()).cloned();
        let letters = letters.unwrap_or_default();
        anyhow::ensure!(!letters.is_empty(), "no dead letter");
        for letter in letters {
            let id = letter["id"].to_string();
            command(canaries, home, &["dead", "show", &id, "--output", "json"]).await?;
            command(canaries, home, &["dead", "show", &id]).await?;
        }
        Ok(())
    }

    /// Every GET route of the document, and the whole log of each instance.
    async fn routes(&mut self) -> anyhow::Result<()> {
        let api = Api::of(&self.home)?;
        let document = api.get("/api/openapi.json").await?;
        let mut asked = 0;
        for (path, methods) in document["paths"].as_object().context("paths")? {
            if methods.get("get").is_none() {
                continue;
            }
            for plugin in ["keyed", "wrong", "open"] {
                let path = path.replace("{id}", plugin);
                let path = path.replace("{instance}", &format!("plugin-{plugin}-1"));
                let path = if path.ends_with("/logs") { format!("{path}?tail=all") } else { path };
                let answer = api.send("GET", &path, "").await?;
                anyhow::ensure!(answer.status == 200, "{path}: {}", answer.status);
                let said =
                    format!("{:?}\n{}", answer.headers, String::from_utf8_lossy(&answer.body));
                self.canaries.look(&format!("GET {path}"), said.as_bytes(), &[]);
                asked += 1;
            }
        }
        anyhow::ensure!(asked >= 15, "only {asked} routes were asked");
        Ok(())
    }

    /// Every message of every stream and bucket.
    async fn streams(&mut self, look: &Look) -> anyhow::Result<()> {
        let (mut messages, streams) = (0, look.streams().await?);
        anyhow::ensure!(streams.len() >= 10, "{streams:?}");
        for stream in streams {
            for message in look.messages(&stream).await? {
                let mut said = format!("{} {:?}\n", message.subject, message.headers).into_bytes();
                said.extend_from_slice(&message.payload);
                // The key that every coordinator of the fleet must know lies there and nowhere else.
                let is_its = message.subject.ends_with(".files");
                let made_for: &[&str] = if is_its { &["secret for files"] } else { &[] };
                self.canaries.look(&format!("{} of {stream}", message.subject), &said, made_for);
                messages += 1;
            }
        }
        anyhow::ensure!(messages > 20, "only {messages} messages");
        Ok(())
    }

    /// What all children were started with.
    fn command_lines(&mut self, up: &Up) -> anyhow::Result<()> {
        let mut all = vec![up.pid()?];
        all.extend(processes::children(up.pid()?)?.iter().map(|process| process.pid));
        anyhow::ensure!(all.len() >= 3, "only {} processes", all.len());
        for pid in all {
            let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
            self.canaries.look(&format!("the command line of process {pid}"), &line, &[]);
        }
        Ok(())
    }

    /// All that is kept on disk; what is made for secrets only its owner reads.
    fn disk(&mut self) -> anyhow::Result<()> {
        let data = self.home.data().to_owned();
        for path in files(&data)? {
            let name = path.strip_prefix(&data)?.to_string_lossy().into_owned();
            let content = std::fs::read(&path)?;
            if MADE_FOR.iter().any(|made_for| name.starts_with(made_for)) {
                let mode = std::fs::metadata(&path)?.permissions().mode();
                let is_private = mode & 0o077 == 0;
                anyhow::ensure!(is_private, "{name} is made for secrets and has mode {mode:o}");
                continue;
            }
            let is_store = name.starts_with("nats/store");
            let made_for: &[&str] = if is_store { &["secret for files"] } else { &[] };
            self.canaries.look(&format!("the file {name}"), &content, made_for);
        }
        Ok(())
    }

    /// Logins at a broker that is not there, and the key of a package.
    async fn logins(&mut self) -> anyhow::Result<()> {
        let nobody = "127.0.0.1:9";
        let password = self.canaries.plain("password in NATS_URL");
        let url = format!("nats://me:{password}@{nobody}");
        let mut homes = vec![Home::new()?.with_var("NATS_URL", url)];
        let address =
            || Home::new().map(|home| home.with_var("NATS_URL", format!("nats://{nobody}")));
        let (user, token) = (self.canaries.odd("NATS_PASSWORD"), self.canaries.odd("NATS_TOKEN"));
        homes.push(address()?.with_var("NATS_USER", "me").with_var("NATS_PASSWORD", user));
        homes.push(address()?.with_var("NATS_TOKEN", token));
        homes.push(address()?.with_var("NATS_NKEY", self.canaries.plain("NATS_NKEY")));
        let with_file = address()?;
        let creds = with_file.root().join("wrong.creds");
        std::fs::write(
            &creds,
            format!("-----BEGIN\n{}\n", self.canaries.plain("credentials file")),
        )?;
        homes.push(with_file.with_var("NATS_CREDS", creds.to_string_lossy()));
        for home in homes {
            let home = home.with_var("METAFLEET_LOG", "debug");
            for arguments in [&["status"][..], &["doctor"], &["plugin", "list"]] {
                command(&mut self.canaries, &home, arguments).await?;
            }
        }
        let home = super::package::home()?;
        folder(&home, "1.0.0", &json!({}))?;
        let wrong = format!("{}X", SEED.replace("SUAP", "SUAQ"));
        for (name, seed) in [("signing key", SEED), ("broken signing key", &wrong)] {
            self.canaries.know(name, seed);
            std::fs::write(home.root().join("key.nk"), seed)?;
            let pack = ["plugin", "pack", "dist-1.0.0", "--sign", "key.nk"];
            command(&mut self.canaries, &home, &pack).await?;
        }
        Ok(())
    }
}

async fn command(canaries: &mut Canaries, home: &Home, arguments: &[&str]) -> anyhow::Result<()> {
    let done = home.run(arguments).await?;
    let said = format!("{}\n{}", done.out, done.err);
    canaries.look(&format!("metafleet {}", arguments.join(" ")), said.as_bytes(), &[]);
    Ok(())
}

/// Waits until there is something of every kind in which an error or a reason stands.
async fn told_all(look: &Look) -> anyhow::Result<()> {
    let names = look.store.names();
    let (signals, dead) = (names.signal_stream(), names.dead_stream());
    eventually("the plugin to have said all that it knows", async || {
        let signals = look.messages(&signals).await?;
        let of = |kind: &str| signals.iter().any(|signal| signal.subject.ends_with(kind));
        let is_dead = look.messages(&dead).await?.len() >= 3;
        let all = of("failed") && of("retrying") && of("deferred") && is_dead;
        Ok(all.then_some(()))
    })
    .await
}

#[tokio::test]
async fn thirty_secrets_are_in_nothing_that_comes_out_of_a_fleet() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut stage = Stage::set().await?;
    let library = format!("films={}", stage.home.library().display());
    let more = ["--files-listen", "127.0.0.1:0", "--library", &library];
    let (up, look) = Up::fleet_with(&stage.home, 1, &more).await?;
    told_all(&look).await?;
    stage.know_own(&look).await?;
    // Written once more, in the way of the API, and never returned.
    let changed = json!({"config": {"key0": stage.canaries.odd("changed by the API")}});
    let api = Api::of(&stage.home)?;
    let answer = api.send("PUT", "/api/plugins/keyed/config", &changed.to_string()).await?;
    anyhow::ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    stage.canaries.look("the answer to a change", &answer.body, &[]);

    stage.commands().await?;
    stage.routes().await?;
    stage.streams(&look).await?;
    stage.command_lines(&up)?;
    stage.logins().await?;
    let said = up.said();
    anyhow::ensure!(said.contains("DEBUG"), "it said little: {said}");
    let printed = up.printed();
    up.stop().await?;
    stage.canaries.look("the log of the fleet", said.as_bytes(), &[]);
    stage.canaries.look("what the fleet printed", printed.as_bytes(), &[]);
    stage.disk()?;
    let exported = stage.collector.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    anyhow::ensure!(!exported.is_empty(), "nothing was exported");
    for body in &exported {
        stage.canaries.look("what was exported", body, &[]);
    }

    let Canaries { found, .. } = &stage.canaries;
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
    assert!(stage.canaries.count() >= 30, "{}", stage.canaries.count());
    println!("{} secrets, {} bytes looked at", stage.canaries.count(), stage.canaries.looked_at());
    let log = stage.home.data().join("log/plugin-keyed-1.log");
    let log = std::fs::read_to_string(log)?;
    assert!(log.contains("key0 as base64: ") && log.contains("***"), "it confessed nothing: {log}");
    Ok(())
}

#[test]
fn a_secret_is_found_in_every_form_wherever_it_begins() -> anyhow::Result<()> {
    let mut canaries = Canaries::default();
    let secrets: Vec<String> = (0..6).map(|n| canaries.odd(&format!("canary {n}"))).collect();
    let home = tempfile::tempdir()?;
    for secret in &secrets {
        for before in ["", "a", "ab", "abc", "é"] {
            let text = format!("{before}{secret} and more");
            let encoded = base64(text.as_bytes());
            for (form, written) in [
                ("plain", text.clone()),
                ("base64", encoded.clone()),
                ("base64 for addresses", encoded.replace('+', "-").replace('/', "_")),
                ("hexadecimal", hex(text.as_bytes(), false)),
                ("percent", percent(text.as_bytes(), b"-_.~", true)),
                ("JSON", Value::from(text.clone()).to_string()),
            ] {
                assert!(!canaries.within(written.as_bytes()).is_empty(), "{form} of {text}");
            }
        }
        assert!(forms(secret).iter().all(|(_, text)| text.len() >= 8), "{secret}");
    }
    assert!(canaries.within(b"nothing of the kind, key0, a2V5MA==").is_empty());

    // The control: a channel that shows one.
    let leak = home.path().join("leak");
    std::fs::write(&leak, format!("x{}", base64(format!("u:{}", secrets[0]).as_bytes())))?;
    canaries.look("a file", &std::fs::read(Path::new(&leak))?, &[]);
    assert_eq!(canaries.found, ["canary 0 as base64 after 2 in a file"]);
    canaries.look("a place for it", secrets[1].as_bytes(), &["canary 1"]);
    assert_eq!(canaries.found.len(), 1, "{:?}", canaries.found);
    Ok(())
}
