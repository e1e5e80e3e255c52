//! When leases are renewed, and what is run.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn delivery(stream_sequence: u64, delivered: u32) -> Place {
    Place { delivered, stream_sequence, consumer_sequence: 0, stored_at: 0, pending: 0 }
}

/// Begins a delivery of `task` that is taken for a new one.
fn begin(leases: &Leases, reply: &str, place: Place, until: Instant) -> Arc<Held> {
    match leases.begin("task".into(), reply.into(), place, until) {
        Begun::New(held) => held,
        other @ (Begun::Running | Begun::Settled) => panic!("{reply}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_every_third_until_its_time_is_up() {
    let leases = Leases::new();
    let start = Instant::now();
    begin(&leases, "reply", delivery(1, 1), start + SECOND * 10);

    let renewed: Vec<u32> = (1..20_u32)
        .filter(|&s| !leases.due(start + SECOND * s, SECOND * 3, SECOND).is_empty())
        .collect();

    assert_eq!(renewed, [2, 4, 6, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_surely_held_only_while_the_broker_knows_of_its_renewals() {
    let leases = Leases::new();
    leases.set_lease(SECOND * 9);
    let start = Instant::now();
    let held = begin(&leases, "reply", delivery(1, 1), start + SECOND * 100);
    let renew = |at: u32| leases.due(start + SECOND * at, SECOND * 3, SECOND).len();
    let mut is_held = Vec::new();
    for second in 0..30 {
        match second {
            // Renewed, and known a second later.
            2 => assert_eq!(renew(2), 1),
            3 => leases.reached(start + SECOND * 2, start + SECOND * 3),
            // Renewed, but known too late: it may be somebody else's that was renewed.
            5 => assert_eq!(renew(5), 1),
            12 => leases.reached(start + SECOND * 5, start + SECOND * 12),
            // Lent anew.
            20 => {
                let again = leases.begin(
                    "task".into(),
                    "again".into(),
                    delivery(1, 2),
                    start + SECOND * 100,
                );
                assert!(matches!(again, Begun::Running));
            }
            _ => {}
        }
        is_held.push(leases.is_held(&held));
        tokio::time::advance(SECOND).await;
    }

    let seconds: Vec<usize> =
        is_held.iter().enumerate().filter(|(_, held)| **held).map(|(at, _)| at).collect();
    assert_eq!(seconds, (0..10).chain(20..28).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_same_message_is_not_run_twice() {
    let leases = Leases::new();
    let until = Instant::now() + SECOND;
    let held = begin(&leases, "first", delivery(1, 1), until);
    let again = || leases.begin("task".into(), "again".into(), delivery(1, 2), until);

    assert!(matches!(again(), Begun::Running));
    assert_eq!(held.latest(), ("again".into(), 2));
    leases.remember(&held);
    leases.end(&held);
    assert!(matches!(again(), Begun::Settled));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_published_anew_is_another_one() {
    let leases = Leases::new();
    let until = Instant::now() + SECOND;
    let first = begin(&leases, "first", delivery(1, 1), until);
    begin(&leases, "anew, while the first runs", delivery(2, 1), until);
    leases.remember(&first);
    begin(&leases, "anew, after it was settled", delivery(3, 1), until);
    assert_eq!(first.latest(), ("first".into(), 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_has_had_its_time_gives_way() {
    let leases = Leases::new();
    let hung = begin(&leases, "first", delivery(1, 1), Instant::now() + SECOND);
    tokio::time::advance(SECOND * 2).await;
    let until = Instant::now() + SECOND;

    let next = begin(&leases, "second", delivery(1, 2), until);
    leases.end(&hung);
    let third = leases.begin("task".into(), "third".into(), delivery(1, 3), until);

    assert!(matches!(third, Begun::Running), "the end of the first left the second alone");
    assert_eq!(next.latest(), ("third".into(), 3));
}

#[tokio::test(start_paused = true)]
async fn memory_of_what_was_settled_is_bounded() {
    let leases = Leases::new();
    for sequence in 0..40_000 {
        let held = begin(&leases, "reply", delivery(sequence, 1), Instant::now() + SECOND);
        leases.remember(&held);
        leases.end(&held);
    }
    let settled = leases.settled();
    assert_eq!((settled.order.len(), settled.all.len()), (REMEMBERED, REMEMBERED));
}
