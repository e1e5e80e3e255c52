use proptest::prelude::*;

use super::*;
use crate::names::Lane;
use crate::queue::Queue;

/// Whether some subject matches both patterns.
fn meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// Whether each subject that `part` matches is matched by `whole`.
fn covers(whole: &str, part: &str) -> bool {
    let (mut whole, mut part) = (whole.split('.'), part.split('.'));
    loop {
        match (whole.next(), part.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some(a), Some(b)) if b != ">" && (a == b || a == "*") => {}
            _ => return false,
        }
    }
}

fn accounts(plugins: &[(&str, &[&str])]) -> Accounts {
    let routes = |routes: &[&str]| routes.iter().map(|route| route.parse().unwrap()).collect();
    let plugins = plugins.iter().map(|(id, its)| (id.parse().unwrap(), routes(its))).collect();
    Accounts::of(&Names::default(), &plugins)
}

/// Where a message that the plugin publishes comes out in the fleet's account.
fn comes_out(account: &PluginAccount, subject: &str) -> Option<String> {
    account.publish.iter().find(|pattern| covers(pattern, subject))?;
    let import = account.account.imports.iter().find(|import| covers(&import.here, subject))?;
    Some(if import.here == import.subject { subject } else { &import.subject }.to_owned())
}

#[test]
fn what_a_worker_publishes_reaches_the_fleet_and_what_it_must_not_does_not() {
    let accounts = accounts(&[("ffmpeg", &["gpu"]), ("nfo", &[])]);
    let account = &accounts.plugins[0];
    assert_eq!(account.account.name, "MF-ffmpeg");
    for (subject, comes_out_at) in [
        ("$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.ffmpeg_fast", ""),
        ("$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.ffmpeg_next_background", ""),
        ("$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.ffmpeg_gpu_fast", ""),
        ("$JS.API.CONSUMER.INFO.MF_TASKS.ffmpeg_fast", ""),
        ("$JS.ACK.MF_TASKS.ffmpeg_fast.1.2.3.1795367431800068869.0", ""),
        ("$JS.ACK._.ZgWDVvBS.MF_TASKS.ffmpeg_gpu_fast.1.2.3.1795367431800068869.0", ""),
        ("$KV.mf-records.film.ffmpeg", ""),
        ("$KV.mf-records.film.ffmpeg_next", ""),
        ("$KV.mf-artifacts.film.ffmpeg.still", ""),
        ("$KV.mf-instances.ffmpeg.w1", ""),
        ("mf.signal.ffmpeg.announce", ""),
        ("mf.signal.ffmpeg.failed", ""),
        ("mf.submit.fast", "mf.submit.fast.ffmpeg"),
        ("mf.submit.background", "mf.submit.background.ffmpeg"),
        ("$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.nfo_fast", "nowhere"),
        ("$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.later", "nowhere"),
        ("$JS.API.CONSUMER.MSG.NEXT.MF_SUBMIT.coordinator_fast_1", "nowhere"),
        ("$JS.API.CONSUMER.DELETE.MF_TASKS.ffmpeg_fast", "nowhere"),
        ("$JS.API.STREAM.INFO.MF_TASKS", "nowhere"),
        ("$JS.API.DIRECT.GET.KV_mf-records", "nowhere"),
        ("$JS.ACK.MF_TASKS.nfo_fast.1.2.3.4.0", "nowhere"),
        ("$JS.ACK.MF_TASKS.nfo_fast.MF_TASKS.ffmpeg_fast.1.1.1", "nowhere"),
        ("$JS.ACK.MF_TASKS.ffmpeg_fast.MF_TASKS.nfo_fast.1.2.3.4.0", "nowhere"),
        ("$KV.mf-records.film.nfo", "nowhere"),
        ("$KV.mf-records.film.user", "nowhere"),
        ("$KV.mf-plugins.ffmpeg", "nowhere"),
        ("$KV.mf-lease.leader", "nowhere"),
        ("mf.task.fast.ffmpeg.film", "nowhere"),
        ("mf.later.ffmpeg.film", "nowhere"),
        ("mf.event.file.settled", "nowhere"),
        ("mf.signal.nfo.announce", "nowhere"),
        ("mf.submit.fast.nfo", "nowhere"),
        ("mf.control.nfo", "nowhere"),
    ] {
        let expected = match comes_out_at {
            "" => Some(subject),
            "nowhere" => None,
            other => Some(other),
        };
        assert_eq!(comes_out(account, subject).as_deref(), expected, "{subject}");
    }
}

#[test]
fn a_plugin_answers_the_fleet_and_nobody_else() {
    let accounts = accounts(&[("a", &[])]);
    let [of_all, of_one] = [0, 1].map(|n| accounts.plugins[0].account.exports[n].clone());
    assert_eq!(
        (of_all.subject.as_str(), of_one.subject.as_str()),
        ("mf.control.a", "mf.control.a.*")
    );
    assert!([&of_all, &of_one].iter().all(|export| export.only.as_deref() == Some("MF")));
    let here: Vec<&str> =
        accounts.fleet.imports.iter().map(|import| import.here.as_str()).collect();
    assert_eq!(here, ["mf.control.a", "mf.control.a.*"]);
    assert_eq!(accounts.plugins[0].subscribe, ["_INBOX.>", "mf.control.a", "mf.control.a.*"]);
}

#[test]
fn who_cannot_be_a_plugin_gets_no_account() {
    assert_eq!(accounts(&[("user", &[]), ("coordinator", &[])]).plugins, []);
}

/// All that the server listens to for one consumer, or keeps for one plugin.
fn belongings(names: &Names, id: &PluginId) -> Vec<String> {
    let stream = names.task_stream();
    let mut all = vec![
        names.signal(id, "*"),
        names.instances_of(id),
        names.control(id),
        names.control_instances(id),
        names.later_of(id),
    ];
    for lane in [Lane::Main, Lane::Next, Lane::Route("gpu".parse().unwrap())] {
        all.extend([names.records_by(lane, id), names.artifacts_by(lane, id)]);
        for queue in Queue::ALL {
            let consumer = Names::consumer_in(lane, id, queue);
            all.extend([
                names.tasks_in(lane, queue, id),
                names.submit_by(queue, id),
                next(&stream, &consumer),
                info(&stream, &consumer),
                // So the server listens for answers, in both forms.
                format!("$JS.ACK.{stream}.{consumer}.*.*.*.*.*"),
                format!("$JS.ACK._.*.{stream}.{consumer}.*.*.*.*.>"),
            ]);
        }
    }
    all
}

proptest! {
    #[test]
    fn no_plugin_reaches_what_is_anothers(
        one in "[a-c]([a-c0-]{0,3}[a-c])?", other in "[a-c]([a-c0-]{0,3}[a-c])?",
    ) {
        prop_assume!(one != other);
        let names = Names::default();
        let accounts = accounts(&[(&one, &["gpu"])]);
        let other: PluginId = other.parse().unwrap();
        for import in &accounts.plugins[0].account.imports {
            for its in belongings(&names, &other) {
                prop_assert!(!meet(&import.subject, &its), "{} meets {its}", import.subject);
            }
        }
    }

    #[test]
    fn the_fleet_offers_all_that_a_plugin_takes(id in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?") {
        prop_assume!(id != PluginId::USER);
        let accounts = accounts(&[(&id, &["gpu", "big-files"])]);
        for import in &accounts.plugins[0].account.imports {
            let offers =
                |export: &&Export| covers(&export.subject, &import.subject);
            prop_assert_eq!(accounts.fleet.exports.iter().filter(offers).count(), 1, "{}", import.subject);
        }
    }
}
