"""Globs over names with slashes, for branches, tags and files: `*` stays within a part, `**` is any number of parts."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of these patterns is the whole name, as in `release/*`, `src/**` and `**.cpp`.

    Takes time in proportion to the parts of the name and of the pattern, whatever somebody has written into either.
    """
    parts = name.split("/")
    return any(_is(parts, _parts(pattern)) for pattern in patterns)


def _parts(pattern: str) -> list[str]:
    """The parts of a pattern; `**.cpp` is `*.cpp` at any depth, and `v**` whatever begins with v."""
    found: list[str] = []
    for part in pattern.split("/"):
        if part != "**" and part.startswith("**"):
            found += ["**", part[1:]]
        elif part != "**" and part.endswith("**"):
            found += [part[:-1], "**"]
        else:
            found.append(part)
    return found


def _is(name: list[str], pattern: list[str]) -> bool:
    # How many parts of the name may have been taken by the pattern so far.
    taken = {0}
    for part in pattern:
        if not taken:
            return False
        if part == "**":
            taken = set(range(min(taken), len(name) + 1))
        else:
            taken = {each + 1 for each in taken if each < len(name) and fnmatchcase(name[each], part)}
    return len(name) in taken
