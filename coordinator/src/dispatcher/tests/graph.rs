//! Plugins that come, leave and change while files are in hand.

use super::*;

fn of(ids: &[&str]) -> Event {
    let specs = ids.iter().zip(10..).map(|(id, priority)| spec(id, priority, &[])).collect();
    Event::GraphChanged(Arc::new(Graph::build(specs).0))
}

#[test]
fn a_plugin_that_leaves_and_comes_back_gets_the_files_in_hand() {
    let mut bench = Bench::new(Graph::default());
    bench.tell(of(&["a", "b"]));
    let out = tasks(&bench.open(1, "x"));
    assert_eq!(out.len(), 2);
    assert!(bench.tell(of(&["a"])).is_empty());

    let again = tasks(&bench.tell(of(&["a", "b"])));

    assert_eq!(again, [out[1].clone()], "the same task, of which there can be one only");
    assert!(bench.answer(&out[0]).is_empty(), "the file waits for both");
    assert_eq!(kinds(&bench.answer(&again[0])), ["settle"]);
}
