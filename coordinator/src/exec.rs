//! Children that die with us, however we die.
//!
//! A child is started as `<this program> __exec <our pid> [--memory BYTES] [--sandbox …] -- program
//! args…`. That process asks the kernel to be killed when its parent goes, looks whether the parent is
//! still there (it may have gone before it asked), enters the sandbox, and then becomes `program`. So
//! also a kill -9 of this process, which runs no code of ours, leaves nothing behind.
//!
//! The kernel watches the *thread* that started the child: start children on threads that live as
//! long as the process, which the runtime's workers do and those of `spawn_blocking` do not.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit};
use worker_sdk::die_with_parent;

use crate::sandbox::{self, Sandbox};

/// The first argument that makes this program a guard.
pub const GUARD_ARGUMENT: &str = "__exec";

/// Exit code of a guard that could not become the program, as shells have it.
const NOT_STARTED: u8 = 127;
/// Exit code of a guard that was called in the wrong way.
const MISUSED: u8 = 125;

/// The program that guards children, normally this one.
#[derive(Clone, Debug)]
pub struct Guard {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What a child may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that it may write to.
    pub memory: Option<NonZeroU64>,
}

impl Guard {
    /// This program guards; its `main` must call [`exec_main`] first of all.
    ///
    /// The kernel is asked for the program, not a path: the file may have been replaced by a newer
    /// version in the meantime.
    #[must_use]
    pub fn this_program() -> Self {
        Self::program("/proc/self/exe", [GUARD_ARGUMENT])
    }

    /// Another program guards; `arguments` make it call [`exec_main`].
    pub fn program<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments }
    }

    /// A command that runs `program` as a child that dies with this process, in a process group of
    /// its own, so that Ctrl-C in a terminal reaches only us.
    ///
    /// Arguments that are added are the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>, limits: Limits) -> tokio::process::Command {
        self.command_in(None, program, limits)
    }

    /// The same in a sandbox.
    #[must_use]
    pub fn command_in(
        &self,
        sandbox: Option<&Sandbox>,
        program: impl AsRef<OsStr>,
        limits: Limits,
    ) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).arg(std::process::id().to_string());
        if let Some(memory) = limits.memory {
            command.arg("--memory").arg(memory.to_string());
        }
        if let Some(sandbox) = sandbox {
            command.args(sandbox.arguments());
        }
        command.arg("--").arg(program).process_group(0).kill_on_drop(true);
        command
    }
}

/// Becomes the program that `args` name; `args` are what follows [`GUARD_ARGUMENT`].
///
/// Comes back only when that is not possible.
pub fn exec_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let request = match Request::parse(args) {
        Ok(request) => request,
        Err(problem) => return fail(MISUSED, &format!("{GUARD_ARGUMENT}: {problem}")),
    };
    if let Err(error) = prepare(&request) {
        return fail(NOT_STARTED, &format!("could not guard the process: {error}"));
    }
    let error = std::process::Command::new(&request.program).args(&request.arguments).exec();
    fail(NOT_STARTED, &format!("could not start {}: {error}", request.program.display()))
}

fn prepare(request: &Request) -> Result<(), String> {
    die_with_parent(request.parent).map_err(|error| error.to_string())?;
    if let Some(memory) = request.memory {
        let limit = Rlimit { current: Some(memory.get()), maximum: Some(memory.get()) };
        // Not the address space: runtimes reserve far more of it than they use.
        rustix::process::setrlimit(Resource::Data, limit).map_err(|error| error.to_string())?;
    }
    match &request.sandbox {
        Some(sandbox) => sandbox.enter(&request.program, &request.arguments),
        None => Ok(()),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    // Whoever reads our standard error is all there is to tell.
    writeln!(io::stderr(), "metafleet: {message}").ok();
    ExitCode::from(code)
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    parent: u32,
    memory: Option<NonZeroU64>,
    sandbox: Option<Sandbox>,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Request {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, &'static str> {
        let mut args = args.into_iter();
        let number = |text: Option<OsString>| text.and_then(|text| text.into_string().ok());
        let parent = number(args.next()).and_then(|text| text.parse().ok());
        let parent = parent.ok_or("the first argument must be the pid of the parent")?;
        let (mut memory, mut sandbox) = (None, None);
        loop {
            match args.next().as_ref().and_then(|arg| arg.to_str()) {
                Some("--memory") => {
                    let bytes = number(args.next()).and_then(|text| text.parse().ok());
                    memory = Some(bytes.ok_or("--memory must be followed by bytes")?);
                }
                Some(sandbox::ARGUMENT) => sandbox = Some(Sandbox::default()),
                Some("--") => break,
                Some(name) => match &mut sandbox {
                    Some(sandbox) => sandbox.take(name, || args.next())?,
                    None => return Err("the program must follow `--`"),
                },
                None => return Err("the program must follow `--`"),
            }
        }
        let program = args.next().ok_or("the program must follow `--`")?.into();
        Ok(Self { parent, memory, sandbox, program, arguments: args.collect() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::Stdio;
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::Command;
    use tokio::time::timeout;

    use super::*;
    use crate::config::vars::{Env, Vars as _};

    const PATIENCE: Duration = Duration::from_secs(20);
    /// Tells the test binary which role it was started in.
    const ROLE: &str = "METAFLEET_TEST_ROLE";

    /// The test binary as a guard: it runs one test, which is the role of a guard. What the test
    /// harness prints before that goes to where the child prints.
    pub(crate) fn test_guard() -> Guard {
        let this = std::env::current_exe().unwrap().into_os_string();
        let role = OsString::from(format!("{ROLE}=guard"));
        let run = ["exec::tests::this_binary_can_be_a_guard", "--exact", "--nocapture", "-q", "--"];
        Guard::program("env", [role, this].into_iter().chain(run.map(OsString::from)))
    }

    #[test]
    #[expect(clippy::exit, reason = "the harness would say that the test went well")]
    fn this_binary_can_be_a_guard() {
        if Env.get(ROLE).as_deref() == Some("guard") {
            let code = exec_main(std::env::args_os().skip_while(|arg| arg != "--").skip(1));
            std::process::exit(if code == ExitCode::from(NOT_STARTED) { 127 } else { 125 });
        }
    }

    #[tokio::test]
    async fn this_binary_can_be_a_parent() -> anyhow::Result<()> {
        if Env.get(ROLE).as_deref() == Some("parent") {
            let mut child = test_guard().command("sleep", Limits::default());
            let mut child = child.arg("600").spawn()?;
            writeln!(io::stderr(), "child {}", child.id().unwrap_or_default())?;
            child.wait().await?;
        }
        Ok(())
    }

    /// Whether a process is there and not only waits to be collected.
    pub(crate) fn is_alive(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    }

    pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) -> anyhow::Result<()> {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.map_err(|_| anyhow::anyhow!("in vain: {what}"))
    }

    #[tokio::test]
    async fn a_child_dies_when_its_parent_is_killed() -> anyhow::Result<()> {
        let mut parent = Command::new(std::env::current_exe()?)
            .args(["exec::tests::this_binary_can_be_a_parent", "--exact", "--nocapture"])
            .env(ROLE, "parent")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(parent.stderr.take().unwrap()).lines();
        let child = loop {
            let line = timeout(PATIENCE, lines.next_line()).await??;
            let line = line.ok_or_else(|| anyhow::anyhow!("the parent said nothing"))?;
            if let Some(pid) = line.strip_prefix("child ") {
                break pid.parse()?;
            }
        };
        let command = format!("/proc/{child}/comm");
        let is_sleep = || std::fs::read_to_string(&command).is_ok_and(|name| name == "sleep\n");
        eventually("the guard becomes the program", is_sleep).await?;

        parent.kill().await?;

        eventually("the child is gone", || !is_alive(child)).await
    }

    #[tokio::test]
    async fn arguments_exit_code_and_limits_reach_the_program() -> anyhow::Result<()> {
        let limits = Limits { memory: NonZeroU64::new(64 << 20) };
        let mut command = test_guard().command("sh", limits);
        command.args(["-c", "echo \"$1|$(ulimit -d)\" >&2; exit 7", "sh", "a b"]);

        let output = command.stdin(Stdio::null()).output().await?;

        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("a b|{}", 64 << 10)), "{said}");
        assert_eq!(output.status.code(), Some(7));
        Ok(())
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() -> anyhow::Result<()> {
        let mut command = test_guard().command("/no/such/program", Limits::default());
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("could not start /no/such/program: No such file"), "{said}");
        assert_eq!(output.status.code(), Some(127));
        Ok(())
    }

    #[tokio::test]
    async fn a_guard_whose_parent_is_gone_starts_nothing() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let Guard { program, arguments } = test_guard();
        let mut command = Command::new(program);
        command.args(arguments).args(["1", "--", "touch", "made"]).current_dir(home.path());

        let output = command.output().await?;

        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the parent is gone"), "{said}");
        assert!(!home.path().join("made").exists());
        Ok(())
    }

    #[test]
    fn requests_are_read_by_the_table() {
        let parse = |text: &str| Request::parse(text.split_whitespace().map(OsString::from));
        let request = |memory, arguments: &[&str]| Request {
            parent: 7,
            memory: NonZeroU64::new(memory),
            sandbox: None,
            program: "p".into(),
            arguments: arguments.iter().map(OsString::from).collect(),
        };
        assert_eq!(parse("7 -- p"), Ok(request(0, &[])));
        assert_eq!(parse("7 --memory 5 -- p -- --memory"), Ok(request(5, &["--", "--memory"])));
        for text in [
            "",
            "x -- p",
            "7",
            "7 p",
            "7 --",
            "7 --memory -- p",
            "7 --memory 0 -- p",
            "7 --open -- p",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
