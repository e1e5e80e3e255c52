use std::path::Path;

use tokio::time::timeout;

use super::wanted::tests::instance;
use super::*;
use crate::exec::tests::{eventually, is_alive, test_guard};

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    home: tempfile::TempDir,
    handle: ProcessHandle,
    drain: CancellationToken,
    running: JoinSet<()>,
}

impl Bench {
    fn start(wanted: &[Wanted]) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let (runtime, handle) = ProcessRuntime::new(ProcessOptions {
            guard: test_guard(),
            log_dir: home.path().to_owned(),
            masks: Masks::default(),
            grace: Duration::from_millis(1_500),
            restart: RestartPolicy {
                first: Duration::from_millis(20),
                longest: Duration::from_millis(100),
                healthy_after: Duration::from_secs(60),
                crash_loop: 3,
            },
        });
        let drain = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(runtime.run(drain.clone()));
        let bench = Self { home, handle, drain, running };
        bench.want(wanted);
        Ok(bench)
    }

    fn want(&self, wanted: &[Wanted]) {
        let named = wanted.iter().map(|wanted| (wanted.name.clone(), wanted.clone()));
        self.handle.set_wanted(named.collect());
    }

    async fn until(
        &self,
        name: &str,
        condition: impl Fn(&ProcessInfo) -> bool,
    ) -> anyhow::Result<ProcessInfo> {
        let name: InstanceId = name.parse()?;
        let mut board = self.handle.watch();
        let found = board.wait_for(|all| all.get(&name).is_some_and(&condition));
        let found = timeout(PATIENCE, found)
            .await
            .map_err(|_| anyhow::anyhow!("in vain for {name}: {:#?}", self.handle.list()))??;
        Ok(found[&name].clone())
    }

    fn log(&self, name: &str) -> String {
        let path = self.home.path().join(format!("{name}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    async fn stop(self) -> anyhow::Result<ProcessHandle> {
        self.drain.cancel();
        timeout(PATIENCE, self.running.join_all()).await?;
        Ok(self.handle)
    }
}

fn runs(info: &ProcessInfo) -> bool {
    info.state == ProcessState::Running
}

async fn pid_in(file: &Path) -> anyhow::Result<u32> {
    let read = || std::fs::read_to_string(file).ok()?.trim().parse().ok();
    eventually("a pid is written", || read().is_some()).await?;
    read().ok_or_else(|| anyhow::anyhow!("no pid"))
}

#[tokio::test]
async fn a_process_runs_with_its_arguments_and_environment_and_no_other() -> anyhow::Result<()> {
    let mut wanted = instance("a", 1, "echo \"$A|$HOME|$1\"; echo oops >&2; exec sleep 600");
    wanted.args.extend(["sh".to_owned(), "b c".to_owned()]);
    wanted.env.insert("A".to_owned(), "1".to_owned());
    let bench = Bench::start(&[wanted])?;

    let info = bench.until("plugin-a-1", runs).await?;
    eventually("both ways are kept", || {
        let log = bench.log("plugin-a-1");
        log.contains("\n1||b c\n") && log.contains("\noops\n") && log.contains("--- ")
    })
    .await?;

    assert!(is_alive(info.pid.unwrap_or_default()));
    let handle = bench.stop().await?;
    assert!(!is_alive(info.pid.unwrap_or_default()));
    assert_eq!(handle.list()[0].state, ProcessState::Stopped);
    Ok(())
}

#[tokio::test]
async fn one_that_is_killed_is_started_again() -> anyhow::Result<()> {
    let bench = Bench::start(&[instance("a", 1, "exec sleep 600")])?;
    let first = bench.until("plugin-a-1", runs).await?.pid;
    let pid = first.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));

    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL)?;

    let again = bench.until("plugin-a-1", |info| runs(info) && info.pid != first).await?;
    assert_eq!(again.restarts, 1);
    let exit = again.last_exit.unwrap();
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    bench.stop().await?;
    Ok(())
}

#[tokio::test]
async fn one_that_is_to_be_started_anew_is() -> anyhow::Result<()> {
    let bench = Bench::start(&[instance("a", 1, "exec sleep 600")])?;
    let first = bench.until("plugin-a-1", runs).await?.pid;

    bench.handle.restarts().send("plugin-a-1".parse()?).await?;
    bench.handle.restarts().send("plugin-nobody-1".parse()?).await?;

    bench.until("plugin-a-1", |info| runs(info) && info.pid != first).await?;
    assert!(!is_alive(first.unwrap_or_default()));
    bench.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_crash_loop_is_shown_and_disturbs_nobody() -> anyhow::Result<()> {
    let bench = Bench::start(&[
        instance("bad", 1, "echo first; echo the reason >&2; exit 3"),
        instance("good", 1, "exec sleep 600"),
    ])?;
    let good = bench.until("plugin-good-1", runs).await?;

    let bad = bench
        .until("plugin-bad-1", |info| info.state == ProcessState::CrashLoop && info.restarts > 3)
        .await?;

    let exit = bad.last_exit.unwrap();
    assert_eq!((exit.code, exit.reason.as_str()), (Some(3), "ended with exit code 3"));
    assert!(exit.lines.contains(&"the reason".to_owned()), "{:?}", exit.lines);
    assert!(bad.next_start.is_some() && bad.pid.is_none());
    assert_eq!(bench.until("plugin-good-1", runs).await?, good);
    bench.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() -> anyhow::Result<()> {
    let mut wanted = instance("a", 1, "");
    wanted.program = "/no/such/program".into();
    let bench = Bench::start(&[wanted])?;

    let info = bench.until("plugin-a-1", |info| info.last_exit.is_some()).await?;

    let exit = info.last_exit.unwrap();
    assert_eq!(exit.code, Some(127));
    let named = exit.lines.iter().any(|line| line.contains("could not start /no/such/program"));
    assert!(named, "{:?}", exit.lines);
    bench.stop().await?;
    Ok(())
}

#[tokio::test]
async fn one_that_does_not_stop_is_killed_with_all_it_started() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("pid");
    let script = format!(
        "trap '' TERM; sleep 600 & echo $! > {}; while :; do sleep 1; done",
        file.display()
    );
    let bench = Bench::start(&[instance("a", 1, &script)])?;
    let info = bench.until("plugin-a-1", runs).await?;
    let grandchild = pid_in(&file).await?;

    bench.stop().await?;

    assert!(!is_alive(info.pid.unwrap_or_default()));
    eventually("what it started is gone", || !is_alive(grandchild)).await
}

#[tokio::test]
async fn what_a_process_leaves_behind_when_it_dies_is_killed() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("pid");
    let script = format!("[ -e {0} ] || {{ sleep 600 & echo $! > {0}; }}; exit 1", file.display());
    let bench = Bench::start(&[instance("a", 1, &script)])?;

    let grandchild = pid_in(&file).await?;

    eventually("what it left is gone", || !is_alive(grandchild)).await?;
    bench.stop().await?;
    Ok(())
}

#[tokio::test]
async fn one_that_asks_for_time_gets_it() -> anyhow::Result<()> {
    let script = "trap 'echo draining; sleep 0.3; echo done; exit 0' TERM; \
                  echo ready; while :; do sleep 0.05; done";
    let bench = Bench::start(&[instance("a", 1, script)])?;
    eventually("it is ready", || bench.log("plugin-a-1").contains("ready")).await?;
    let path = bench.home.path().join("plugin-a-1.log");
    let (drain, handle) = (bench.drain.clone(), bench.handle.clone());
    drain.cancel();
    timeout(PATIENCE, bench.running.join_all()).await?;

    let log = std::fs::read_to_string(path)?;
    assert!(log.contains("draining\ndone\n") && log.contains("exit code 0"), "{log}");
    assert_eq!(handle.list()[0].state, ProcessState::Stopped);
    Ok(())
}

#[tokio::test]
async fn a_change_touches_only_what_changed() -> anyhow::Result<()> {
    let (a, b) = (instance("a", 1, "exec sleep 600"), instance("b", 1, "exec sleep 600"));
    let bench = Bench::start(&[a.clone(), b.clone()])?;
    let before = bench.until("plugin-a-1", runs).await?;
    let old = bench.until("plugin-b-1", runs).await?;

    let (newer, c) = (instance("b", 1, "exec sleep 601"), instance("c", 1, "exec sleep 600"));
    bench.want(&[a, newer, c.clone()]);

    bench.until("plugin-b-1", |info| runs(info) && info.pid != old.pid).await?;
    bench.until("plugin-c-1", runs).await?;
    assert!(!is_alive(old.pid.unwrap_or_default()));
    assert_eq!(bench.until("plugin-a-1", runs).await?, before);
    bench.want(&[c]);
    eventually("only c is left", || {
        bench.handle.list().iter().map(|info| info.name.as_str()).eq(["plugin-c-1"])
    })
    .await?;
    assert!(!is_alive(before.pid.unwrap_or_default()));
    bench.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_flood_is_bounded_and_the_process_goes_on() -> anyhow::Result<()> {
    let script = "yes 0123456789012345678901234567890123456789 | head -c 60000000; \
                  sleep 1; echo over >&2; exec sleep 600";
    let bench = Bench::start(&[instance("a", 1, script)])?;

    let log = || bench.log("plugin-a-1");
    let old = bench.home.path().join("plugin-a-1.log.1");
    eventually("the flood is over", || log().contains("left out") && log().contains("over"))
        .await?;

    let size = std::fs::metadata(&old).map_or(0, |meta| meta.len()) + log().len() as u64;
    assert!(size < 10_000_000, "{size} bytes were kept");
    bench.stop().await?;
    Ok(())
}
