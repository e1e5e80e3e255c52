//! A fleet with a victim and a hostile plugin, each with a login of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions};
use broker_config::accounts::Accounts;
use broker_config::wire::event::{Fact, Outcome as Ended};
use broker_config::{Manifest, Names, Queue, RunId, Submission};
use coordinator::config::Secret;
use coordinator::nats_server::accounts::{Proof, render_accounts};
use coordinator::operator::Resolver;
use futures_util::StreamExt as _;
use integration_tests::{
    Call, Fleet, LIMIT, Lead, Operator, Running, Script, Server, done, eventually, file, manifest,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;
use worker_sdk::{Credentials, Failure, Outcome};

use super::embedded::Embedded;

pub(super) const VICTIM: &str = "victim";
pub(super) const HOSTILE: &str = "hostile";
/// What only the victim and the fleet know.
pub(super) const SECRET: &str = "known-to-the-victim-only";
/// Connections that a plugin may have at once.
pub(super) const CONNECTIONS: u32 = 8;
/// Subscriptions that each of them may have at once.
pub(super) const SUBSCRIPTIONS: u32 = 100;
/// Bytes of its largest message.
pub(super) const PAYLOAD: u32 = 1 << 20;
const FLEET: &str = "coordinator";
/// Files that only the victim is to do: as many as there are answers to a delivery.
const LATER: [&str; 5] = ["later-1", "later-2", "later-3", "later-4", "fails-later"];

/// What stands between plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walls {
    /// Accounts as they are rendered.
    Rendered,
    /// The same, but each user may do everything in its account.
    AccountsAlone,
    /// Accounts as the embedded broker makes them by itself.
    Embedded,
    /// Accounts of an operator, as they are issued.
    Issued,
    /// The same, but each user may do everything in its account.
    IssuedAlone,
    /// Nothing: everybody is in one account.
    None,
}

/// What an attempt must know to hit.
#[derive(Debug)]
pub(super) struct Targets {
    /// Where the victim answers each of the deliveries that it holds.
    pub(super) held: Vec<String>,
    /// The last sequence in the stream of tasks.
    pub(super) last_task: u64,
}

/// Messages that somebody heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear(Arc<Mutex<Vec<(String, String)>>>);

impl Ear {
    fn all(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subject and body of what was heard since the last time.
    pub(super) fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.all())
    }
}

/// The fleet, and who is on it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) victim: Client,
    pub(super) hostile: Client,
    /// Files that only the victim is to do, once it is there again.
    pub(super) waiting: Vec<RunId>,
    pub(super) script: Script,
    /// Where the victim answers what it holds: it renews its leases.
    held: Vec<String>,
    logins: Logins,
    _lead: Lead,
    ears: JoinSet<()>,
}

impl Stage {
    pub(super) async fn start(walls: Walls) -> anyhow::Result<Self> {
        let (logins, server) = match walls {
            Walls::Issued | Walls::IssuedAlone => {
                let operator = Operator::new(&limited(&[VICTIM, HOSTILE], walls)?)?;
                let server = operator.server(Resolver::Full).await?;
                (Logins::Issued(operator), server)
            }
            Walls::Embedded => {
                let (embedded, server) = Embedded::start(&[VICTIM, HOSTILE]).await?;
                (Logins::Embedded(embedded), server)
            }
            Walls::Rendered | Walls::AccountsAlone | Walls::None => {
                (Logins::ById, server_with(&configured(walls)?).await?)
            }
        };
        let (fleet, lead) = fleet_on(server).await?;
        let login = async |id| connect(&fleet, logins.of(id)?).await;
        let (victim, hostile) = (login(VICTIM).await?, login(HOSTILE).await?);
        let script = Script::new(|call: Call| async move {
            match call.cid.as_str() {
                "fails" | "fails-later" => Err(Failure::permanent(SECRET)),
                "retries" if call.attempt == 1 => Err(Failure::retryable("busy")),
                "waits" => Ok(Outcome::retry_later(Duration::from_secs(3_600), SECRET)),
                _ => Ok(done(&call.plugin, SECRET)),
            }
        });
        let (waiting, held, ears) = (Vec::new(), Vec::new(), JoinSet::new());
        let mut stage =
            Self { fleet, victim, hostile, waiting, script, held, logins, _lead: lead, ears };
        stage.play().await?;
        Ok(stage)
    }

    /// Both plugins do their part, through the SDK and with their own logins; then they leave, and
    /// some of what is theirs stays.
    async fn play(&mut self) -> anyhow::Result<()> {
        let fleet = &self.fleet;
        let worker = self.worker(VICTIM).await?;
        let plain = manifest(HOSTILE, &json!({}))?;
        let other = self.worker_of(&plain, &Script::completes()).await?;
        for cid in ["film", "retries"] {
            let settled = fleet.run(cid).await?;
            for plugin in [VICTIM, HOSTILE] {
                anyhow::ensure!(
                    settled.of(plugin) == Some(Ended::Completed),
                    "{plugin}: {settled:?}"
                );
            }
        }
        anyhow::ensure!(fleet.run("fails").await?.of(VICTIM) == Some(Ended::Failed));
        fleet.submit("waits").await?;
        let deferred = |fact: &Fact| matches!(fact, Fact::TaskDeferred { .. }).then_some(());
        fleet.fact("a deferral", deferred).await?;
        worker.stop().await?;
        other.stop().await?;
        for cid in LATER {
            let mut submission = file(cid)?;
            submission.only = vec![VICTIM.parse()?];
            let run = fleet.hand_in(Queue::Fast, &submission).await?;
            fleet.task_waits(VICTIM, cid).await?;
            self.waiting.push(run);
        }
        // Nobody holds this one.
        let mut submission = Submission { override_queue: true, ..file("in-no-hurry")? };
        submission.only = vec![VICTIM.parse()?];
        self.waiting.push(fleet.hand_in(Queue::Background, &submission).await?);
        eventually("a task that nobody holds", async || {
            let info = fleet.api("CONSUMER.INFO.MF_TASKS.victim_background", &json!({})).await?;
            Ok((info["num_pending"] == 1).then_some(()))
        })
        .await?;
        let mut own = file("own")?;
        own.only = vec![HOSTILE.parse()?];
        fleet.hand_in(Queue::Fast, &own).await?;
        fleet.task_waits(HOSTILE, "own").await?;
        let user = json!({
            "type": "metafleet.record.v1", "taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59",
            "pluginId": "user", "cid": "film", "status": "completed", "meta": {"user/note": SECRET},
        });
        let person = fleet.names.record(&"film".parse()?, &broker_config::PluginId::user());
        fleet.put(person, Default::default(), user.to_string().into()).await?;
        let kept = self.victim.request("$KV.mf-artifacts.film.victim.still", SECRET.into()).await?;
        anyhow::ensure!(kept.payload.starts_with(b"{\"stream\""), "{kept:?}");
        self.live().await
    }

    /// The victim gives a sign of life, and goes on with what it holds.
    #[expect(clippy::disallowed_methods, reason = "an answer to a delivery is kept nowhere")]
    pub(super) async fn live(&self) -> anyhow::Result<()> {
        for held in &self.held {
            self.victim.publish(held.clone(), "+WPI".into()).await?;
        }
        let sign = json!({
            "type": "metafleet.instance.v1", "pluginId": VICTIM, "instance": "w9",
            "state": "paused", "version": "1.0.0", "host": SECRET,
        });
        let subject = "$KV.mf-instances.victim.w9";
        self.victim.request(subject, sign.to_string().into()).await?;
        Ok(())
    }

    /// A worker of the victim, through the SDK.
    pub(super) async fn worker(&self, id: &str) -> anyhow::Result<Running> {
        let schema = json!({ "configSchema": {"note": {"default": SECRET}} });
        self.worker_of(&manifest(id, &schema)?, &self.script).await
    }

    /// What a plugin logs in with.
    pub(super) fn credentials(&self, id: &str) -> anyhow::Result<Credentials> {
        self.logins.of(id)
    }

    /// Another connection of a plugin.
    pub(super) async fn login(&self, id: &str) -> anyhow::Result<Client> {
        connect(&self.fleet, self.logins.of(id)?).await
    }

    async fn worker_of(&self, manifest: &Manifest, script: &Script) -> anyhow::Result<Running> {
        let login = self.logins.of(manifest.id.as_str())?;
        self.fleet.worker_with(manifest, script, |options| options.credentials = login).await
    }

    /// The victim takes all tasks that are in a hurry and holds them; says what a hostile plugin would have
    /// to know. That one takes its own, which is newer, so that its word on older ones would count.
    pub(super) async fn hold(&mut self) -> anyhow::Result<Targets> {
        for _ in LATER {
            self.held.push(delivery(&self.victim, "victim_fast").await?);
        }
        delivery(&self.hostile, "hostile_fast").await?;
        let last_task = self.fleet.state(&self.fleet.names.task_stream()).await?.1;
        Ok(Targets { held: self.held.clone(), last_task })
    }

    /// Has a client listen; where it may not, nothing is ever heard.
    pub(super) async fn listen(
        &mut self,
        client: &Client,
        subjects: &[&'static str],
    ) -> anyhow::Result<Ear> {
        let ear = Ear::default();
        for subject in subjects {
            let (mut messages, ear) = (client.subscribe(*subject).await?, ear.clone());
            self.ears.spawn(async move {
                while let Some(message) = messages.next().await {
                    let body = String::from_utf8_lossy(&message.payload).into_owned();
                    ear.all().push((message.subject.to_string(), body));
                }
            });
        }
        client.flush().await?;
        Ok(ear)
    }

    /// Waits until the victim's worker has left for good: no request of it waits any more.
    pub(super) async fn quiet(&self) -> anyhow::Result<()> {
        eventually("requests of the victim to be over", async || {
            let info = "CONSUMER.INFO.MF_TASKS.victim_fast";
            let info = self.fleet.api(info, &json!({})).await?;
            Ok((info["num_waiting"] == 0).then_some(()))
        })
        .await
    }
}

/// Takes a task by hand; says where it is answered.
async fn delivery(client: &Client, consumer: &str) -> anyhow::Result<String> {
    // Not a request of the library: what comes has the subject of the task, not of the inbox.
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.{consumer}");
    client.publish_with_reply(next, inbox, r#"{"batch": 1, "expires": 5000000000}"#.into()).await?;
    let delivery = timeout(LIMIT, answers.next()).await?.context("a delivery")?;
    Ok(delivery.reply.context("where it is answered")?.to_string())
}

/// A server that lets in whom `logins` says.
async fn server_with(logins: &str) -> anyhow::Result<Server> {
    Server::configured((FLEET, FLEET), |store| configuration(store, logins)).await
}

/// A fleet on a server that lets in whom `logins` says.
pub(super) async fn fleet_with(logins: String) -> anyhow::Result<(Fleet, Lead)> {
    fleet_on(server_with(&logins).await?).await
}

/// A fleet on a server, and a coordinator that leads.
pub(crate) async fn fleet_on(server: Server) -> anyhow::Result<(Fleet, Lead)> {
    let fleet = Fleet::on(&Arc::new(server), Names::default()).await?;
    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;
    Ok((fleet, lead))
}

/// The configuration of such a server.
pub(super) fn configuration(store: &Path, logins: &str) -> String {
    let store = store.display();
    format!("max_payload: 4194304\njetstream {{ store_dir: \"{store}\" }}\n{logins}")
}

/// Another connection of a plugin whose password is its id.
pub(super) async fn login(fleet: &Fleet, id: &str) -> anyhow::Result<Client> {
    connect(fleet, Logins::ById.of(id)?).await
}

/// Whoever has made the logins of plugins.
#[derive(Debug)]
enum Logins {
    /// Nobody: the id is the password.
    ById,
    Issued(Operator),
    Embedded(Embedded),
}

impl Logins {
    fn of(&self, id: &str) -> anyhow::Result<Credentials> {
        match self {
            Self::ById => Ok(Credentials::User { name: id.to_owned(), password: id.to_owned() }),
            Self::Issued(operator) => Ok(Credentials::File(operator.creds(id))),
            Self::Embedded(embedded) => embedded.credentials(&id.parse()?),
        }
    }
}

async fn connect(fleet: &Fleet, credentials: Credentials) -> anyhow::Result<Client> {
    let options = match credentials {
        Credentials::User { name, password } => {
            ConnectOptions::with_user_and_password(name, password)
        }
        Credentials::File(path) => ConnectOptions::with_credentials_file(path).await?,
        other => anyhow::bail!("{other:?} is no login of a plugin here"),
    };
    Ok(options.connect(fleet.server.url()).await?)
}

fn configured(walls: Walls) -> anyhow::Result<String> {
    if walls == Walls::None {
        let users = [FLEET, VICTIM, HOSTILE].map(|id| format!("{{ user: {id}, password: {id} }}"));
        return Ok(format!("authorization {{ users: [ {} ] }}\n", users.join(", ")));
    }
    accounts_of(&[VICTIM, HOSTILE], walls)
}

/// Who is let in where these plugins have accounts.
pub(super) fn accounts_of(plugins: &[&str], walls: Walls) -> anyhow::Result<String> {
    Ok(render_accounts(&limited(plugins, walls)?, |plugin| {
        Proof::Password(Secret::new(plugin.map_or(FLEET, |id| id.as_str())))
    }))
}

/// Accounts with few connections; what their users may do follows from what walls there are.
fn limited(plugins: &[&str], walls: Walls) -> anyhow::Result<Accounts> {
    let mut ids = BTreeMap::new();
    for plugin in plugins {
        ids.insert(plugin.parse()?, BTreeSet::new());
    }
    let mut accounts = Accounts::of(&Names::default(), &ids);
    for plugin in &mut accounts.plugins {
        plugin.limits.connections = CONNECTIONS;
        plugin.limits.subscriptions = SUBSCRIPTIONS;
        plugin.limits.payload = PAYLOAD;
        if matches!(walls, Walls::AccountsAlone | Walls::IssuedAlone) {
            plugin.publish = vec![">".to_owned()];
            plugin.subscribe = vec![">".to_owned()];
        }
    }
    Ok(accounts)
}
