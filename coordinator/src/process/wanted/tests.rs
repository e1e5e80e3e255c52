use std::num::NonZeroU64;

use super::super::confine::tests::confines;
use super::super::discover::discover;
use super::super::discover::tests::plugin;
use super::*;
use crate::config::Secret;
use crate::config::connection::{Login, Origin, Tls};
use crate::config::vars::vars;

/// An instance of `id` that runs `script` in a shell.
pub(crate) fn instance(id: &str, n: u32, script: &str) -> Wanted {
    Wanted {
        name: format!("plugin-{id}-{n}").parse().unwrap(),
        plugin: id.parse().unwrap(),
        lane: Lane::Main,
        version: None,
        program: "sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        dir: None,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        limits: Limits::default(),
        sandbox: None,
    }
}

fn shared() -> Surroundings {
    let connection = Connection {
        url: "nats://127.0.0.1:1".to_owned(),
        login: Login::User { name: "plugin".to_owned(), password: Secret::new("hush") },
        tls: Tls::default(),
        origin: Origin::Fleet,
    };
    let vars = vars(&[
        ("PATH", "/bin"),
        ("HOME", "/h"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("NATS_URL", "elsewhere"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://o"),
        ("OTEL_SERVICE_NAME", "us"),
        ("METAFLEET_LOG", "debug"),
    ]);
    let login = Logins::Shared(connection.login_files(Path::new("/data/login")));
    let confines = Confines { login, ..confines() };
    let prefix = "px".parse().unwrap();
    Surroundings::new(connection, prefix, Duration::from_secs(10), confines, &vars)
}

fn file(text: &str) -> PluginsFile {
    PluginsFile::parse(Path::new("/etc/plugins.yml"), text, &vars(&[])).unwrap()
}

#[test]
fn what_runs_follows_from_file_and_folders() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    for id in ["bare", "off", "many", "away", "broken"] {
        plugin(home.path(), id, "1.2.3", "")?;
    }
    let found = discover(&[home.path().to_owned()]);
    let file = file(
        "plugins:\n  off: {enabled: false}\n  many: {instances: 2}\n  away: {runtime: remote}\n  \
         broken: {instances: 0}\n  box: {runtime: docker, image: i}\n  nowhere: {}\n  \
         own: {command: [bin/own, -v], dir: /opt/own}\n  named: {command: [python3, x.py]}\n",
    );

    let plan = wanted(&file, &found, &shared());

    let names: Vec<&str> = plan.instances.keys().map(InstanceId::as_str).collect();
    assert_eq!(
        names,
        ["plugin-bare-1", "plugin-many-1", "plugin-many-2", "plugin-named-1", "plugin-own-1"]
    );
    assert_eq!(plan.problems.len(), 1);
    assert!(plan.problems[&"nowhere".parse()?].contains("in no plugin folder"));
    let program = |name: &str| {
        let wanted = &plan.instances[&name.parse::<InstanceId>().unwrap()];
        (wanted.program.clone(), wanted.args.clone(), wanted.version.clone())
    };
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let main = home.path().join("bare/v1.2.3/run.sh");
    assert_eq!(program("plugin-bare-1"), (main, texts(&["--serve"]), Some("1.2.3".into())));
    assert_eq!(program("plugin-own-1"), ("/opt/own/bin/own".into(), texts(&["-v"]), None));
    assert_eq!(program("plugin-named-1"), ("python3".into(), texts(&["x.py"]), None));
    Ok(())
}

#[test]
fn the_environment_is_clean() {
    let file = file(
        "plugins: {p: {command: [x], concurrency: 3, resources: {memory: 1k}, \
         config: {key: hush}}}",
    );
    let plan = wanted(&file, &Discovered::default(), &shared());
    let wanted = plan.instances.values().next().unwrap();
    let expected = [
        ("HOME", "/h"),
        ("METAFLEET_CONCURRENCY", "3"),
        ("METAFLEET_GRACE", "9000ms"),
        ("METAFLEET_INSTANCE", "plugin-p-1"),
        ("METAFLEET_LOG", "debug"),
        ("METAFLEET_PLUGIN", "p"),
        ("METAFLEET_PREFIX", "px"),
        ("NATS_PASSWORD_FILE", "/data/login/nats-password"),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("NATS_USER", "plugin"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://o"),
        ("PATH", "/bin"),
        ("TMPDIR", "/data/scratch/plugin-p-1"),
    ];
    let env: Vec<_> = wanted.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(env, expected);
    assert_eq!(wanted.limits.memory, NonZeroU64::new(1024));
    assert!(!format!("{plan:?}").contains("hush"), "Debug shows a secret");
}

#[test]
fn an_http_plugin_gets_a_port_and_no_login_of_the_broker() {
    let file = file("plugins: {p: {protocol: http, command: [x], instances: 2}}");
    let plan = wanted(&file, &Discovered::default(), &shared());
    let ports: Vec<_> = plan.instances.values().map(|wanted| wanted.env["PORT"].as_str()).collect();
    assert_eq!(ports, ["8080", "8081"]);
    for wanted in plan.instances.values() {
        assert!(!wanted.env.keys().any(|name| name.starts_with("NATS_")), "{wanted:?}");
        assert!(!wanted.env.values().any(|value| value.contains("hush")), "{wanted:?}");
    }
}

#[test]
fn a_route_has_processes_of_its_own_with_their_own_memory() {
    let file = file(
        "plugins: {p: {command: [x], instances: 2, resources: {memory: 1k}, routes: {\
         big: {when: {minSize: 1}, instances: 2, resources: {memory: 4k}}, \
         like: {when: {minSize: 1}, instances: 1}, far: {when: {minSize: 1}}}}}",
    );
    assert!(file.problems.is_empty(), "{:?}", file.problems);

    let plan = wanted(&file, &Discovered::default(), &shared());

    let found: Vec<_> = plan
        .instances
        .iter()
        .map(|(name, wanted)| {
            let route = wanted.env.get("METAFLEET_ROUTE").map_or("", String::as_str);
            (name.as_str(), route, wanted.limits.memory.map_or(0, NonZeroU64::get))
        })
        .collect();
    let expected = [
        ("plugin-p-1", "", 1_024),
        ("plugin-p-2", "", 1_024),
        ("plugin-p_big-1", "big", 4_096),
        ("plugin-p_big-2", "big", 4_096),
        ("plugin-p_like-1", "like", 1_024),
    ];
    assert_eq!(found, expected);
    let numbered = plan.instances[&"plugin-p_big-1".parse().unwrap()].numbered(2).unwrap();
    assert_eq!(numbered.name.as_str(), "plugin-p_big-2");
}
