"""The categories that beats are asked for by, from `catalogue.json` beside this file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources

import msgspec

from adapters.band.score import Brief
from domain.beats.templates import Template

#: The hyphens and dashes that people write between genre and style.
DASHES = re.compile(r"\s*[-\u2010-\u2015\u2212]+\s*")


class UnknownCategory(ValueError):
    """A category that is not in the catalogue."""


@lru_cache(maxsize=1)
def catalogue() -> tuple[Template, ...]:
    """All categories, genre by genre."""
    data = resources.files("adapters.band").joinpath("catalogue.json").read_bytes()
    return msgspec.json.decode(data, type=tuple[Template, ...])


def plain(name: str) -> str:
    """A category's name as it is compared: any dash, any spaces around dashes and strokes, any case."""
    name = re.sub(r"\s*/\s*", "/", DASHES.sub("-", name.strip()))
    return " ".join(name.casefold().split())


def find(category: str, among: Sequence[Template] | None = None) -> Template:
    """The template of this name; raises `UnknownCategory`."""
    wanted = plain(category)
    for template in catalogue() if among is None else among:
        if plain(template.category) == wanted:
            return template
    raise UnknownCategory(
        f"There is no category {category!r}.{_meant(wanted)} `ledgerline generate --list` shows what there is."
    )


def _meant(wanted: str) -> str:
    """Which category somebody may have had in mind, as a sentence."""
    known = {plain(template.category): template.category for template in catalogue()}
    near = get_close_matches(wanted[:80], known, n=1, cutoff=0.7)
    return f" Did you mean {known[near[0]]!r}?" if near else ""


def brief_of(
    template: Template,
    *,
    seed: int,
    take: int = 1,
    bpm: int | None = None,
    key: str | None = None,
    seconds: float = 180.0,
) -> Brief:
    """What a template asks of the band."""
    return Brief(
        genre=template.genre,
        style=template.style,
        mood=template.mood,
        bpm=bpm,
        key=key,
        seconds=seconds,
        seed=seed,
        take=take,
        bpm_min=template.bpm_min,
        bpm_max=template.bpm_max,
    )
