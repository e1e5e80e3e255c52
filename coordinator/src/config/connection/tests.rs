use broker_config::Prefix;

use super::super::vars::vars;
use super::*;

fn contexts(selected: Option<&str>) -> ContextFiles {
    let text = |json: &str| Secret::new(json);
    ContextFiles {
        selected: selected.map(str::to_owned),
        texts: [
            ("lab", r#"{"url":"nats://lab:1","user":"u","password":"hush","ca":"~/ca.pem"}"#),
            ("creds", r#"{"url":"tls://a:1,tls://b:2","creds":"/c.creds","extra":1}"#),
            ("domain", r#"{"url":"nats://x","jetstream_domain":"leaf"}"#),
            ("nowhere", "{}"),
            ("vault", r#"{"url":"nats://x","token":"op://hush"}"#),
            ("half", r#"{"url":"nats://x","cert":"/c"}"#),
            ("junk", "hush"),
        ]
        .map(|(name, json)| (name.to_owned(), text(json)))
        .into(),
    }
}

fn fleet() -> FleetFile {
    FleetFile {
        connection: Connection {
            url: "nats://127.0.0.1:7".to_owned(),
            login: user("coordinator", "hush"),
            tls: Tls::default(),
            origin: Origin::Fleet,
        },
        pid: 1,
        prefix: Prefix::default(),
        started: jiff::Timestamp::UNIX_EPOCH,
        temporary: false,
        api: None,
        roots: Vec::new(),
    }
}

fn user(name: &str, password: &str) -> Login {
    Login::User { name: name.to_owned(), password: Secret::new(password) }
}

fn token(text: &str) -> Login {
    Login::Token(Secret::new(text))
}

#[test]
fn who_has_the_say_follows_the_table() {
    use Login::Anonymous;
    let creds = Login::Credentials("/k".into());
    let lab = "nats://lab:1";
    type Row<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)], &'a str, &'a str, Login);
    // case, --nats, environment, context.txt, expected address, expected login
    let rows: [Row<'_>; 15] = [
        ("fleet", None, &[], "", "nats://127.0.0.1:7", user("coordinator", "hush")),
        (
            "fleet, own login",
            None,
            &[("NATS_USER", "x")],
            "",
            "nats://127.0.0.1:7",
            user("coordinator", "hush"),
        ),
        ("selected", None, &[], "lab", lab, user("u", "hush")),
        ("selected, login", None, &[("NATS_TOKEN", "t")], "lab", lab, token("t")),
        (
            "named",
            None,
            &[("NATS_CONTEXT", "creds")],
            "lab",
            "tls://a:1,tls://b:2",
            Login::Credentials("/c.creds".into()),
        ),
        ("url", None, &[("NATS_URL", "nats://e:2")], "lab", "nats://e:2", Anonymous),
        (
            "url over context",
            None,
            &[("NATS_URL", "e"), ("NATS_CONTEXT", "lab")],
            "",
            "nats://e:4222",
            Anonymous,
        ),
        ("empty is unset", None, &[("NATS_URL", "")], "lab", lab, user("u", "hush")),
        ("flag", Some("nats://f:3"), &[("NATS_URL", "nats://e:2")], "lab", "nats://f:3", Anonymous),
        (
            "flag, login",
            Some("f"),
            &[("NATS_USER", "x"), ("NATS_PASSWORD", "y")],
            "lab",
            "nats://f:4222",
            user("x", "y"),
        ),
        ("login in url", Some("nats://a:b@f"), &[], "", "nats://f:4222", user("a", "b")),
        (
            "token in url",
            Some("nats://t@f, nats://g"),
            &[],
            "",
            "nats://f:4222,nats://g:4222",
            token("t"),
        ),
        (
            "login over url",
            Some("nats://a:b@f"),
            &[("NATS_TOKEN", "t")],
            "",
            "nats://f:4222",
            token("t"),
        ),
        (
            "creds first",
            Some("f"),
            &[("NATS_CREDS", "/k"), ("NATS_USER", "x")],
            "",
            "nats://f:4222",
            creds,
        ),
        ("ipv6", Some("nats://[::1]:9"), &[], "", "nats://[::1]:9", Anonymous),
    ];
    for (case, flag, env, selected, url, login) in rows {
        let flags = ConnectionFlags { nats: flag.map(str::to_owned), context: None };
        let contexts = contexts((!selected.is_empty()).then_some(selected));
        let connection = resolve(&flags, &vars(env), &contexts, Some(&fleet())).unwrap().unwrap();
        assert_eq!((connection.url.as_str(), &connection.login), (url, &login), "{case}");
        assert!(!format!("{connection:?}").contains("hush"), "{case} shows a secret");
    }
    let nothing = resolve(&ConnectionFlags::default(), &vars(&[]), &contexts(None), None);
    assert_eq!(nothing, Ok(None));
}

#[test]
fn a_context_flag_goes_before_the_environment() {
    let flags = ConnectionFlags { nats: None, context: Some("lab".to_owned()) };
    let vars = vars(&[("NATS_URL", "nats://e"), ("HOME", "/home/p")]);
    let connection = resolve(&flags, &vars, &contexts(None), None).unwrap().unwrap();
    assert_eq!(connection.origin, Origin::Context("lab".to_owned()));
    assert_eq!(connection.tls.ca, Some("/home/p/ca.pem".into()));
}

#[test]
fn what_makes_no_sense_is_an_error_and_quotes_no_secret() {
    let none: &[(&str, &str)] = &[];
    for (flag, env, selected, expected) in [
        (Some("http://hush"), none, "", "--nats: the address"),
        (Some(""), none, "", "--nats: the address"),
        (None, &[("NATS_URL", "nats://a:hush@:x")], "", "NATS_URL: the address"),
        (None, &[("NATS_CONTEXT", "gone")], "", "NATS_CONTEXT: there is no readable nats context"),
        (None, none, "gone", "context.txt: there is no readable nats context `gone`"),
        (None, none, "domain", "JetStream domain"),
        (None, none, "nowhere", "has no url"),
        (None, none, "vault", "keeps a secret elsewhere"),
        (None, none, "half", "needs both NATS_CERT (cert) and NATS_KEY (key)"),
        (None, none, "junk", "`junk` is not a valid JSON object"),
        (Some("x"), &[("NATS_CERT", "/c")], "", "the environment: a client certificate"),
    ] {
        let flags = ConnectionFlags { nats: flag.map(str::to_owned), context: None };
        let contexts = contexts((!selected.is_empty()).then_some(selected));
        let error = resolve(&flags, &vars(env), &contexts, Some(&fleet())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn a_plugin_is_told_by_variables_that_resolve_to_the_same() {
    for login in [
        Login::Anonymous,
        user("p", "q"),
        token("t"),
        Login::Credentials("/k".into()),
        Login::Nkey(Secret::new("/seed")),
    ] {
        let connection = Connection {
            url: "nats://h:1".to_owned(),
            login,
            tls: Tls { ca: Some("/ca".into()), client: Some(("/c".into(), "/k".into())) },
            origin: Origin::Environment,
        };
        let told: BTreeMap<String, String> = connection
            .variables()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let flags = ConnectionFlags::default();
        let resolved = resolve(&flags, &told, &ContextFiles::default(), None);
        assert_eq!(resolved, Ok(Some(connection)));
    }
}
