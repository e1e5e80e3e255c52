"""PURE. Answers of TMDB as metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_MOST_ACTORS = 30
_WRITERS = ("Screenplay", "Writer", "Story", "Teleplay", "Author", "Novel")
_IDS = {"imdb_id": "imdb", "tvdb_id": "tvdb", "wikidata_id": "wikidata"}


def film(answer: dict[str, Any], images: str) -> dict[str, Any]:
    """A film."""
    collection = answer.get("belongs_to_collection") or {}
    return {
        **_common(answer, images, "movie"),
        **_people(answer.get("credits") or {}),
        "title": _text(answer.get("title")), "originalTitle": _text(answer.get("original_title")),
        "premiered": _text(answer.get("release_date")), "year": _text((answer.get("release_date") or "")[:4]),
        "runtime": answer.get("runtime") or None, "collection": _text(collection.get("name")),
        "plot": _text(answer.get("overview")),
    }


def episode(show: dict[str, Any], answer: dict[str, Any] | None, images: str) -> dict[str, Any]:
    """An episode, or what its show says where the episode is not known."""
    meta = {
        **_common(show, images, "tv"),
        **_people(show.get("credits") or {}),
        "showTitle": _text(show.get("name")), "originalTitle": _text(show.get("original_name")),
        "year": _text((show.get("first_air_date") or "")[:4]), "tmdb/show/plot": _text(show.get("overview")),
        "tmdb/show/premiered": _text(show.get("first_air_date")),
    }
    if answer is None:
        return meta
    crew = _people({"crew": answer.get("crew") or []})
    return {
        **meta,
        **{key: value for key, value in crew.items() if value},
        "title": _text(answer.get("name")), "plot": _text(answer.get("overview")), "premiered": _text(answer.get("air_date")),
        "runtime": answer.get("runtime") or None, "tmdb/episodeId": answer.get("id"),
        "tmdb/still": _image(images, answer.get("still_path")),
        "tmdb/rating": answer.get("vote_average") or None, "tmdb/votes": answer.get("vote_count") or None,
    }


def _common(answer: dict[str, Any], images: str, sort: str) -> dict[str, Any]:
    ids = {**(answer.get("external_ids") or {}), **({"imdb_id": answer["imdb_id"]} if answer.get("imdb_id") else {})}
    return {
        "tmdb/id": answer.get("id"), "tmdb/type": sort, "tmdb/url": f"https://www.themoviedb.org/{sort}/{answer.get('id')}",
        "tmdb/poster": _image(images, answer.get("poster_path")), "tmdb/backdrop": _image(images, answer.get("backdrop_path")),
        "tmdb/rating": answer.get("vote_average") or None, "tmdb/votes": answer.get("vote_count") or None,
        "tmdb/originalLanguage": _text(answer.get("original_language")), "tmdb/status": _text(answer.get("status")),
        "tagline": _text(answer.get("tagline")), "genres": _names(answer.get("genres")),
        "studios": _names(answer.get("production_companies")), "countries": _names(answer.get("production_countries")),
        **{f"tmdb/uniqueid/{name}": ids[field] for field, name in _IDS.items() if ids.get(field)},
    }


def _people(people: dict[str, Any]) -> dict[str, Any]:
    cast = [
        {"name": one["name"], "role": one.get("character") or "", "order": place}
        for place, one in enumerate(people.get("cast") or []) if one.get("name")
    ]
    crew = [(one.get("job"), one["name"]) for one in people.get("crew") or [] if one.get("name")]
    return {
        "actors": cast[:_MOST_ACTORS] or None,
        "directors": {name for job, name in crew if job == "Director"},
        "writers": {name for job, name in crew if job in _WRITERS},
    }


def _names(things: Iterable[dict[str, Any]] | None) -> set[str]:
    return {thing["name"] for thing in things or () if thing.get("name")}


def _text(value: object) -> str | None:
    """TMDB says with an empty text that it knows nothing."""
    return value if isinstance(value, str) and value.strip() else None


def _image(images: str, path: object) -> str | None:
    return f"{images.rstrip('/')}{path}" if isinstance(path, str) and path.startswith("/") else None
