"""A stand-in that answers as api.themoviedb.org v3 does, on a port of this machine.

As a program it prints, as one line of JSON, the settings with which the plugin asks it, and serves until its standard input
ends: so the conformance kit is given it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "eyJ.access.token"
FILMS = [
    {"id": 1, "title": "Metropolis", "original_title": "Metoroporisu", "release_date": "2001-05-26"},
    {"id": 19, "title": "Metropolis", "original_title": "Metropolis", "release_date": "1927-02-06"},
]
FILM = {
    **FILMS[1], "overview": "In a futuristic city …", "tagline": "", "runtime": 153, "poster_path": "/p.jpg", "vote_average": 8.1,
    "vote_count": 2500, "original_language": "de", "status": "Released", "imdb_id": "tt0017136",
    "genres": [{"id": 18, "name": "Drama"}, {"id": 878, "name": "Science Fiction"}],
    "production_companies": [{"name": "UFA"}], "production_countries": [{"iso_3166_1": "DE", "name": "Germany"}],
    "external_ids": {"imdb_id": "tt0017136", "wikidata_id": "Q151599"}, "belongs_to_collection": None,
    "credits": {
        "cast": [{"name": "Brigitte Helm", "character": "Maria"}],
        "crew": [{"job": "Director", "name": "Fritz Lang"}, {"job": "Screenplay", "name": "Thea von Harbou"}],
    },
}
SHOW = {
    "id": 70523, "name": "Dark", "original_name": "Dark", "first_air_date": "2017-12-01", "overview": "A missing child …",
    "external_ids": {"tvdb_id": 334824}, "genres": [{"name": "Mystery"}], "poster_path": "/d.jpg", "credits": {"crew": [], "cast": []},
}
EPISODE = {
    "id": 1362483, "name": "Secrets", "overview": "In 2019 …", "air_date": "2017-12-01", "runtime": 51, "still_path": "/s.jpg",
    "crew": [{"job": "Director", "name": "Baran bo Odar"}],
}
ANSWERS: dict[str, Any] = {
    "/3/movie/19": FILM, "/3/tv/70523": SHOW, "/3/tv/70523/season/1/episode/1": EPISODE,
    "/3/find/tt0017136": {"movie_results": [FILMS[1]], "tv_results": []},
}


@dataclass(frozen=True)
class Asked:
    """A request for data, and when it came."""

    path: str
    query: Mapping[str, str]
    at: float


class StandIn(ThreadingHTTPServer):
    """The service, with these films and shows to search among, and an answer for each path."""

    daemon_threads = True

    def __init__(self, films: Sequence[dict[str, Any]] = FILMS, shows: Sequence[dict[str, Any]] = (SHOW,),
                 answers: Mapping[str, Any] = ANSWERS) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.films, self.shows, self.answers = films, shows, answers
        self.asked: list[Asked] = []
        # What is answered before anything else, one after the other.
        self.refusals: list[tuple[int, dict[str, str]]] = []
        # Whether no token is accepted any more.
        self.revoked = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/3"

    def begin(self) -> None:
        """Answers until `end`."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        check = parts.path == "/3/authentication"
        if not check:
            self.server.asked.append(Asked(parts.path, query, time.monotonic()))
        right = self.headers["Authorization"] == f"Bearer {TOKEN}" or query.get("api_key") == "0" * 32
        if self.server.revoked or not right:
            return self.answer(401, {"status_code": 7, "status_message": "Invalid API key: You must be granted a valid key."})
        if check:
            return self.answer(200, {"success": True, "status_code": 1, "status_message": "Success."})
        if self.server.refusals:
            status, headers = self.server.refusals.pop(0)
            return self.answer(status, {"status_code": 25, "status_message": "over the allowed limit"}, headers)
        if parts.path == "/3/search/movie":
            return self.found(self.server.films, "title", query, query.get("year"))
        if parts.path == "/3/search/tv":
            return self.found(self.server.shows, "name", query, query.get("first_air_date_year"))
        if parts.path in self.server.answers:
            return self.answer(200, self.server.answers[parts.path])
        return self.answer(404, {"status_code": 34, "status_message": "The resource you requested could not be found."})

    def found(self, among: Sequence[dict[str, Any]], field: str, query: dict[str, str], year: str | None) -> None:
        wanted = query["query"].casefold()
        released = "release_date" if field == "title" else "first_air_date"
        results = [one for one in among if wanted in one[field].casefold() and year in (None, one[released][:4])]
        self.answer(200, {"page": 1, "results": results, "total_results": len(results)})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        octets = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(octets)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


def main() -> None:
    api = StandIn()
    api.begin()
    print(json.dumps({"token": TOKEN, "apiUrl": api.url, "requestsPerSecond": 1000}), flush=True)
    sys.stdin.read()
    api.end()


if __name__ == "__main__":
    main()
