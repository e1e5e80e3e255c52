"""The plugin against a stand-in of the service."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

from metafleet import RetryableError, RetryLater, Skipped
from metafleet.testing import Bench, Report
from metafleet.version import VERSION

from tmdb.api import Api, Busy, Pace, is_key, retry_after
from tmdb.match import choose, plain
from tmdb.plugin import Tmdb

from .stand_in import FILMS, TOKEN, StandIn


class OnStandIn(unittest.TestCase):
    def setUp(self) -> None:
        self.api = StandIn()
        self.api.begin()
        self.addCleanup(self.api.end)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "video.mkv")
        self.file.write_bytes(b"\x1aE\xdf\xa3")
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.plugin = Tmdb()

    def look_up(self, settings: dict[str, Any] | None = None, **known: str) -> Report:
        existing = {f"filename/{name.replace('__', '/')}": text for name, text in known.items()}
        given = {"token": TOKEN, "apiUrl": self.api.url, "requestsPerSecond": 1000, **(settings or {})}
        return Bench(self.plugin, settings=given, existing=existing).run(self.file)

    def test_a_film_is_found_by_title_and_year(self) -> None:
        report = self.look_up(type="movie", title="metropolis", year="1927", settings={"language": "de-DE"})
        self.assertIsNone(report.error)
        meta = report.meta
        self.assertEqual((meta["title"], meta["year"], meta["runtime"], meta["tmdb/id"]), ("Metropolis", "1927", "153", "19"))
        self.assertEqual((meta["genres"], meta["directors"], meta["writers"]), (["Drama", "Science Fiction"], ["Fritz Lang"], ["Thea von Harbou"]))
        self.assertEqual(meta["actors"], [{"name": "Brigitte Helm", "role": "Maria", "order": 0}])
        self.assertEqual((meta["tmdb/uniqueid/imdb"], meta["tmdb/match"]), ("tt0017136", "title and year"))
        self.assertEqual(meta["tmdb/poster"], "https://image.tmdb.org/t/p/original/p.jpg")
        self.assertNotIn("tagline", meta, "what TMDB does not know is left out")
        self.assertEqual({one.query["language"] for one in self.api.asked}, {"de-DE"})

    def test_an_episode_has_its_own_and_what_its_show_says(self) -> None:
        meta = self.look_up(type="episode", title="Dark", season="1", episode="1").meta
        self.assertEqual((meta["showTitle"], meta["title"], meta["plot"]), ("Dark", "Secrets", "In 2019 …"))
        self.assertEqual((meta["directors"], meta["tmdb/show/plot"], meta["tmdb/uniqueid/tvdb"]), (["Baran bo Odar"], "A missing child …", "334824"))
        asked = len(self.api.asked)
        unknown = self.look_up(type="episode", title="Dark", season="1", episode="99").meta
        self.assertEqual(unknown["showTitle"], "Dark")
        self.assertNotIn("title", unknown)
        self.assertEqual(asked, 3)

    def test_what_was_asked_is_remembered(self) -> None:
        bench = Bench(self.plugin, {"token": TOKEN, "apiUrl": self.api.url}, {"filename/type": "movie", "filename/title": "Metropolis"})
        self.plugin.configure(bench._settings | {"imageUrl": "x", "language": "en-US"})
        self.plugin.configure = lambda settings: None  # type: ignore[method-assign]
        first, second = bench.run(self.file), bench.run(self.file)
        self.assertEqual((first.meta, len(self.api.asked)), (second.meta, 2))

    def test_ids_in_the_name_go_before_titles(self) -> None:
        for known in ({"uniqueid__tmdb": "19"}, {"uniqueid__imdb": "tt0017136"}):
            self.api.asked.clear()
            meta = self.look_up(type="movie", title="Something else", **known).meta
            self.assertEqual((meta["title"], meta["tmdb/match"]), ("Metropolis", "id"))
            self.assertFalse([one for one in self.api.asked if "search" in one.path])

    def test_what_is_not_known_is_skipped(self) -> None:
        for known, words in (
            ({"type": "track", "title": "x"}, "no film and no episode"), ({"type": "movie"}, "no title"),
            ({"type": "movie", "title": "No such film", "year": "1999"}, "no film `No such film` of 1999"),
            ({"type": "movie", "title": "Metropolis", "year": "1950"}, "no film `Metropolis` of 1950"),
            ({"type": "episode", "title": "Nothing"}, "no show `Nothing`"), ({"type": "movie", "title": "x", "uniqueid__tmdb": "5"}, "no film"),
        ):
            said = self.look_up(**known).said
            self.assertIsInstance(said, Skipped, known)
            self.assertIn(words, said.reason)

    def test_it_waits_as_long_as_it_is_told_to_and_asks_nothing_meanwhile(self) -> None:
        for status, headers, seconds in ((429, {"Retry-After": "7"}, 7), (503, {"Retry-After": "120"}, 120), (429, {}, 10)):
            self.api.refusals, self.plugin = [(status, headers)], Tmdb()
            said = self.look_up(type="movie", title="Metropolis").said
            self.assertEqual((type(said), said.after), (RetryLater, seconds))
        api = self.plugin._api
        self.plugin.configure = lambda settings: None  # type: ignore[method-assign]
        self.plugin._api, asked = api, len(self.api.asked)
        said = self.look_up(type="movie", title="Metropolis").said
        self.assertIsInstance(said, RetryLater)
        self.assertEqual(len(self.api.asked), asked)

    def test_who_waits_for_a_turn_when_another_is_told_to_wait_asks_nothing(self) -> None:
        self.api.refusals = [(429, {"Retry-After": "60"})]
        api = Api(self.api.url, TOKEN, "en-US", 2)
        said: list[float] = []

        def ask(path: str) -> None:
            try:
                api.get(path, {}, lambda seconds: bool(time.sleep(seconds)), 10)
            except Busy as busy:
                said.append(busy.after)

        both = [threading.Thread(target=ask, args=(f"/movie/{number}",)) for number in (19, 20)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        self.assertEqual((len(said), len(self.api.asked)), (2, 1))

    def test_failures_say_what_to_do(self) -> None:
        refused = self.look_up(type="movie", title="Metropolis", settings={"token": "wrong"}).error or ""
        self.assertIn("set `token`", refused)
        self.assertNotIn("wrong", refused)
        self.assertFalse(self.api.asked, "settings that are refused do nothing")
        self.api.refusals = [(500, {})]
        broken = self.look_up(type="movie", title="Metropolis")
        self.assertIsInstance(broken.said, RetryableError)
        away = self.look_up(type="movie", title="Metropolis", settings={"apiUrl": "http://127.0.0.1:1/3"})
        self.assertIsInstance(away.said, RetryableError)
        for odd in ("secret\nof two lines", "secret of words", "secret\u00e9"):
            said = self.look_up(type="movie", title="x", settings={"token": odd}).error or ""
            self.assertIn("in no token", said)
            self.assertNotIn("secret", said)
        for settings, words in (({"token": ""}, "token"), ({"apiUrl": "ftp://x"}, "apiUrl"), ({"requestsPerSecond": 0.0001 - 1}, "requestsPerSecond")):
            self.assertIn(words, self.look_up(type="movie", title="x", settings=settings).error or "")

    def test_a_token_that_is_not_accepted_any_more_fails_no_file_and_is_told(self) -> None:
        self.plugin.configure({"token": TOKEN, "apiUrl": self.api.url, "imageUrl": "x"})
        self.assertIsNone(self.plugin.health())
        self.plugin.configure = lambda settings: None  # type: ignore[method-assign]
        self.api.revoked = True
        for _ in range(2):
            said = self.look_up(type="movie", title="Metropolis").said
            self.assertIsInstance(said, RetryLater)
            self.assertIn("set `token`", said.reason)
        self.assertEqual((len(self.api.asked), "set `token`" in (self.plugin.health() or "")), (1, True))

    def test_a_key_of_version_3_goes_into_the_query(self) -> None:
        self.assertIsNone(self.look_up(type="movie", title="Metropolis", settings={"token": "0" * 32}).error)
        self.assertEqual({one.query.get("api_key") for one in self.api.asked}, {"0" * 32})


class Decisions(unittest.TestCase):
    def test_the_right_result_is_taken(self) -> None:
        others = [{"id": 5, "title": "Metropolis II", "release_date": "1928-01-01"}]
        for title, year, expected in (
            ("Metropolis", 1927, (19, "title and year")), ("Metropolis", 2002, (1, "title and year")), ("Metropolis", None, (1, "title")),
            ("Metropolus", 1927, (19, "similar title")), ("Metropolis", 1950, None), ("Nosferatu", 1922, None),
        ):
            match = choose(others + FILMS, title, year)
            self.assertEqual((match.id, match.how) if match else None, expected, (title, year))
        self.assertIsNone(choose([], "x", None))

    def test_titles_are_compared_without_what_does_not_matter(self) -> None:
        for one, other in (("The Matrix", "matrix"), ("Amélie", "AMELIE"), ("Fast & Furious", "Fast and Furious"), ("WALL·E", "wall e"), ("The", "the")):
            self.assertEqual(plain(one), plain(other))

    def test_retry_after_is_a_number_or_a_date(self) -> None:
        for text, seconds in (("5", 5), ("0", 1), (None, 10), ("soon", 10), ("99999", 3600), ("Thu, 01 Jan 1970 00:02:00 GMT", 20)):
            self.assertEqual(retry_after(text, 100), seconds, text)

    def test_no_more_requests_a_second_than_allowed(self) -> None:
        pace = Pace(10)
        self.assertEqual([round(pace.turn(100.0), 2) for _ in range(4)], [0, 0.1, 0.2, 0.3])
        pace.close(200.0)
        self.assertEqual((pace.closed_for(150.0), pace.turn(150.0), pace.closed_for(201.0)), (50, 50, 0))

    def test_the_published_sdk_that_is_asked_for_is_the_one_that_this_was_tested_with(self) -> None:
        folder = Path(__file__).resolve().parents[1]
        for name in ("build", ".github/workflows/ci.yml"):
            self.assertIn(f"metafleet=={VERSION}", (folder / name).read_text(), name)

    def test_keys_and_tokens_are_told_apart(self) -> None:
        self.assertEqual([is_key(text) for text in ("0" * 32, "0" * 31, "g" * 32, TOKEN)], [True, False, False, False])


if __name__ == "__main__":
    unittest.main()
