use super::*;

fn side(waiting: usize, held: usize, promised: usize) -> Side {
    Side { waiting, held, promised, turns: 0, due: false }
}

fn due(side: Side) -> Side {
    Side { due: true, ..side }
}

fn ask(queue: Queue, batch: usize, wait: Wait) -> Ask {
    Ask { queue, batch, wait }
}

#[test]
fn free_permits_are_split_so_that_background_gets_a_fourth() {
    // permits, free, (fast turns, background turns), background held, expected (fast, background)
    let table = [
        (1, 1, (0, 0), 0, (1, 0)),
        (1, 1, (1, 0), 0, (1, 0)),
        (1, 1, (2, 0), 0, (1, 0)),
        (1, 1, (3, 0), 0, (0, 1)),
        (1, 1, (3, 1), 0, (1, 0)),
        (1, 1, (6, 1), 0, (0, 1)),
        (4, 4, (0, 0), 0, (3, 1)),
        (4, 3, (3, 1), 1, (3, 0)),
        (4, 1, (30, 1), 1, (1, 0)), // one of four permits already: its tasks are long
        (4, 1, (30, 1), 0, (0, 1)),
        (8, 8, (0, 0), 0, (6, 2)),
        (8, 0, (9, 0), 0, (0, 0)),
        (64, 64, (0, 0), 0, (48, 16)),
        (64, 10, (48, 16), 16, (10, 0)),
    ];
    for (permits, free, (fast_turns, background_turns), held, expected) in table {
        let sides = Sides {
            fast: Side { turns: fast_turns, ..side(100, permits - free - held, 0) },
            background: Side { turns: background_turns, ..side(100, held, 0) },
        };
        let split = Policy::Share.split(free, permits, &sides);
        let case = format!("{free} of {permits} free, turns {fast_turns}:{background_turns}");
        assert_eq!((split.fast, split.background), expected, "{case}");
        let strict = Policy::Strict.split(free, permits, &sides);
        assert_eq!((strict.fast, strict.background), (free, 0), "strict, {case}");
    }
}

#[test]
fn plans_follow_what_waits() {
    use Queue::{Background, Fast};
    use Wait::{Long, No, Short, Turn};
    let idle = side(0, 0, 0);
    // what, permits, home, fast, background, expected
    let table = [
        ("nothing free", 2, Fast, side(9, 2, 0), idle, vec![]),
        ("all promised", 2, Fast, side(0, 0, 1), side(0, 0, 1), vec![]),
        ("idle", 2, Fast, idle, idle, vec![ask(Fast, 1, Long), ask(Background, 1, Short)]),
        (
            "idle, many",
            64,
            Background,
            idle,
            idle,
            vec![ask(Background, 16, Long), ask(Fast, 1, Short)],
        ),
        ("idle, half used up", 64, Fast, side(0, 9, 7), side(0, 0, 1), vec![ask(Fast, 9, Long)]),
        ("idle, enough asked", 64, Fast, side(0, 2, 14), side(0, 0, 1), vec![]),
        ("one permit", 1, Fast, idle, idle, vec![ask(Fast, 1, Turn)]),
        ("one permit, a look", 1, Fast, idle, due(idle), vec![ask(Background, 1, No)]),
        ("fast busy", 8, Fast, side(99, 2, 0), idle, vec![ask(Fast, 6, No)]),
        (
            "fast busy, a look",
            8,
            Fast,
            side(99, 2, 0),
            due(idle),
            vec![ask(Background, 1, No), ask(Fast, 5, No)],
        ),
        ("few wait", 8, Fast, side(3, 0, 0), idle, vec![ask(Fast, 3, No)]),
        ("background busy", 4, Fast, due(idle), side(99, 3, 0), vec![ask(Fast, 1, No)]),
        ("background alone", 4, Fast, side(0, 0, 1), side(99, 0, 0), vec![ask(Background, 3, No)]),
        (
            "both busy",
            8,
            Fast,
            side(99, 0, 0),
            side(99, 0, 0),
            vec![ask(Fast, 6, No), ask(Background, 2, No)],
        ),
        ("put off", 64, Fast, side(99, 50, 10), idle, vec![]),
        ("enough to ask again", 64, Fast, side(99, 38, 10), idle, vec![ask(Fast, 16, No)]),
    ];
    for (what, permits, home, fast, background, expected) in table {
        let sides = Sides { fast, background };
        assert_eq!(plan(Policy::Share, permits, home, &sides), expected, "{what}");
    }
}

/// Plays an instance whose tasks all take one step, with more than enough waiting.
fn play(policy: Policy, permits: usize, steps: usize) -> (usize, usize) {
    let mut sides = Sides { fast: side(1_000, 0, 0), background: side(1_000, 0, 0) };
    let (mut fast, mut background) = (0, 0);
    for _ in 0..steps {
        let asks = plan(policy, permits, Queue::Fast, &sides);
        sides.note(&asks);
        let taken: usize = asks.iter().map(|ask| ask.batch).sum();
        assert!(taken <= permits, "no more than can run");
        for ask in asks {
            match ask.queue {
                Queue::Fast => fast += ask.batch,
                Queue::Background => background += ask.batch,
            }
        }
    }
    (fast, background)
}

#[test]
fn under_steady_load_three_of_four_turns_are_fast() {
    for permits in [1, 2, 3, 4, 8, 64] {
        let (fast, background) = play(Policy::Share, permits, 40);
        assert_eq!(fast + background, permits * 40, "{permits} permits, none idle");
        let share = (fast + background) / 4;
        assert!(background.abs_diff(share) <= 1, "{permits} permits: {background} of {share}");
        assert_eq!(play(Policy::Strict, permits, 40).1, 0, "strict");
    }
}

#[test]
fn long_background_tasks_take_a_fourth_of_the_permits_at_most() {
    let mut sides = Sides { fast: side(1_000, 0, 0), background: side(1_000, 0, 0) };
    for _ in 0..100 {
        let asks = plan(Policy::Share, 8, Queue::Fast, &sides);
        sides.note(&asks);
        // Fast tasks are done at once, background tasks never.
        sides.background.held += asks
            .iter()
            .filter(|ask| ask.queue == Queue::Background)
            .map(|ask| ask.batch)
            .sum::<usize>();
    }
    assert_eq!(sides.background.held, 2);
}

#[test]
fn a_queue_that_was_alone_has_no_claim_from_that() {
    let mut sides = Sides { fast: side(100, 0, 0), background: side(0, 0, 0) };
    for _ in 0..100 {
        let asks = plan(Policy::Share, 4, Queue::Fast, &sides);
        sides.note(&asks);
    }
    assert_eq!((sides.fast.turns, sides.background.turns), (0, 0));
}
