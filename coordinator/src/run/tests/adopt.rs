//! How a run goes over to another graph while its file is in hand.

use super::*;

/// The diamond, in which `b` takes no empty file, and ours is one.
fn picky() -> Graph {
    let mut graph = diamond();
    let node = graph.nodes.get_mut(&id("b")).unwrap();
    let mut picky = (*node.spec).clone();
    picky.manifest.filter = Filter { min_size: Some(1), ..Filter::default() };
    node.spec = Arc::new(picky);
    graph
}

/// The diamond, in which `d` needs nothing any more.
fn without_needs_of_d() -> Graph {
    let specs =
        vec![spec("a", 10, &[]), spec("b", 20, &["a"]), spec("c", 21, &["a"]), spec("d", 30, &[])];
    Graph::build(specs).0
}

fn publish(run: &mut Run, plugin: &str) -> Task {
    run.publish(&id(plugin), 0).unwrap().1
}

#[test]
fn nobody_waits_for_what_a_new_graph_leaves_out() {
    type Edit = fn(&mut Submission);
    let table: [(&str, Edit, usize, Graph, &[&str]); 4] = [
        ("it waits", |_| {}, 0, picky(), &["a", "c", "d"]),
        ("it waits for what is out", |_| {}, 1, picky(), &["c", "d"]),
        ("it is out itself", |_| {}, 2, picky(), &["c", "d"]),
        ("nothing asked for needs it", |s| s.only = vec![id("d")], 1, without_needs_of_d(), &["d"]),
    ];
    for (case, edit, out, graph, expected) in table {
        let mut opening = opening();
        edit(&mut opening.submission);
        let mut run = run_of(opening, BTreeMap::new(), &diamond());
        assert_eq!(run.advance(), [id("a")], "{case}");
        if out > 0 {
            let task = publish(&mut run, "a");
            if out > 1 {
                run.on_record(&id("a"), record(&task, 5, RecordStatus::Completed, "v"));
                assert_eq!(run.advance(), [id("b"), id("c")], "{case}");
                publish(&mut run, "b");
            }
            run.adopt(&graph);
            run.on_record(&id("a"), record(&task, 5, RecordStatus::Completed, "v"));
        } else {
            run.adopt(&graph);
        }

        assert_eq!(drive(&mut run, completed), expected, "{case}");

        assert!(run.is_settled(), "{case}");
        assert_eq!(run.in_flight().count(), 0, "{case}");
    }
}

#[test]
fn a_plugin_that_comes_back_in_mid_run_gets_the_file_and_so_does_what_was_skipped_without_it() {
    let mut whole = diamond();
    let node = whole.nodes.get_mut(&id("d")).unwrap();
    let mut skipping = (*node.spec).clone();
    skipping.on_dependency_failure = OnDependencyFailure::Skip;
    node.spec = Arc::new(skipping);
    let mut without_b = whole.clone();
    without_b.nodes.remove(&id("b"));
    without_b.order.retain(|plugin| *plugin != id("b"));
    let mut run = run_of(opening(), BTreeMap::new(), &whole);
    assert_eq!(run.advance(), [id("a")]);
    let task = publish(&mut run, "a");

    run.adopt(&without_b);
    run.on_record(&id("a"), record(&task, 5, RecordStatus::Completed, "v"));
    assert_eq!(run.advance(), [id("c")]);
    let task = publish(&mut run, "c");
    run.on_record(&id("c"), record(&task, 6, RecordStatus::Completed, "v"));
    assert!(run.advance().is_empty());
    assert_eq!(run.outcomes().0[&id("d")], Outcome::Skipped);

    run.adopt(&without_b);
    assert!(run.advance().is_empty());
    assert!(run.is_settled(), "it is not back");

    run.adopt(&whole);
    assert_eq!(drive(&mut run, completed), ["b", "d"]);
    assert!(run.is_settled());
    assert_eq!(run.outcomes().1, TaskCounts { completed: 4, ..TaskCounts::default() });
}
