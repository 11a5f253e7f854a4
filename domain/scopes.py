"""What an API key may be allowed to do: a scope, declared by the context whose routes it opens, and found."""

from __future__ import annotations

from functools import cache

from domain.discovery import extensions, modules
from domain.kernel import Value


class Scope(Value):
    """One thing that a key may do, in a sentence.

    Keys list their scopes by `place` and then by name.
    """

    name: str
    says: str
    place: int = 100


def scopes() -> dict[str, Scope]:
    """Every scope by its name, in the order in which keys list them."""
    return _scopes(extensions())


@cache
def _scopes(_: tuple[str, ...]) -> dict[str, Scope]:
    found = {
        id(thing): thing for each in modules("domain") for thing in vars(each).values() if isinstance(thing, Scope)
    }
    named = {each.name: each for each in sorted(found.values(), key=lambda each: (each.place, each.name))}
    assert len(named) == len(found), "two scopes have one name"
    return named
