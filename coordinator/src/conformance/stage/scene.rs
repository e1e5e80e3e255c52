//! The side of the broker: what passes is heard, streams refuse and take again, workers are started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind};
use async_nats::jetstream::{self, consumer};
use async_nats::{Client, HeaderMap};
use broker_config::wire::signal::ANNOUNCE;
use broker_config::{Names, PluginId};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::answer::{Answerer, Word};
use crate::config::connection::Login;
use crate::conformance::lane::Lane;
use crate::conformance::tape::Tape;
use crate::conformance::worker::{Start, Subject, Worker, last_lines};

/// Shorter than usual, so that a case takes seconds.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// All answers to deliveries, and all requests for tasks.
const HEARD: [&str; 2] = ["$JS.ACK.>", "$JS.API.CONSUMER.MSG.NEXT.>"];

/// What all cases of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) subject: Subject,
    /// What the person who runs the kit set.
    pub(crate) settings: Map<String, Value>,
}

/// A broker, and what passes there.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(in super::super) lane: Arc<Lane>,
    pub(in super::super) names: Names,
    pub(in super::super) tape: Arc<Tape>,
    pub(in super::super) client: Client,
    /// A connection of its own, so that what the kit does is not in the way.
    tap: Client,
    pub(in super::super) js: jetstream::Context,
    /// For the case's files.
    pub(in super::super) folder: PathBuf,
    pub(in super::super) given_settings: Map<String, Value>,
    subject: Subject,
    word: Arc<Mutex<Word>>,
    logs: Vec<PathBuf>,
    parts: JoinSet<()>,
    /// What lives a little longer than the workers.
    keepers: JoinSet<()>,
}

/// A stream that refuses what comes, and how it was before.
#[derive(Debug)]
pub(crate) struct Refusing(Config);

impl Scene {
    /// Begins a case: streams are empty, everything is heard, announcements are accepted.
    pub(in super::super) async fn open(
        lane: Arc<Lane>,
        setup: &Setup,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let client = lane.handle.coordinator.connect("conformance").await?;
        let tap = lane.handle.coordinator.connect("conformance-tap").await?;
        let js = jetstream::new(client.clone());
        lane.reset(&js).await?;
        let names = lane.names.clone();
        let tape = Arc::new(Tape::new(names.clone()));
        let word = Arc::new(Mutex::new(Word::Accepted(Map::new())));
        let mut scene = Self {
            lane,
            names,
            tape,
            client,
            tap,
            js,
            folder,
            given_settings: setup.settings.clone(),
            subject: setup.subject.clone(),
            word,
            logs: Vec::new(),
            parts: JoinSet::new(),
            keepers: JoinSet::new(),
        };
        scene.listen().await?;
        Ok(scene)
    }

    async fn listen(&mut self) -> anyhow::Result<()> {
        let mut subjects: Vec<String> = HEARD.map(str::to_owned).to_vec();
        subjects.push(self.names.all_records());
        subjects.push(Names::key_subject(&self.names.instances_bucket(), ">"));
        subjects.push(self.names.signals("*"));
        subjects.push(self.names.all_submits());
        let mut heard = Vec::new();
        for subject in subjects {
            heard.push(self.tap.subscribe(subject).await?);
        }
        self.tap.flush().await?;
        let tape = self.tape.clone();
        self.parts.spawn(async move {
            let mut heard = futures_util::stream::select_all(heard);
            while let Some(message) = heard.next().await {
                // Whoever answers announcements writes them down.
                if !message.subject.ends_with(ANNOUNCE) {
                    tape.add(message);
                }
            }
        });
        let announcements = self.client.subscribe(self.names.signals(ANNOUNCE)).await?;
        self.client.flush().await?;
        let answerer = Answerer {
            tape: self.tape.clone(),
            client: self.client.clone(),
            js: self.js.clone(),
            names: self.names.clone(),
            word: self.word.clone(),
            settings: self.given_settings.clone(),
            lease: LEASE,
            heartbeat: HEARTBEAT,
        };
        self.parts.spawn(answerer.run(announcements));
        Ok(())
    }

    /// Says how announcements are answered from now on.
    pub(in super::super) fn say(&self, word: Word) {
        *self.word.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    /// Accepts announcements, and says this besides.
    pub(in super::super) fn accept_with(&self, said: &Value) {
        self.say(Word::Accepted(said.as_object().cloned().unwrap_or_default()));
    }

    /// Starts the worker with these variables besides those that every worker gets.
    pub(in super::super) async fn start_worker(
        &mut self,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Worker> {
        let instance = format!("tried-{}", self.logs.len() + 1);
        let broker = self.lane.handle.plugin.as_ref().context("the login of plugins")?;
        let mut all = BTreeMap::from([
            ("NATS_URL".to_owned(), broker.url.clone()),
            ("METAFLEET_PREFIX".to_owned(), self.names.prefix().to_string()),
            ("METAFLEET_INSTANCE".to_owned(), instance.clone()),
            ("METAFLEET_GRACE".to_owned(), "10".to_owned()),
        ]);
        if let Login::User { name, password } = &broker.login {
            all.insert("NATS_USER".to_owned(), name.clone());
            all.insert("NATS_PASSWORD".to_owned(), password.reveal().to_owned());
        }
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let log = self.folder.join(format!("{instance}.log"));
        self.logs.push(log.clone());
        let start = Start { instance, variables: all, folder: self.folder.clone(), log };
        Worker::start(&self.subject, start, &mut self.keepers).await
    }

    /// Kills the broker and waits until it is there again, and all that passes is heard again.
    pub(in super::super) async fn kill_broker(&self) -> anyhow::Result<()> {
        self.lane.kill_broker().await?;
        let heard = async {
            for client in [&self.tap, &self.client] {
                while client.connection_state() != State::Connected {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                client.flush().await?;
            }
            anyhow::Ok(())
        };
        let heard = tokio::time::timeout(super::SOON, heard).await;
        heard.context("the kit does not find its broker again")?
    }

    // Streams ------------------------------------------------------------------------------------

    /// Makes a stream refuse whatever comes; `filler` is a subject of it that nobody else uses.
    pub(in super::super) async fn refuse(
        &self,
        stream: &str,
        filler: String,
    ) -> anyhow::Result<Refusing> {
        self.put(filler, HeaderMap::new(), b"{}".to_vec()).await?;
        let mut found = self.js.get_stream(stream).await?;
        let before = found.info().await?.clone();
        let full = Config {
            max_messages: i64::try_from(before.state.messages)?,
            discard: DiscardPolicy::New,
            ..before.config.clone()
        };
        self.js.update_stream(full).await.context("make a stream refuse")?;
        Ok(Refusing(before.config))
    }

    /// Makes the stream of records refuse.
    pub(in super::super) async fn refuse_records(&self) -> anyhow::Result<Refusing> {
        let filler = self.names.record(&"filler".parse()?, &"filler".parse()?);
        self.refuse(&self.names.record_stream(), filler).await
    }

    /// Makes the stream of signals refuse.
    pub(in super::super) async fn refuse_signals(&self) -> anyhow::Result<Refusing> {
        let filler = self.names.signal(&"filler".parse()?, "failed");
        self.refuse(&self.names.signal_stream(), filler).await
    }

    /// Makes a stream take again what comes.
    pub(in super::super) async fn take_again(&self, was: Refusing) -> anyhow::Result<()> {
        self.js.update_stream(was.0).await.context("make a stream take again")?;
        Ok(())
    }

    /// What is stored on a subject: headers, body, sequence.
    pub(in super::super) async fn stored(
        &self,
        stream: &str,
        subject: &str,
    ) -> anyhow::Result<Option<(HeaderMap, Value, u64)>> {
        let stream = self.js.get_stream(stream).await?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(found) => {
                let body = serde_json::from_slice(&found.payload)
                    .with_context(|| format!("what is stored on {subject} is no JSON"))?;
                Ok(Some((found.headers, body, found.sequence)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deliveries of a plugin's tasks that are held at the moment, over both queues.
    pub(in super::super) async fn held(&self, plugin: &PluginId) -> anyhow::Result<usize> {
        let stream = self.js.get_stream(self.names.task_stream()).await?;
        let mut held = 0;
        for queue in broker_config::Queue::ALL {
            let name = Names::consumer(plugin, queue);
            let found = stream.get_consumer::<consumer::pull::Config>(&name).await;
            let mut found = found.map_err(|error| anyhow::anyhow!("look at {name}: {error}"))?;
            held += found.info().await?.num_ack_pending;
        }
        Ok(held)
    }

    // The end ------------------------------------------------------------------------------------

    /// What was heard last, and what the workers wrote last.
    pub(in super::super) fn evidence(&self) -> String {
        const HEARD: usize = 12;
        let heard = self.tape.look(|all| {
            let told = all.iter().filter(|seen| seen.pull().is_none());
            let lines: Vec<String> = told.map(super::Seen::line).collect();
            let from = lines.len().saturating_sub(HEARD);
            lines.get(from..).unwrap_or_default().join("\n")
        });
        let mut text = format!("seen last:\n{heard}");
        for log in &self.logs {
            let name = log.file_stem().unwrap_or_default().to_string_lossy();
            text.push_str(&format!("\nlog of {name}:\n{}", last_lines(log)));
        }
        text
    }

    /// Ends the case; its workers have been dropped.
    pub(in super::super) async fn close(mut self) {
        // Nothing of this case may be heard in the next one.
        while self.keepers.join_next().await.is_some() {}
        self.parts.shutdown().await;
        if let Err(error) = self.client.drain().await {
            tracing::debug!(%error, "the kit's connection was closed already");
        }
    }
}
