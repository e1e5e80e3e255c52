//! Who may log in, and what the streams of an older version become.

use std::sync::atomic::Ordering;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::Config;
use async_nats::{Client, HeaderMap};

use super::*;

/// Where the next task of a consumer is asked for.
const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT.MF_TASKS";

/// What is written on purpose where it must not be stored.
async fn is_stored(js: &jetstream::Context, subject: &str) -> bool {
    match js.publish(subject.to_owned(), "{}".into()).await {
        Ok(acknowledged) => acknowledged.await.is_ok(),
        Err(_) => false,
    }
}

async fn limited(handle: &NatsServerHandle, plugin: &str) -> anyhow::Result<jetstream::Context> {
    let client = handle.logins.of(&plugin.parse()?).connect(plugin).await?;
    let mut js = jetstream::new(client);
    js.set_timeout(Duration::from_millis(500));
    Ok(js)
}

async fn records(js: &jetstream::Context) -> anyhow::Result<kv::Store> {
    let config = kv::Config { bucket: "mf-records".into(), ..Default::default() };
    Ok(js.create_key_value(config).await?)
}

#[tokio::test]
async fn plugins_may_do_what_they_need_and_no_more() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);
    let all = jetstream::new(handle.coordinator.connect("all").await?);
    records(&all).await?;
    let tasks = Config {
        name: "MF_TASKS".into(),
        subjects: vec!["mf.task.>".into()],
        ..Default::default()
    };
    let tasks = all.create_stream(tasks).await?;
    for plugin in ["ffmpeg", "nfo"] {
        let consumer = pull::Config {
            durable_name: Some(format!("{plugin}_fast")),
            filter_subject: format!("mf.task.fast.{plugin}.*"),
            ..Default::default()
        };
        tasks.create_consumer(consumer).await?;
        all.publish(format!("mf.task.fast.{plugin}.film"), "{}".into()).await?.await?;
    }
    let (ffmpeg, nfo) = (limited(&handle, "ffmpeg").await?, limited(&handle, "nfo").await?);
    let mut overheard = Vec::new();
    for subject in ["mf.event.>", "mf.signal.>", "$KV.>", "mf.control.nfo"] {
        overheard.push(ffmpeg.client().subscribe(subject).await?);
    }
    let mut heard = all.client().subscribe("mf.signal.nfo.failed").await?;
    ffmpeg.client().flush().await?;
    all.client().flush().await?;

    assert!(is_stored(&ffmpeg, "$KV.mf-records.film.ffmpeg").await);
    assert!(is_stored(&nfo, "$KV.mf-records.film.nfo").await);
    for subject in ["$KV.mf-records.film.nfo", "$KV.mf-records.film.user", "mf.task.fast.nfo.x"] {
        assert!(!is_stored(&ffmpeg, subject).await, "{subject}");
    }
    assert!(ffmpeg.delete_stream("KV_mf-records").await.is_err());
    let pull =
        async |from: &jetstream::Context, consumer: &str| -> anyhow::Result<Option<String>> {
            let (client, subject) = (from.client(), format!("{NEXT}.{consumer}"));
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await?;
            client.publish_with_reply(subject, inbox, r#"{"batch": 1}"#.into()).await?;
            let answer = timeout(Duration::from_secs(2), answers.next()).await.ok().flatten();
            let task = answer.filter(|answer| answer.status.is_none());
            Ok(task.map(|task| task.subject.to_string()))
        };
    assert_eq!(pull(&ffmpeg, "nfo_fast").await?, None, "a task of another plugin");
    let own = pull(&ffmpeg, "ffmpeg_fast").await?;
    assert_eq!(own.as_deref(), Some("mf.task.fast.ffmpeg.film"));
    nfo.publish("mf.signal.nfo.failed", "{}".into()).await?;
    all.publish("mf.event.x", "".into()).await?;
    timeout(PATIENCE, heard.next()).await?.context("the signal")?;
    let mut overheard = futures_util::stream::select_all(overheard);
    let leak = timeout(Duration::from_millis(200), overheard.next()).await;
    assert!(leak.is_err(), "a plugin hears others: {leak:?}");
    stop(&drain, running).await
}

/// Asks the plugin again and again; says how often it was answered, and how often nobody was there: what
/// one account takes from another is made anew when the server reads its configuration.
async fn ask(client: Client, until: CancellationToken) -> anyhow::Result<(u32, u32)> {
    let (mut answered, mut missed) = (0, 0);
    while !until.is_cancelled() {
        let answer = client.request("mf.control.steady", "?".into());
        match timeout(PATIENCE, answer).await? {
            Ok(_) => answered += 1,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => missed += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((answered, missed))
}

#[tokio::test]
async fn a_plugin_comes_and_goes_while_others_are_not_disturbed() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let told = NatsServerOptions { tenants: tenants(&["steady"]), ..options(home.path()).await? };
    let (server, handle) = NatsServer::start(told).await?;
    let (drain, running) = run(server);
    let all = handle.coordinator.connect("all").await?;
    let bucket = records(&jetstream::new(all.clone())).await?;
    let steady = handle.logins.of(&"steady".parse()?).connect("steady").await?;
    let mut asked = steady.subscribe("mf.control.steady").await?;
    steady.flush().await?;
    let mut load = JoinSet::new();
    let answering = steady.clone();
    load.spawn(async move {
        while let Some(question) = asked.next().await {
            if let Some(reply) = question.reply {
                answering.publish_with_headers(reply, HeaderMap::new(), "!".into()).await.ok();
            }
        }
    });
    let until = CancellationToken::new();
    let mut asking = JoinSet::new();
    asking.spawn(ask(all.clone(), until.clone()));
    let server = pid(&handle);
    let guest = "guest".parse()?;

    let mut passwords = Vec::new();
    for turn in 0..5 {
        handle.logins.let_in(plugins(&["steady", "guest"])).await?;
        let login = handle.logins.of(&guest);
        let js = limited(&handle, "guest").await?;
        assert!(is_stored(&js, &format!("$KV.mf-records.film-{turn}.guest")).await, "{turn}");
        assert!(!is_stored(&js, &format!("$KV.mf-records.film-{turn}.steady")).await, "{turn}");

        handle.logins.let_in(plugins(&["steady"])).await?;
        assert!(login.connect("guest").await.is_err(), "{turn}: it is let in for ever");
        assert!(!is_stored(&js, "$KV.mf-records.late.guest").await, "{turn}: it is not cut off");
        passwords.push(format!("{:?}", serde_json::to_string(&login)?));
    }

    until.cancel();
    let (answered, missed) = asking.join_next().await.context("nobody asked")???;
    // Twenty times the server has read its configuration.
    assert!(answered > 50 && missed <= 20, "{answered} answered, {missed} missed");
    for client in [&all, &steady] {
        assert_eq!(client.statistics().connects.load(Ordering::Relaxed), 1, "it had to come again");
    }
    assert_eq!(pid(&handle), server, "the server was restarted");
    for turn in 0..5 {
        assert!(bucket.get(format!("film-{turn}.guest")).await?.is_some(), "{turn}");
        assert_eq!(bucket.get(format!("film-{turn}.steady")).await?, None, "{turn}");
    }
    passwords.sort();
    passwords.dedup();
    assert_eq!(passwords.len(), 5, "a password came again");
    let kept = std::fs::read_to_string(home.path().join("nats/users.json"))?;
    assert!(kept.contains("steady") && !kept.contains("guest"), "{}", kept.len());
    stop(&drain, running).await
}

#[tokio::test]
async fn a_plugin_is_let_in_by_a_server_that_is_killed_meanwhile() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
    let (drain, running) = run(server);
    for turn in 0..3 {
        let id = format!("guest-{turn}");
        let before = pid(&handle);
        // From the moment before it is told to the moment after it has been.
        let kill = async {
            tokio::time::sleep(Duration::from_millis(20 * turn)).await;
            kill(before, Signal::KILL)
        };

        let both = async { tokio::join!(handle.logins.let_in(plugins(&["ffmpeg", &id])), kill) };
        let (let_in, killed) = timeout(PATIENCE, both).await?;

        killed?;
        let_in?;
        let mut state = handle.watch();
        let again =
            |state: &ServerState| matches!(state, ServerState::Ready { pid, .. } if *pid != before);
        timeout(PATIENCE, state.wait_for(again)).await??;
        handle.logins.of(&id.parse()?).connect("guest").await?;
    }
    stop(&drain, running).await
}

/// Starts a server over an old store, and has records and a stream that waits for acknowledgements
/// in it.
async fn old_store(home: &Path, records_of: u32) -> anyhow::Result<()> {
    let old = NatsServerOptions { tenants: Tenants::Together, ..options(home).await? };
    let (server, handle) = NatsServer::start(old).await?;
    let (drain, running) = run(server);
    let js = jetstream::new(handle.coordinator.connect("old").await?);
    let bucket = records(&js).await?;
    for n in 0..records_of {
        bucket.put(format!("film-{n}.ffmpeg"), format!("record {n}").into()).await?;
    }
    let tasks = Config {
        name: "MF_TASKS".into(),
        subjects: vec!["mf.task.>".into()],
        retention: jetstream::stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    let tasks = js.create_stream(tasks).await?;
    let consumer =
        pull::Config { durable_name: Some("ffmpeg_fast".to_owned()), ..Default::default() };
    let consumer = tasks.create_consumer(consumer).await?;
    for n in 0..10 {
        js.publish(format!("mf.task.fast.ffmpeg.film-{n}"), "{}".into()).await?.await?;
    }
    // Some are settled, and one is with a worker that is gone.
    let mut taken = consumer.fetch().max_messages(4).messages().await?;
    for n in 0..4 {
        let task = taken.next().await.context("a task")?.map_err(anyhow::Error::from_boxed)?;
        if n < 3 {
            task.double_ack().await.map_err(anyhow::Error::from_boxed)?;
        }
    }
    stop(&drain, running).await
}

#[tokio::test]
async fn the_streams_of_an_older_version_are_kept_wherever_it_was_broken_off() -> anyhow::Result<()>
{
    const RECORDS: u32 = 200;
    let (old, new) = ("nats/store/jetstream/$G", "nats/store/jetstream/FLEET");
    // What a crash leaves before anything was done, after folders without files were made, and after
    // the rename.
    for crash in ["before", "folders", "after"] {
        let home = tempfile::tempdir()?;
        old_store(home.path(), RECORDS).await?;
        let (old, new) = (home.path().join(old), home.path().join(new));
        assert!(old.is_dir() && !new.exists(), "no store of an older version was made");
        match crash {
            "folders" => std::fs::create_dir_all(new.join("streams"))?,
            "after" => std::fs::rename(&old, &new)?,
            _ => {}
        }

        for turn in ["first", "second"] {
            let (server, handle) = NatsServer::start(options(home.path()).await?).await?;
            let (drain, running) = run(server);
            let js = jetstream::new(handle.coordinator.connect("new").await?);
            let bucket = js.get_key_value("mf-records").await?;
            for n in 0..RECORDS {
                let kept = bucket.get(format!("film-{n}.ffmpeg")).await?;
                let expected = format!("record {n}");
                assert_eq!(kept.as_deref(), Some(expected.as_bytes()), "{crash}, {turn} start");
            }
            let mut tasks = js.get_stream("MF_TASKS").await?;
            assert_eq!(tasks.info().await?.state.messages, 7, "{crash}, {turn} start");
            let consumer = tasks.get_consumer::<pull::Config>("ffmpeg_fast").await;
            let seen = consumer.map_err(anyhow::Error::from_boxed)?.info().await?.clone();
            assert_eq!((seen.num_pending, seen.num_ack_pending), (6, 1), "{crash}, {turn} start");
            stop(&drain, running).await?;
        }
        assert!(!old.exists());
    }
    Ok(())
}
