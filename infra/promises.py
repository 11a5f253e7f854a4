"""Writes down what is promised of published events: `python -m infra.promises`, after a type or version was added.

What has been promised is never changed. A shape may grow by fields that may be missing and by words of an enumeration,
as a version of its own; whatever else would break those who read it, and is a new type beside the old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import json

from domain.discovery import modules
from domain.published import promised

Schema = Mapping[str, Any]

#: What is told of a value for people, and what is compared in a way of its own.
_APART = frozenset({"$schema", "$defs", "title", "description", "properties", "required", "enum", "items", "anyOf"})


class BrokenPromise(Exception):
    """A published schema would change so that whoever reads by it stumbles."""


def broken(before: Schema, after: Schema) -> list[str]:
    """What whoever reads by the older schema would stumble over in what the newer one allows, a sentence for each."""
    return list(_broken(before, after, before, after, "data"))


def _broken(before: Schema, after: Schema, old: Schema, new: Schema, at: str) -> Iterator[str]:
    before, after = _meant(before, old), _meant(after, new)
    yield from _narrowed(before, after, at)
    for name, part in before.get("properties", {}).items():
        if name not in after.get("properties", {}):
            yield f"{at}.{name}: it is gone"
        else:
            yield from _broken(part, after["properties"][name], old, new, f"{at}.{name}")
    for name in sorted(set(before.get("required", ())) ^ set(after.get("required", ()))):
        yield f"{at}.{name}: it {'may be missing' if name in before.get('required', ()) else 'is required'} now"
    for word in ("items", "anyOf"):
        parts, now = _parts(before.get(word)), _parts(after.get(word))
        if len(parts) != len(now):
            yield f"{at}: {word} has {len(now)} parts instead of {len(parts)}"
        else:
            for number, (part, other) in enumerate(zip(parts, now, strict=True)):
                yield from _broken(part, other, old, new, f"{at}.{word}[{number}]")


def _narrowed(before: Schema, after: Schema, at: str) -> Iterator[str]:
    for word in sorted((before.keys() | after.keys()) - _APART):
        if before.get(word) != after.get(word):
            yield f"{at}: {word} was {before.get(word)!r} and is {after.get(word)!r}"
    for gone in [each for each in before.get("enum", ()) if each not in after.get("enum", ())]:
        yield f"{at}: {gone!r} is not among its words any more"
    if "enum" in after and "enum" not in before:
        yield f"{at}: only some words are left"


def _meant(part: Schema, whole: Schema) -> Schema:
    reference = part.get("$ref")
    return part if reference is None else whole["$defs"][reference.rpartition("/")[2]]


def _parts(parts: Any) -> list[Schema]:
    return parts if isinstance(parts, list) else [] if parts is None else [parts]


def kept(versions: Mapping[str, Schema]) -> None:
    """Raise BrokenPromise when a version breaks the one before it."""
    ordered = [versions[number] for number in sorted(versions, key=int)]
    for before, after in pairwise(ordered):
        if problems := broken(before, after):
            raise BrokenPromise(f"{after['title']}: {'; '.join(problems)}")


def main() -> None:
    """Add what is not promised yet; raises BrokenPromise for what would be another promise than before."""
    for module in modules("projections", "published"):
        promises = promised(module.__name__)
        for each in module.PUBLISHED:
            versions = promises.setdefault(each.type, {})
            schema = json.decode(json.encode(each.schema()))
            if versions.setdefault(str(each.version), schema) != schema:
                raise BrokenPromise(f"{each.type} is not what version {each.version} promises: raise its version")
            kept(versions)
        assert module.__file__ is not None
        text = json.format(json.encode(promises, order="deterministic"), indent=1)
        Path(module.__file__).with_name("published.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
