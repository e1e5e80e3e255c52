use super::super::vars::vars;
use super::*;

fn parse(text: &str) -> PluginsFile {
    try_parse(text).unwrap()
}

fn try_parse(text: &str) -> Result<PluginsFile, Problem> {
    let vars = vars(&[("KEY", "hush-1"), ("N", "3"), ("WORD", "hush-2")]);
    PluginsFile::parse(Path::new("/etc/mf/plugins.yml"), text, &vars)
}

/// The plugin `x` with one line of YAML in it.
fn with(line: &str) -> PluginsFile {
    parse(&format!("plugins:\n  x:\n    {line}\n  good: {{}}\n"))
}

fn entry(line: &str) -> PluginEntry {
    let file = with(line);
    assert_eq!(file.problems, [], "{line}");
    file.entries[&"x".parse::<PluginId>().unwrap()].clone()
}

#[test]
fn every_field_is_read() {
    let file = parse(
        r#"
x-shared: &shared { memory: 512m, cpus: 1.5 }
plugins:
  whisper:
    enabled: true
    runtime: process
    command: [python3, "-m", whisper]
    dir: ../whisper
    instances: ${N}
    concurrency: 2
    maxInFlight: ${UNSET:-8}
    queue: background
    timeout: 600000
    progressTimeout: 20000
    recycle: { afterTasks: 500 }
    retry: { maxAttempts: 5, backoff: exponential, initialDelay: 100, maxDelay: 2000 }
    onDependencyFailure: skip
    resources: *shared
    image: example/whisper:1
    config:
      apiKey: "${KEY}"
      plain: ${KEY}
      level: ${N}
      quoted: "${N}"
      language: no
      nested: { list: ["a${N}", "$${N}"] }
    permissions: [network]
  remote: { runtime: remote }
  bare:
"#,
    );
    let told: Vec<String> = file.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["/etc/mf/plugins.yml:4: plugin `whisper`: `resources`: `cpus` does not limit a process, \
          only a container"]
    );
    let entry = &file.entries[&"whisper".parse::<PluginId>().unwrap()];
    let expected = PluginEntry {
        command: Some(["python3", "-m", "whisper"].map(str::to_owned).to_vec()),
        dir: Some(PathBuf::from("/etc/mf/../whisper")),
        instances: NonZeroU32::new(3).unwrap(),
        concurrency: NonZeroU32::new(2),
        max_in_flight: NonZeroU32::new(8),
        queue: Some(Queue::Background),
        timeout: Some(Duration::from_secs(600)),
        progress_timeout: Some(Duration::from_secs(20)),
        recycle: NonZeroU32::new(500),
        retry: Some(RetryOptions {
            max_attempts: NonZeroU32::new(5).unwrap(),
            initial_delay: 100,
            max_delay: 2000,
            ..RetryOptions::default()
        }),
        on_dependency_failure: Some(OnDependencyFailure::Skip),
        resources: Resources { memory: NonZeroU64::new(512 << 20), cpus: Some(1.5) },
        image: Some(Images::One("example/whisper:1".to_owned())),
        config: PluginConfig(
            serde_json::from_value(serde_json::json!({
                "apiKey": "hush-1", "plain": "hush-1", "level": 3, "quoted": "3",
                "language": "no", "nested": { "list": ["a3", "${N}"] }
            }))
            .unwrap(),
        ),
        permissions: vec!["network".to_owned()],
        ..PluginEntry::default()
    };
    assert_eq!(*entry, expected);
    assert_eq!(file.entries[&"remote".parse::<PluginId>().unwrap()].runtime, Runtime::Remote);
    assert_eq!(file.entries[&"bare".parse::<PluginId>().unwrap()], PluginEntry::default());
    assert!(!format!("{file:?}").contains("hush"), "Debug shows a setting");
}

#[test]
fn a_broken_rule_names_file_line_and_rule_and_spares_the_others() {
    for (line, rule) in [
        ("enabled: maybe", "`enabled` must be true or false"),
        ("runtime: vm", "`runtime` must be process, remote, docker or internal"),
        ("protocol: grpc", "`protocol` must be nats or http"),
        ("url: http://127.0.0.1:1", "`url` is for `protocol: http`"),
        ("{protocol: http, runtime: remote}", "`url` is needed"),
        ("{protocol: http, url: 'https://hush:1'}", "an address must be like http://"),
        ("{protocol: http, url: 'http://hush:1'}", "`url` of a process must be on this machine"),
        (
            "{protocol: http, urls: ['http://localhost:1', 'http://[::1]:2']}",
            "`urls` is for remote",
        ),
        ("{protocol: http, image: i, url: 'http://h:1'}", "`url` is not for containers"),
        ("{protocol: http, runtime: internal}", "`protocol: http` is for plugins that are servers"),
        (
            "{protocol: http, runtime: remote, url: 'http://a:1', urls: ['http://b:1']}",
            "only one of them",
        ),
        ("command: ffprobe", "`command` must be a list of texts"),
        ("command: []", "`command` must be a list of texts"),
        ("instances: 0", "`instances` must be a whole number from 1"),
        ("instances: 1001", "`instances` must be a whole number from 1 to 1000"),
        ("instances: ${WORD}", "`instances` must be a whole number"),
        ("instances: \"2\"", "`instances` must be a whole number"),
        ("concurrency: -1", "`concurrency` must be a whole number from 1"),
        ("queue: slow", "`queue` must be fast or background"),
        ("timeout: 0", "`timeout` must be milliseconds"),
        ("progressTimeout: soon", "`progressTimeout` must be milliseconds"),
        ("{protocol: http, progressTimeout: 5}", "`progressTimeout` is not for `protocol: http`"),
        ("recycle: 5", "`recycle` must be a map of fields (afterTasks)"),
        ("recycle: {}", "`recycle` needs `afterTasks`"),
        ("recycle: {afterTasks: 0}", "`recycle`: `afterTasks` must be a whole number from 1"),
        ("recycle: {after: 5}", "`recycle`: unknown field `after`; known are afterTasks"),
        ("{runtime: internal, recycle: {afterTasks: 5}}", "`recycle` is for processes and"),
        ("{runtime: remote, recycle: {afterTasks: 5}}", "`recycle` is for processes and"),
        ("{protocol: http, recycle: {afterTasks: 5}}", "`recycle` is not for `protocol: http`"),
        ("retry: 3", "`retry` must be a map of fields"),
        ("retry: {maxAttempts: 0}", "`retry`: `maxAttempts` must be a whole number from 1"),
        ("retry: {attempts: 2}", "`retry`: unknown field `attempts`; known are maxAttempts"),
        ("resources: {memory: 1.5g}", "`memory` must be bytes, or a text like `512m`"),
        ("resources: {cpus: 0}", "`cpus` must be a number above 0"),
        ("onDependencyFailure: stop", "must be run or skip"),
        ("config: ${WORD}", "`config` must be a map of settings"),
        ("permissions: all", "`permissions` must be a list of texts"),
        ("runtime: docker", "`runtime: docker` needs an `image`"),
        ("mounts: [/a:/b]", "both sides of the `:` must be the same"),
        ("labels: {a: b}", "`labels` are for containers"),
        ("{runtime: remote, mounts: [/a:/a]}", "`mounts` are for containers and processes"),
        ("{image: i, isolation: on}", "`isolation` is for processes"),
        ("{type: internal, runtime: internal}", "`type` is the older word for `runtime`"),
        ("type: vm", "`type` must be container or internal"),
        ("{runtime: internal, command: [x]}", "a built-in plugin is none"),
        ("isolation: maybe", "`isolation` must be on or off"),
        ("{image: i, mounts: [/a]}", "`mounts` must be a list of texts like"),
        ("{image: i, mounts: [\"/a:b\"]}", "`mounts` must be a list of texts like"),
        ("{image: i, mounts: [\"/a:/b:x\"]}", "`mounts` must be a list of texts like"),
        ("{image: i, mounts: [\"/a:/b/../c\"]}", "`mounts` must be a list of texts like"),
        ("{image: i, labels: {metafleet.fleet-id: x}}", "`labels` must be a map of texts, none"),
        ("instance: 2", "unknown field `instance`; known are enabled"),
        ("image: ${NOT_SET}", "the variable `NOT_SET` is not set"),
        ("image: ${KEY", "`${` must be followed by"),
    ] {
        let file = with(line);
        let problems: Vec<String> = file.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].starts_with("/etc/mf/plugins.yml:3: plugin `x`: "), "{problems:?}");
        assert!(problems[0].contains(rule), "{line}: {problems:?}");
        assert!(!problems[0].contains("hush"), "{line} shows a value: {problems:?}");
        assert_eq!(file.entries.len(), 1, "{line}: the other entry is lost");
    }
}

#[test]
fn all_that_is_wrong_is_told_each_on_its_line() {
    let file = parse(
        "plugins:\n  Bad_Id: {}\n  user: {}\n  x:\n    queue: slow\n    config:\n      a:\n        \
         - ${GONE}\n    nope: 1\n  y: 5\nother: 1\n",
    );
    let lines: Vec<_> = file.problems.iter().map(|problem| problem.line).collect();
    let some = |lines: &[u64]| lines.iter().map(|line| Some(*line)).collect::<Vec<_>>();
    assert_eq!(lines, some(&[2, 3, 8, 5, 9, 10, 11]), "{:#?}", file.problems);
    assert!(file.entries.is_empty());
}

#[test]
fn a_file_that_asks_for_nothing_is_empty() {
    for text in ["", "# nothing\n", "plugins:\n", "x-shared: {a: 1}\n"] {
        let file = parse(text);
        assert_eq!((file.entries.len(), file.problems.len()), (0, 0), "{text}");
    }
}

#[test]
fn a_file_that_lists_no_plugins_is_an_error_that_names_the_line_and_no_value() {
    for (text, told) in [
        ("- a\n", ":1: must begin with `plugins:`"),
        ("hush\n", ":1: must begin with `plugins:`"),
        ("\nplugins: [hush]\n", ":2: `plugins` must map the id of each plugin"),
        ("plugin:\n  a: {}\n", ":1: unknown field `plugin`; there are only `plugins` and `fleet`"),
        ("plugins:\n  a: {}\n  a: {}\n", ":3: a key is there twice"),
        ("plugins:\n  a: {}\n  b: [hush\n", ":"),
    ] {
        let error = try_parse(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("/etc/mf/plugins.yml{told}")), "{text}: {error}");
        assert!(!error.contains("hush"), "{text} shows a value: {error}");
    }
}

#[test]
fn a_built_in_plugin_may_be_named_in_the_older_way() {
    for (line, runtime) in [
        ("runtime: internal", Runtime::Internal),
        ("type: internal", Runtime::Internal),
        ("{type: container, image: i}", Runtime::Docker),
    ] {
        assert_eq!(entry(line).runtime, runtime, "{line}");
    }
    for (line, isolation) in
        [("isolation: off", Isolation::Off), ("isolation: \"on\"", Isolation::On)]
    {
        assert_eq!(entry(line).isolation, Some(isolation), "{line}");
    }
}

#[test]
fn an_image_makes_a_container_unless_something_else_is_said() {
    for (line, runtime) in [
        ("image: a/b:1", Runtime::Docker),
        ("{image: a/b:1, runtime: docker}", Runtime::Docker),
        ("{image: a/b:1, runtime: remote}", Runtime::Remote),
    ] {
        assert_eq!(entry(line).runtime, runtime, "{line}");
    }
    let entry = entry("{image: i, mounts: [\"m:/models\", \"/o:/out:rw\"], labels: {team: films}}");
    let mount = |source: &str, target: &str, writable| Mount {
        source: source.into(),
        target: target.into(),
        writable,
    };
    assert_eq!(entry.mounts, [mount("/etc/mf/m", "/models", false), mount("/o", "/out", true)]);
    assert_eq!(entry.labels["team"], "films");
}

#[test]
fn memory_is_written_as_in_compose() {
    for (text, bytes) in [("64", 64), ("2k", 2048), ("512M", 512 << 20), ("4gb", 4 << 30)] {
        let memory = entry(&format!("resources: {{memory: {text}}}")).resources.memory;
        assert_eq!(memory.map(NonZeroU64::get), Some(bytes), "{text}");
    }
}
