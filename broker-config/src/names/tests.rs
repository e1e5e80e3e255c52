use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn task_and_record_subjects_parse_back(
        plugin in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", cid in "\\PC{1,40}", fast: bool,
    ) {
        let names = Names::new("my-fleet".parse().unwrap());
        let queue = if fast { Queue::Fast } else { Queue::Background };
        let plugin: PluginId = plugin.parse().unwrap();
        let cid: Cid = cid.parse().unwrap();
        prop_assert_eq!(
            names.parse_task(&names.task(queue, &plugin, &cid)),
            Some(TaskAddress { queue, lane: Lane::Main, plugin: plugin.clone(), cid: cid.clone() })
        );
        prop_assert_eq!(
            names.parse_record(&names.record(&cid, &plugin)),
            Some(RecordAddress { cid, plugin })
        );
    }
}

#[test]
fn other_subjects_are_not_ours() {
    let names = Names::default();
    for subject in
        ["", "mf.task.fast", "mf.task.slow.a.b", "mf.task.fast.A.b", "mf.task.fast.a.b.c", "x"]
    {
        assert_eq!(names.parse_task(subject), None, "{subject}");
    }
    assert_eq!(names.parse_signal("mf.signal.a.failed"), Some(("a".parse().unwrap(), "failed")));
    assert_eq!(names.parse_signal("mfx.signal.a.failed"), None);
    assert_eq!(names.parse_submit("mf.submit.fast"), Some(Queue::Fast));
}

#[test]
fn the_prefix_is_in_every_name() {
    let names = Names::new("a-b".parse().unwrap());
    assert_eq!(names.task_stream(), "A_B_TASKS");
    assert_eq!(names.record_stream(), "KV_a-b-records");
    assert_eq!(names.submit(Queue::Fast), "a-b.submit.fast");
}
