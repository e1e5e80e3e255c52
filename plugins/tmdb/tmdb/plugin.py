"""The plugin: from what the file name says to what TMDB says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metafleet import Context, Outcome, Plugin, RetryableError, RetryLater, Settings, Skipped

from . import describe
from .api import Api, Busy
from .match import Match, choose

_FILM, _SHOW = "movie", "tv"
_FOUND_BY = {"imdb": "imdb_id", "tvdb": "tvdb_id"}


class Tmdb(Plugin):
    """Looks films and episodes up."""

    manifest = Path(__file__).resolve().parent.parent / "manifest.json"

    def configure(self, settings: Settings) -> None:
        token = (settings.get("token") or "").strip()
        if not token:
            raise ValueError("token: is required, see themoviedb.org/settings/api")
        # Said here, because who refuses it further down shows it.
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("token: has characters that are in no token; was it copied as a whole, and alone?")
        rate = settings.get("requestsPerSecond") or 20
        self._api = Api(settings["apiUrl"], token, settings.get("language") or "en-US", float(rate))
        self._images: str = settings["imageUrl"]
        if why := self._api.check():
            raise ValueError(why)

    def health(self) -> str | None:
        return self._api.refused

    def process(self, ctx: Context) -> Outcome:
        known = ctx.existing
        sort, title = known.get("filename/type"), known.get("filename/title")
        if sort not in ("movie", "episode"):
            return Skipped(f"the file name is that of no film and no episode, but of: {sort or 'nothing known'}")
        ids = {key.rpartition("/")[2]: text for key, text in known.items() if key.startswith("filename/uniqueid/")}
        if not title and not ids:
            return Skipped("the file name has no title")
        lookup = Lookup(self._api, ctx)
        try:
            if sort == "movie":
                return self._film(lookup, title or "", _number(known.get("filename/year")), ids)
            season, number = _number(known.get("filename/season")), _number(known.get("filename/episode"))
            return self._episode(lookup, title or "", _number(known.get("filename/year")), ids, season, number)
        except Busy as busy:
            return RetryLater(busy.after, str(busy))

    def _film(self, lookup: Lookup, title: str, year: int | None, ids: dict[str, str]) -> Outcome:
        match = lookup.find(_FILM, title, year, ids)
        answer = match and lookup.details(_FILM, match.id)
        if not match or not answer:
            return Skipped(f"TMDB knows no film `{title}`{f' of {year}' if year else ''}")
        return {**describe.film(answer, self._images), "tmdb/match": match.how}

    def _episode(
        self, lookup: Lookup, title: str, year: int | None, ids: dict[str, str], season: int | None, number: int | None
    ) -> Outcome:
        match = lookup.find(_SHOW, title, year, ids)
        show = match and lookup.details(_SHOW, match.id)
        if not match or not show:
            return Skipped(f"TMDB knows no show `{title}`{f' of {year}' if year else ''}")
        answer = lookup.episode(match.id, season, number) if season is not None and number is not None else None
        return {**describe.episode(show, answer, self._images), "tmdb/match": match.how}


class Lookup:
    """The questions about one file."""

    def __init__(self, api: Api, ctx: Context) -> None:
        self._api = api
        self._ctx = ctx

    def find(self, sort: str, title: str, year: int | None, ids: dict[str, str]) -> Match | None:
        """Goes by an id where the file name has one, else by title and year, else by title."""
        if (own := _number(ids.get("tmdb"))) is not None:
            return Match(own, "id")
        for name, source in _FOUND_BY.items():
            if name in ids and (found := self._by_id(sort, ids[name], source)):
                return found
        if not title:
            return None
        released = "year" if sort == _FILM else "first_air_date_year"
        queries = [{released: str(year)}, {}] if year else [{}]
        for query in queries:
            answer = self._get(f"/search/{sort}", {"query": title, "include_adult": "false", **query}) or {}
            if found := choose(_list(answer.get("results")), title, year):
                return found
        return None

    def details(self, sort: str, number: int) -> dict[str, Any] | None:
        """All about a film or a show."""
        return self._get(f"/{sort}/{number}", {"append_to_response": "external_ids,credits"})

    def episode(self, show: int, season: int, number: int) -> dict[str, Any] | None:
        """All about an episode; None if it is not known."""
        return self._get(f"/tv/{show}/season/{season}/episode/{number}", {})

    def _by_id(self, sort: str, text: str, source: str) -> Match | None:
        if not text.isalnum():
            return None
        answer = self._get(f"/find/{text}", {"external_source": source}) or {}
        results = _list(answer.get(f"{sort}_results"))
        return Match(results[0]["id"], "id") if results and isinstance(results[0].get("id"), int) else None

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        if self._ctx.cancelled:
            raise RetryableError("the attempt was ended")
        return self._api.get(path, query, self._ctx.wait_cancelled, self._ctx.remaining)


def _list(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _number(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() else None
