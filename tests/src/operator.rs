//! A folder of an operator, and servers that trust it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use async_nats::ConnectOptions;
use broker_config::accounts::Accounts;
use coordinator::config::connection::Login;
use coordinator::operator::{Claims, Files, Issued, Order, Resolver, Ring, issue, render};
use tempfile::TempDir;

use crate::Server;

/// Where a server takes the token of an account.
const UPDATE: &str = "$SYS.REQ.CLAIMS.UPDATE";
/// The user that may do everything.
const COORDINATOR: &str = "coordinator";

/// An operator and what it has issued last.
#[derive(Debug)]
pub struct Operator {
    home: TempDir,
    /// What it has issued last.
    pub issued: Issued,
}

impl Operator {
    /// A new one.
    pub fn new(accounts: &Accounts) -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let issued = issue_in(home.path(), accounts, &[])?;
        Ok(Self { home, issued })
    }

    /// Has it issue again.
    pub fn again(&mut self, accounts: &Accounts, rotate: &[&str]) -> anyhow::Result<()> {
        self.issued = issue_in(self.home.path(), accounts, rotate)?;
        Ok(())
    }

    /// What the token of an account says.
    pub fn claims(&self, account: &str) -> anyhow::Result<Claims> {
        let mut accounts = self.issued.accounts();
        let account = accounts.find(|known| known.name == account).context("an account")?;
        Ok(Claims::read(&account.token)?)
    }

    /// Signs whatever somebody wants to have said of an account; what has changed is that alone.
    pub fn sign(&mut self, claims: Claims) -> anyhow::Result<()> {
        let ring = Ring::of(&Files::load(self.home.path())?);
        let (by, key, later) =
            (claims.issuer.clone(), claims.subject.clone(), claims.issued_at + 1);
        let token = ring.sign(claims, &[by], later).context("the operator's key")?;
        for account in &mut self.issued.others {
            account.is_changed = account.key == key;
            if account.is_changed {
                account.token.clone_from(&token);
            }
        }
        Ok(())
    }

    /// The login file of a user.
    #[must_use]
    pub fn creds(&self, user: &str) -> PathBuf {
        let login = self.issued.logins.iter().find(|login| login.user == user);
        let creds = login.and_then(|login| login.creds.clone()).unwrap_or_default();
        self.home.path().join(creds)
    }

    /// A server with JetStream that trusts it.
    pub async fn server(&self, resolver: Resolver) -> anyhow::Result<Server> {
        let login = Login::Credentials(self.creds(COORDINATOR));
        Server::letting_in(login, |store| {
            let streams = format!("jetstream {{ store_dir: {store:?} }}\n");
            let trust = render(&self.issued, resolver, store);
            format!("max_payload: 4194304\n{streams}{trust}")
        })
        .await
    }

    /// Pushes the tokens that have changed to a server that runs; says whose.
    pub async fn push(&self, server: &Server) -> anyhow::Result<Vec<String>> {
        let login = self.issued.system_login.as_ref().context("its login")?;
        let options = ConnectOptions::with_credentials_file(self.home.path().join(login)).await?;
        let client = options.connect(server.url()).await?;
        let mut pushed = Vec::new();
        for account in self.issued.accounts().filter(|account| account.is_changed) {
            let answer = client.request(UPDATE, account.token.clone().into()).await?;
            let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
            anyhow::ensure!(answer["data"]["code"] == 200, "{}: {answer}", account.name);
            pushed.push(account.name.clone());
        }
        Ok(pushed)
    }
}

fn issue_in(home: &Path, accounts: &Accounts, rotate: &[&str]) -> anyhow::Result<Issued> {
    let mut files = Files::load(home)?;
    let mut ring = Ring::of(&files);
    let rotate: BTreeSet<String> = rotate.iter().map(|user| (*user).to_owned()).collect();
    #[expect(clippy::disallowed_methods, reason = "a server compares it with its own clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let issued = issue(&mut files, &mut ring, &Order { accounts, rotate: &rotate, now })?;
    files.store(home)?;
    Ok(issued)
}
