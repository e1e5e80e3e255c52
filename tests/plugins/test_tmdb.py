"""The plugin `tmdb` as it is built, packed and installed, over the demo library, against a stand-in of the service."""

from __future__ import annotations

import unittest
from typing import Any

from fleet import STAGE, Fleet, demo_library, the_stand_in, until

stand_in = the_stand_in()
HARBOUR = "Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019).mkv"
WAY_HOME = "Movies/The.Long.Way.Home.2021.1080p.BluRay.x264-GROUP/The.Long.Way.Home.2021.1080p.BluRay.x264-GROUP.mkv"
SUMMER = "Movies/Été à la mer (2020)/Été à la mer (2020).mp4"
EPISODE = "Shows/Night Signal/Season 01/Night.Signal.S01E02.The.Relay.720p.WEB-DL.AAC2.0.H.264-TEAM.mkv"
ANIME = "Anime/Show Title/[Group] Show Title - 03 [1080p][ABCD1234].mkv"
FILMS = [
    {"id": 501, "title": "The Quiet Harbour", "release_date": "2019-03-01", "overview": "A ferry that is late.", "genres": [{"name": "Drama"}]},
    {"id": 502, "title": "The Quiet Harbour", "release_date": "1974-01-01"},
    # Known by another name abroad, and a year later there.
    {"id": 503, "title": "The Long Way Home", "original_title": "Der lange Weg", "release_date": "2022-01-05"},
    {"id": 504, "title": "Été à la mer", "release_date": "2020-07-14", "credits": {"crew": [{"job": "Director", "name": "Zoë Noël"}]}},
]
SHOW = {"id": 601, "name": "Night Signal", "first_air_date": "2018-10-01", "overview": "A station that nobody runs.", "genres": [{"name": "Mystery"}]}
RELAY = {"id": 611, "name": "The Relay", "overview": "Somebody answers.", "air_date": "2018-10-08", "still_path": "/relay.jpg"}
ANSWERS = {**{f"/3/movie/{film['id']}": film for film in FILMS}, "/3/tv/601": SHOW, "/3/tv/601/season/1/episode/2": RELAY}
PER_SECOND = 4
ADVICE = "set `token` to the API Read Access Token"


class Tmdb(unittest.TestCase):
    def setUp(self) -> None:
        self.api = stand_in.StandIn(FILMS, [SHOW], ANSWERS)
        self.api.begin()
        self.addCleanup(self.api.end)
        self.library = demo_library()

    def fleet(self, token: str) -> Fleet:
        """A fleet with the plugin, whose token comes from the environment of the fleet."""
        fleet = Fleet(TMDB_TOKEN=token)
        self.addCleanup(fleet.close)
        fleet.install("tmdb")
        config = {"token": "${TMDB_TOKEN}", "apiUrl": self.api.url, "requestsPerSecond": PER_SECOND}
        fleet.settle(file_info={}, filename_parser={}, tmdb={"permissions": ["network.http"], "config": config})
        fleet.up("--plugin-dir", str(STAGE / "plugins"))
        return fleet

    def row(self, fleet: Fleet) -> dict[str, Any]:
        """What `status` says of the plugin."""
        return next(one for one in fleet.read("status")["plugins"] if one["id"] == "tmdb")

    def test_the_demo_library_is_looked_up_no_faster_than_it_may_be(self) -> None:
        self.api.refusals = [(429, {"Retry-After": "3"})]
        fleet = self.fleet(stand_in.TOKEN)
        fleet.serves("tmdb", "filename-parser")
        fleet.run("scan", str(self.library), "--wait", "--only", "tmdb")

        harbour, film, holiday, episode = (fleet.meta(self.library / name) for name in (HARBOUR, WAY_HOME, SUMMER, EPISODE))
        self.assertEqual((harbour["tmdb/id"], harbour["plot"], harbour["genres"]), ("501", "A ferry that is late.", ["Drama"]))
        self.assertEqual((film["originalTitle"], holiday["directors"]), ("Der lange Weg", ["Zoë Noël"]))
        self.assertEqual((episode["showTitle"], episode["title"], episode["tmdb/episodeId"]), ("Night Signal", "The Relay", "611"))
        for name in (HARBOUR, WAY_HOME, SUMMER, EPISODE):
            done = fleet.outcome("tmdb", self.library / name)
            self.assertEqual((done["status"], done["attempt"]), ("completed", 1), "waiting costs no attempt")
        anime = fleet.outcome("tmdb", self.library / ANIME)
        self.assertEqual((anime["status"], anime["note"]), ("skipped", "TMDB knows no show `Show Title`"))

        times = [one.at for one in self.api.asked]
        self.assertGreater(times[1] - times[0], 2.9, "nothing is asked until the time is over")
        # The turns are that far apart; how long a request needs to get there differs.
        self.assertGreater(times[-1] - times[1], 0.8 * (len(times) - 2) / PER_SECOND)
        self.assertEqual(sum(one.path == "/3/tv/601" for one in self.api.asked), 1, "a show is asked for once")

        said = fleet.run("plugin", "show", "tmdb") + fleet.run("plugin", "config", "get", "tmdb") + fleet.run("plugin", "logs", "tmdb")
        self.assertIn("token = ***", said)
        fleet.down()
        told = [path for path in [*fleet.data.rglob("*"), fleet.home / "up.log"] if path.is_file() and stand_in.TOKEN.encode() in path.read_bytes()]
        self.assertEqual((stand_in.TOKEN in said, told), (False, []), "the token is nowhere")

    def test_a_wrong_token_is_told_by_status_fails_nothing_and_can_be_mended(self) -> None:
        fleet = self.fleet("not-the-right-one")
        until("the refusal in `status`", lambda: ADVICE in fleet.run("status"))
        fleet.run("scan", str(self.library / HARBOUR), "--only", "tmdb")
        until("the task that waits", lambda: self.row(fleet)["pending"])
        row = self.row(fleet)
        self.assertEqual((row["ready"], row["failing"], self.api.asked), (0, 1, []))
        self.assertNotIn("not-the-right-one", fleet.run("plugin", "logs", "tmdb") + fleet.run("status"))

        secret = fleet.home / "token"
        secret.write_text(stand_in.TOKEN)
        fleet.run("plugin", "config", "set", "tmdb", "--from-file", f"token={secret}")
        fleet.run("scan", str(self.library / HARBOUR), "--wait", "--only", "tmdb")
        self.assertEqual(fleet.meta(self.library / HARBOUR)["tmdb/id"], "501")
        self.assertNotIn(ADVICE, fleet.run("status"))

        # Taken back while it runs: files wait, and are not failed.
        self.api.revoked = True
        fleet.run("scan", str(self.library / SUMMER), "--only", "tmdb")
        until("the refusal in `status` again", lambda: ADVICE in fleet.run("status"))
        self.assertEqual(fleet.read("dead", "list"), [])


if __name__ == "__main__":
    unittest.main()
