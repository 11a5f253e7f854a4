"""What events say about objects in the store: which are kept from then on, and which are not any more.

Declared beside the events, so that what is there can be compared with what should be. What belongs to a workspace goes
when that is forgotten, and nobody has to say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from domain.kernel import Event, Value


class Kept(Value):
    """An object that should be there, and what is known of its bytes; `until` names what ends its time."""

    key: str
    size: int | None = None
    sha256: str | None = None
    until: str = ""


#: What each kind of event keeps, and what it ends: keys, or what was named in `until`.
KEEPS: dict[type[Event], Callable[[Any], Iterable[Kept]]] = {}
LETS_GO: dict[type[Event], Callable[[Any], Iterable[str]]] = {}


def keeps(kind: type[Event], what: Callable[[Any], Iterable[Kept]]) -> None:
    """From this event on, these objects are there."""
    assert kind not in KEEPS, f"{kind.__name__} says twice what it keeps"
    KEEPS[kind] = what


def lets_go(*kinds: type[Event], what: Callable[[Any], Iterable[str]]) -> None:
    """After any of these events, these objects need not be there."""
    for kind in kinds:
        assert kind not in LETS_GO, f"{kind.__name__} says twice what it lets go"
        LETS_GO[kind] = what
