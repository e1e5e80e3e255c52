"""Which queue is asked, for how much, and what becomes of the requests."""

from __future__ import annotations

import unittest

from metafleet.line import Line
from metafleet.share import Ask, Policy, Side, Sides, Wait, plan, split

FAST, BACKGROUND = "fast", "background"


class Share(unittest.TestCase):
    def test_places_are_split_so_that_background_gets_a_fourth(self) -> None:
        # places, free, turns of fast and background, places that background holds, expected
        for places, free, fast, background, held, expected in (
            (1, 1, 0, 0, 0, (1, 0)), (1, 1, 2, 0, 0, (1, 0)), (1, 1, 3, 0, 0, (0, 1)), (1, 1, 3, 1, 0, (1, 0)),
            (1, 1, 6, 1, 0, (0, 1)), (4, 4, 0, 0, 0, (3, 1)), (4, 3, 3, 1, 1, (3, 0)), (4, 1, 30, 1, 1, (1, 0)),
            (4, 1, 30, 1, 0, (0, 1)), (8, 8, 0, 0, 0, (6, 2)), (8, 0, 9, 0, 0, (0, 0)), (64, 64, 0, 0, 0, (48, 16)),
            (64, 10, 48, 16, 16, (10, 0)),
        ):
            sides = Sides(Side(100, places - free - held, turns=fast), Side(100, held, turns=background))
            self.assertEqual(split(Policy.SHARE, free, places, sides), expected, (places, free, fast, background))
            self.assertEqual(split(Policy.STRICT, free, places, sides), (free, 0))

    def test_plans_follow_what_waits(self) -> None:
        due = Side(due=True)
        for what, places, home, fast, background, expected in (
            ("nothing free", 2, FAST, Side(9, 2), Side(), []),
            ("all promised", 2, FAST, Side(0, 0, 1), Side(0, 0, 1), []),
            ("idle", 2, FAST, Side(), Side(), [Ask(FAST, 1, Wait.LONG), Ask(BACKGROUND, 1, Wait.SHORT)]),
            ("idle, many", 64, BACKGROUND, Side(), Side(), [Ask(BACKGROUND, 16, Wait.LONG), Ask(FAST, 1, Wait.SHORT)]),
            ("half used up", 64, FAST, Side(0, 9, 7), Side(0, 0, 1), [Ask(FAST, 9, Wait.LONG)]),
            ("enough asked", 64, FAST, Side(0, 2, 14), Side(0, 0, 1), []),
            ("one place", 1, FAST, Side(), Side(), [Ask(FAST, 1, Wait.TURN)]),
            ("one place, a look", 1, FAST, Side(), due, [Ask(BACKGROUND, 1, Wait.NO)]),
            ("fast busy", 8, FAST, Side(99, 2), Side(), [Ask(FAST, 6, Wait.NO)]),
            ("fast busy, a look", 8, FAST, Side(99, 2), due, [Ask(BACKGROUND, 1, Wait.NO), Ask(FAST, 5, Wait.NO)]),
            ("few wait", 8, FAST, Side(3), Side(), [Ask(FAST, 3, Wait.NO)]),
            ("background busy", 4, FAST, due, Side(99, 3), [Ask(FAST, 1, Wait.NO)]),
            ("both busy", 8, FAST, Side(99), Side(99), [Ask(FAST, 6, Wait.NO), Ask(BACKGROUND, 2, Wait.NO)]),
            ("put off", 64, FAST, Side(99, 50, 10), Side(), []),
            ("enough to ask again", 64, FAST, Side(99, 38, 10), Side(), [Ask(FAST, 16, Wait.NO)]),
        ):
            self.assertEqual(plan(Policy.SHARE, places, home, Sides(fast, background)), expected, what)  # type: ignore[arg-type]

    def test_under_steady_load_three_of_four_turns_are_fast(self) -> None:
        for places in (1, 2, 3, 4, 8, 64):
            sides, given = Sides(Side(1000), Side(1000)), {FAST: 0, BACKGROUND: 0}
            for _ in range(40):
                asks = plan(Policy.SHARE, places, "fast", sides)
                sides.note(asks)
                self.assertLessEqual(sum(ask.batch for ask in asks), places)
                for ask in asks:
                    given[ask.queue] += ask.batch
            self.assertEqual(sum(given.values()), places * 40)
            self.assertLessEqual(abs(given[BACKGROUND] - places * 10), 1, places)

    def test_a_queue_that_was_alone_has_no_claim_from_that(self) -> None:
        sides = Sides(Side(100), Side(0))
        for _ in range(100):
            sides.note(plan(Policy.SHARE, 4, "fast", sides))
        self.assertEqual((sides.fast.turns, sides.background.turns), (0, 0))


class Requests(unittest.TestCase):
    def test_bodies_say_how_long_a_request_waits(self) -> None:
        line = Line("fast", 0)
        for wait, quiet, body in (
            (Wait.NO, True, b'{"batch":4,"no_wait":true}'), (Wait.SHORT, False, b'{"batch":4,"expires":500000000}'),
            (Wait.LONG, False, b'{"batch":4,"expires":2000000000}'),
            (Wait.LONG, True, b'{"batch":4,"expires":5000000000,"idle_heartbeat":1500000000}'),
        ):
            self.assertEqual(line.ask(Ask("fast", 4, wait), 0, quiet=quiet)[1], body)

    def test_requests_end_once_and_are_over_some_time_after_they_expire(self) -> None:
        line = Line("fast", 0)
        first, _ = line.ask(Ask("fast", 4, Wait.LONG), 0, quiet=False)
        second, _ = line.ask(Ask("fast", 2, Wait.NO), 0, quiet=False)
        self.assertEqual([line.is_overdue(1, promised) for promised in (6, 7)], [False, True])
        self.assertEqual(line.ends(str(first), {"Nats-Pending-Messages": "3"}), (3, False))
        self.assertEqual(line.ends(str(first), {}), (0, False))
        self.assertEqual(line.ends("x", {}), (0, False))
        self.assertEqual([line.is_overdue(at, 2) for at in (1, 2.1)], [False, True])
        self.assertEqual(line.ends(str(second), {}), (2, True), "it may still be answered")

    def test_requests_that_were_answered_in_full_are_forgotten(self) -> None:
        line = Line("fast", 0)
        first, _ = line.ask(Ask("fast", 4, Wait.NO), 0, quiet=False)
        line.ask(Ask("fast", 2, Wait.LONG), 0, quiet=False)
        self.assertFalse(line.is_overdue(2.1, 2))
        self.assertEqual(line.ends(str(first), {}), (0, False))

    def test_pauses_double_and_begin_anew_when_something_comes(self) -> None:
        line = Line("fast", 0)
        pauses = []
        for _ in range(8):
            line.refused(0)
            pauses.append(line.not_before)
        self.assertEqual(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        line.found(10, all_answered=True)
        line.refused(10)
        self.assertEqual(line.not_before, 10.1)
        line.found_nothing(0)
        line.found_nothing(0)
        self.assertEqual(line.next_look, 0.04)

    def test_a_request_whose_heartbeats_stay_away_is_forgotten(self) -> None:
        line = Line("fast", 0)
        line.ask(Ask("fast", 1, Wait.LONG), 0, quiet=True)
        self.assertFalse(line.is_silent(3.4))
        self.assertTrue(line.is_silent(3.6))
        line.heard(3.6)
        self.assertFalse(line.is_silent(5))
        self.assertFalse(Line("fast", 0).is_silent(99))


if __name__ == "__main__":
    unittest.main()
