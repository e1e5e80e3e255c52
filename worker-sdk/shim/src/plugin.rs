//! The plugin that a command is made into.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use broker_config::{Chain, Manifest};
use rustix::fs::{Access, access};
use tokio_util::sync::CancellationToken;
use worker_sdk::{
    Classify as _, Context, Failure, InvalidSettings, OpenError, Outcome, Plugin, Settings,
    SubmitError,
};

use crate::answer::{self, Answer};
use crate::child::{Launch, ListenError};
use crate::keeper::is_path;
use crate::once::{self, End, Run, Terms};
use crate::persistent::{Pool, Reply};
use crate::request::{Request, settings_line, settings_variables};
use crate::verdict::{self, Codes, Verdict};
use crate::{budget, request};

/// How long a command may take to check settings.
const CHECK: Duration = Duration::from_secs(30);
/// How long processes may take to end when the worker does; it waits no longer.
const CLOSING: Duration = Duration::from_millis(900);

/// What a command needs to be a plugin.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the plugin says about itself.
    pub manifest: Manifest,
    /// How the command is started.
    pub launch: Launch,
    /// Whether its processes live on from task to task.
    pub life: Life,
    /// What its exit codes mean.
    pub codes: Codes,
    /// Bytes that it may write about a file.
    pub max_output: usize,
    /// How long to wait when it asks to wait and does not say how long.
    pub later: Duration,
    /// Whether settings that are secret are told by the environment, too.
    pub secrets_in_environment: bool,
    /// Whether the command is asked about new settings.
    pub check_settings: bool,
}

/// How long a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// One process for each task.
    Once,
    /// From task to task.
    Persistent {
        /// Tasks after which another process takes its place.
        recycle_after: Option<NonZeroU32>,
    },
}

/// A command as a plugin.
#[derive(Debug)]
pub struct Shim {
    plan: Plan,
    pool: Option<Pool>,
}

impl Shim {
    /// The plugin that `plan` describes.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let pool = match plan.life {
            Life::Once => None,
            Life::Persistent { recycle_after } => {
                Some(Pool::new(plan.launch.clone(), recycle_after))
            }
        };
        Self { plan, pool }
    }
}

impl Plugin for Shim {
    fn manifest(&self) -> Manifest {
        self.plan.manifest.clone()
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        self.is_there()?;
        let plan = &self.plan;
        let variables = settings_variables(settings, &plan.manifest, plan.secrets_in_environment);
        if plan.check_settings {
            self.check(settings, variables.clone()).await?;
        }
        if let Some(pool) = &self.pool {
            pool.configure(variables);
        }
        Ok(())
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let file = ctx.local_path().await.map_err(OpenError::failure)?;
        // What getting the file took is gone.
        let budget = budget::of(ctx.remaining(), self.plan.launch.grace);
        let request = Request {
            task: ctx.task(),
            // The one place that says where the file is.
            file: &file,
            attempt: ctx.attempt().get(),
            deadline_ms: u64::try_from(budget.run.as_millis()).unwrap_or(u64::MAX),
            settings: ctx.settings(),
        };
        let id = self.pool.as_ref().map_or(1, Pool::next_id);
        let variables = request.variables(&self.plan.manifest, self.plan.secrets_in_environment);
        let terms = Terms {
            variables: &variables,
            line: &request.line(id),
            budget,
            max_output: self.plan.max_output,
            cancelled: ctx.cancelled(),
            listener: Some(ctx),
        };
        let answer = match &self.pool {
            None => {
                let run = once::run(&self.plan.launch, &terms).await;
                self.judge(ctx, &run.retryable()?)?
            }
            Some(pool) => {
                let read = |line: &[u8]| {
                    let answer = self.read(line);
                    let other = answer.as_ref().is_ok_and(|answer| answer.is_to_other_than(id));
                    (answer, !other)
                };
                match pool.run(&terms, read).await.retryable()? {
                    Reply::Said(answer) => answer?,
                    Reply::Silent(run) => return Err(self.without_answer(ctx, &run)),
                }
            }
        };
        if answer.is_to_other_than(id) {
            return Err(Failure::retryable("the command answered another request"));
        }
        for file in &answer.submit {
            ctx.submit(file).await.map_err(|error| match error {
                SubmitError::TooDeep { .. } => Failure::permanent(error),
                SubmitError::Read { .. } | SubmitError::Publish { .. } => Failure::retryable(error),
            })?;
        }
        answer.said
    }

    fn on_stop(&self) {
        if let Some(pool) = &self.pool {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(pool.close(CLOSING));
            });
        }
    }
}

impl Shim {
    /// Whether the command can be started at all: to be told before there are tasks.
    fn is_there(&self) -> Result<(), InvalidSettings> {
        let Some(program) = self.plan.launch.command.first() else {
            return Err(InvalidSettings::new("there is no command"));
        };
        let can_run = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
        let found = if is_path(program) {
            can_run(Path::new(program))
        } else {
            let path = self.plan.launch.environment.iter().find(|(name, _)| name == "PATH");
            path.is_some_and(|(_, folders)| {
                std::env::split_paths(folders).any(|folder| can_run(&folder.join(program)))
            })
        };
        if found {
            return Ok(());
        }
        let program = program.display();
        Err(InvalidSettings::new(format_args!("there is no program {program} that may be started")))
    }

    /// Asks the command whether it can work with these settings.
    async fn check(
        &self,
        settings: &Settings,
        mut variables: Vec<(String, OsString)>,
    ) -> Result<(), InvalidSettings> {
        variables.push((request::EVENT.to_owned(), "configure".into()));
        let never = CancellationToken::new();
        let terms = Terms {
            variables: &variables,
            line: &settings_line(settings),
            budget: budget::of(CHECK, self.plan.launch.grace),
            max_output: self.plan.max_output,
            cancelled: &never,
            listener: None,
        };
        let run = once::run(&self.plan.launch, &terms).await;
        let run = run.map_err(|error| InvalidSettings::new(Chain(&error)))?;
        match self.verdict(&run) {
            Ok(Verdict::Completed) => Ok(()),
            Ok(verdict) => Err(InvalidSettings::new(words(verdict, &run))),
            Err(why) => Err(InvalidSettings::new(why)),
        }
    }

    /// What the end of a process that had one task says.
    fn judge(&self, ctx: &Context, run: &Run) -> Result<Answer, Failure> {
        let Ok(verdict) = self.verdict(run) else { return Err(self.without_answer(ctx, run)) };
        let said = match verdict {
            Verdict::Completed => return self.read(&run.output),
            Verdict::Skipped => Ok(Outcome::skipped(words(verdict, run))),
            Verdict::Later => {
                let after = answer::delay(&run.output).unwrap_or(self.plan.later);
                Ok(Outcome::retry_later(after, words(verdict, run)))
            }
            Verdict::Permanent => Err(Failure::permanent(words(verdict, run))),
            Verdict::Failed(_) | Verdict::Signalled(_) | Verdict::NotStarted => {
                Err(Failure::retryable(words(verdict, run)))
            }
        };
        Ok(Answer { id: None, submit: vec![], said })
    }

    /// What the exit code means, where the command ended by itself; else why not.
    fn verdict(&self, run: &Run) -> Result<Verdict, String> {
        match &run.end {
            End::Exited(status) => match status.code() {
                Some(code) if self.plan.codes.fatal.contains(&code) => {
                    end_worker(code, &run.words.words(MANY))
                }
                Some(code) => Ok(verdict::of(code, &self.plan.codes)),
                // A signal hit the keeper: somebody wants an end.
                None => Ok(Verdict::Signalled(9)),
            },
            End::TimedOut => Err("timed out".to_owned()),
            End::Cancelled => Err("the worker was stopped".to_owned()),
            End::Stopped(error) => Err(Chain(error).to_string()),
        }
    }

    /// Why a process has no answer.
    fn without_answer(&self, ctx: &Context, run: &Run) -> Failure {
        let last = run.words.words(MANY);
        let with_words = |why: String| {
            if last.is_empty() { why } else { format!("{why}; the command said: {last}") }
        };
        match &run.end {
            End::Exited(_) => match self.verdict(run) {
                Ok(Verdict::Completed) | Err(_) => {
                    Failure::retryable(with_words("the command ended without an answer".to_owned()))
                }
                Ok(verdict) => Failure::retryable(words(verdict, run)),
            },
            End::TimedOut => {
                let ms = match ctx.task().deadline_ms {
                    0 => self.plan.manifest.timeout,
                    ms => ms,
                };
                Failure::retryable(with_words(format!("timed out after {ms} ms")))
            }
            End::Cancelled => Failure::retryable("the worker was stopped"),
            End::Stopped(ListenError::TooMuch) => {
                let most = self.plan.max_output;
                Failure::permanent(format!("the command wrote more than {most} bytes"))
            }
            End::Stopped(error) => Failure::retryable(with_words(Chain(error).to_string())),
        }
    }

    fn read(&self, output: &[u8]) -> Result<Answer, Failure> {
        answer::read(output, &self.plan.manifest).permanent()
    }
}

/// Ends this process, as the operator wants it for this code. What runs beside is killed by its keepers, and
/// all tasks are done by another worker when their lease is over.
#[expect(clippy::exit, reason = "an end at once is what is asked for")]
fn end_worker(code: i32, words: &str) -> ! {
    tracing::error!(code, words, "the command says that the worker cannot go on");
    std::process::exit(code)
}

/// How many lines explain what was not expected.
const MANY: usize = 5;

fn words(verdict: Verdict, run: &Run) -> String {
    let lines = match verdict {
        Verdict::Completed | Verdict::Skipped | Verdict::Later | Verdict::Permanent => 1,
        Verdict::Failed(_) | Verdict::Signalled(_) | Verdict::NotStarted => MANY,
    };
    verdict::text(verdict, &run.words.words(lines))
}
