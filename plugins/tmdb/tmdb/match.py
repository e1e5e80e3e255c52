"""PURE. Which of the results of a search is the film or show that a file name speaks of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

# Less alike than this, it is taken for something else.
LEAST_SIMILARITY = 0.82
# Films are released in some countries a year after others.
YEARS_APART = 1


@dataclass(frozen=True)
class Match:
    """One result, and why it was taken."""

    id: int
    how: str


def choose(results: Sequence[dict[str, Any]], title: str, year: int | None) -> Match | None:
    """Takes the most similar title; of equally similar ones that of the year, then the first, which is the best known.

    Where the year is known, one of another year is not taken.
    """
    best: tuple[float, float, int] | None = None
    found: Match | None = None
    for place, result in enumerate(results):
        similarity, released = likeness(result, title), year_of(result)
        if similarity < LEAST_SIMILARITY or not isinstance(result.get("id"), int):
            continue
        apart = abs(released - year) if year and released else None
        if apart is not None and apart > YEARS_APART:
            continue
        rank = (similarity, -apart if apart is not None else -0.5, -place)
        if best is None or rank > best:
            best, found = rank, Match(result["id"], _how(similarity, apart))
    return found


def _how(similarity: float, apart: int | None) -> str:
    if similarity < 1:
        return "similar title"
    return "title and year" if apart is not None else "title"


def likeness(result: dict[str, Any], title: str) -> float:
    """How alike the title and that of a result are, from 0 to 1."""
    wanted = plain(title)
    names = (result.get(name) for name in ("title", "original_title", "name", "original_name"))
    return max((_alike(wanted, plain(name)) for name in names if isinstance(name, str)), default=0.0)


def _alike(one: str, other: str) -> float:
    return 1.0 if one == other else min(0.99, SequenceMatcher(None, one, other, autojunk=False).ratio())


def plain(title: str) -> str:
    """A title without case, accents, punctuation, and leading articles."""
    decomposed = unicodedata.normalize("NFKD", title.casefold().replace("&", " and "))
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    words = re.sub(r"[^\w]+|_", " ", letters).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("the", "a", "an", "der", "die", "das", "le", "la") else words)


def year_of(result: dict[str, Any]) -> int | None:
    """The year of a release or of a first broadcast."""
    day = result.get("release_date") or result.get("first_air_date")
    return int(day[:4]) if isinstance(day, str) and day[:4].isdecimal() else None
