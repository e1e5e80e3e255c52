//! `metafleet plugin transition ID --to VERSION`, `switch ID` and `rollback ID`

use broker_config::PluginId;
use broker_config::wire::event::Fact;
use clap::{Args, ValueEnum};
use semver::Version;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::session;
use super::{OnePlugin, known, sample};
use crate::store::versions::KnownVersions;
use crate::store::{Store, StoreError};
use crate::transition::state::{Asked, Moment};
use crate::transition::{How, Plan, Steps, Transition, Versions};

#[derive(Debug, Args)]
pub(crate) struct Begin {
    /// The plugin's id
    pub(crate) id: PluginId,
    /// The version that is to be the current one
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Version,
    /// How it gets there
    #[arg(long, value_name = "HOW", value_enum, default_value_t = HowArg::Graceful)]
    pub(crate) how: HowArg,
    /// Shares of the files in percent, one after the other
    #[arg(long, value_name = "PERCENT,..", value_delimiter = ',')]
    pub(crate) steps: Vec<u8>,
    /// Tasks that the new version must have done in each step
    #[arg(long, value_name = "N")]
    pub(crate) min_tasks: Option<u32>,
    /// Seconds that each step takes at least
    #[arg(long, value_name = "SECONDS")]
    pub(crate) min_seconds: Option<u64>,
    /// Blue-green: hand in this many known files, to have something to compare
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) sample: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HowArg {
    /// The old version stops at once; what it holds is done by the new one
    Immediate,
    /// The old version finishes what it holds, then the new one begins
    Graceful,
    /// The new version gets a share of the files, which rises while it does not fail more
    Gradual,
    /// Both work, and what the new one says is only compared, until `switch`
    BlueGreen,
}

impl From<HowArg> for How {
    fn from(how: HowArg) -> Self {
        match how {
            HowArg::Immediate => Self::Immediate,
            HowArg::Graceful => Self::Graceful,
            HowArg::Gradual => Self::Gradual,
            HowArg::BlueGreen => Self::BlueGreen,
        }
    }
}

fn plan(args: &Begin) -> Result<Plan, Failure> {
    let mut plan = Plan { how: args.how.into(), ..Plan::default() };
    let has_steps =
        !args.steps.is_empty() || args.min_tasks.is_some() || args.min_seconds.is_some();
    if has_steps && plan.how != How::Gradual {
        return Err(Failure::usage(
            "`--steps`, `--min-tasks` and `--min-seconds` are for gradual ones",
        ));
    }
    if args.sample > 0 && plan.how != How::BlueGreen {
        return Err(Failure::usage("`--sample` is for blue-green transitions"));
    }
    if !args.steps.is_empty() {
        let steps = Steps::try_from(args.steps.clone());
        plan.steps = steps.map_err(|rule| Failure::usage(format!("`--steps` must be {rule}")))?;
    }
    plan.tasks = args.min_tasks.unwrap_or(plan.tasks);
    plan.step_ms = args.min_seconds.map_or(plan.step_ms, |s| s.saturating_mul(1000));
    Ok(plan)
}

pub(crate) async fn begin(app: &App, args: &Begin) -> Result<Exit, Failure> {
    let plan = plan(args)?;
    session::with(app, async |session| {
        let (store, id) = (&session.store, &args.id);
        start(store, id, &args.to, &plan).await?;
        app.out.say(&format!(
            "a {} transition of {id} to {} begins; `metafleet plugin show {id}` tells how it goes on",
            plan.how, args.to
        ));
        let handed_in = sample::hand_in(store, id, args.sample).await?;
        if args.sample > 0 {
            app.out.say(&format!("{handed_in} known files were handed in, to be compared"));
        }
        Ok(Exit::Ok)
    })
    .await
}

/// Begins a transition and tells it.
async fn start(store: &Store, id: &PluginId, to: &Version, plan: &Plan) -> Result<(), Failure> {
    if plan.how.is_side_by_side() && store.has_routes(id).await? {
        let message = format!(
            "{id} has `routes`, so there can be no {} transition; use `graceful` or `immediate`",
            plan.how
        );
        return Err(Failure::new(Exit::Conflict, message));
    }
    let transition = change(store, id, |versions| {
        let begun = versions.begin(to.clone(), plan, &moment());
        begun.map_err(|reason| Failure::new(Exit::Conflict, format!("{id}: {reason}")))
    })
    .await?
    .transition;
    if let Some(Transition { from, to, way, .. }) = transition {
        let (plugin_id, how) = (id.clone(), way.how().to_string());
        let (from, to) = (from.to_string(), to.to_string());
        store.tell(Fact::TransitionStarted { plugin_id, how, from, to }).await?;
    }
    Ok(())
}

pub(crate) async fn switch(app: &App, args: &OnePlugin) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let id = &args.id;
        let asked = ask(&session.store, id, Asked::Switch).await?;
        app.out.say(&format!("{id} goes over to {} now", asked.to));
        Ok(Exit::Ok)
    })
    .await
}

pub(crate) async fn rollback(app: &App, args: &OnePlugin) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let (store, id) = (&session.store, &args.id);
        let versions = current(store, id).await?.versions;
        let back_to = if versions.transition.is_some() {
            ask(store, id, Asked::Revert).await?.from
        } else {
            let Some(previous) = versions.previous else {
                let message = format!("{id} had no other version before {}", versions.current);
                return Err(Failure::new(Exit::Conflict, message));
            };
            start(store, id, &previous, &Plan::default()).await?;
            previous
        };
        app.out.say(&format!(
            "{id} goes back to {back_to}; files that the other version has done are done again by \
             the next scan"
        ));
        Ok(Exit::Ok)
    })
    .await
}

/// Has the leader act on the transition that goes on.
async fn ask(store: &Store, id: &PluginId, asked: Asked) -> Result<Transition, Failure> {
    let none = || Failure::new(Exit::Conflict, format!("no transition of {id} goes on"));
    let changed = change(store, id, |versions| {
        let mut next = versions.clone();
        next.transition.as_mut().ok_or_else(none)?.asked = Some(asked);
        Ok(next)
    });
    changed.await?.transition.ok_or_else(none)
}

/// What is decided on a plugin's versions, or would be if nothing was.
async fn current(store: &Store, id: &PluginId) -> Result<KnownVersions, Failure> {
    let entry = known(store, id).await?.entry;
    let recorded = entry.manifest.version;
    let Some(KnownVersions { versions, revision }) = store.versions().await?.remove(id) else {
        return Ok(KnownVersions { versions: Versions::new(recorded), revision: 0 });
    };
    // The leader may not have written down yet that another version came without a transition.
    let versions = versions.aligned(&recorded).unwrap_or(versions);
    Ok(KnownVersions { versions, revision })
}

/// Changes what is decided; again, when somebody else has at the same time.
async fn change(
    store: &Store,
    id: &PluginId,
    change: impl Fn(&Versions) -> Result<Versions, Failure>,
) -> Result<Versions, Failure> {
    loop {
        let KnownVersions { versions, revision } = current(store, id).await?;
        let next = KnownVersions { versions: change(&versions)?, revision };
        match store.put_versions(id, &next).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done.map(|_| next.versions).map_err(Failure::from),
        }
    }
}

fn moment() -> Moment {
    let now = jiff::Timestamp::now();
    Moment { ms: u64::try_from(now.as_millisecond()).unwrap_or(0), text: now.to_string() }
}
