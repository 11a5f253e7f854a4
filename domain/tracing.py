"""Which trace what happens now belongs to: the W3C `traceparent` of whoever asked, and spans for who collects them.

A request may bring one (https://www.w3.org/TR/trace-context/). It is written beside every event that follows, and what
follows from an event goes on under it, in whatever process: so webhooks carry it out again, and log lines name the
trace. Nothing is decided by it: anybody may send any.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Literal, Protocol

#: The `traceparent` that what happens now belongs to; each request and each job is a task of its own, and so is this.
TRACE: ContextVar[str | None] = ContextVar("traceparent", default=None)

HEADER = "traceparent"
#: Version, trace, parent and flags; ids of zeros are none, and what a later version adds comes behind another hyphen.
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LENGTH_MAX = 512

Kind = Literal["server", "internal", "producer", "consumer", "client"]


def traceparent(said: str) -> str | None:
    """What a header says, as this version writes it; None for whatever is no `traceparent`."""
    if len(said) > _LENGTH_MAX or (found := _FORM.fullmatch(said)) is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "00" and more is not None:
        return None
    # Of the flags those that mean something in version 00 go on: sampled, and that the id was drawn at random.
    return f"00-{trace_id}-{parent_id}-{int(flags, 16) & 3:02x}"


def trace_id(parent: str) -> str:
    """The trace that a `traceparent` is of: 32 digits in hex."""
    return parent[3:35]


class following:  # noqa: N801 - a word at the head of a block
    """Work that goes on in the trace of an event; None: in none."""

    __slots__ = ("_token", "_traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self._traceparent = traceparent

    def __enter__(self) -> None:
        self._token = TRACE.set(self._traceparent)

    def __exit__(self, *_: object) -> None:
        TRACE.reset(self._token)


class Span(Protocol):
    """A piece of work with its time."""

    def rename(self, name: str) -> None:
        """Call it what it turned out to be."""

    def note(self, **facts: str | int) -> None:
        """Say more of it; an HTTP status is called `status`."""


#: Begins a span below `TRACE`, which names that span until it ends.
Begin = Callable[[str, Kind, dict[str, str | int]], AbstractContextManager[Span]]


class _Nothing:
    """The span that nobody collects."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def rename(self, name: str) -> None:
        """Nothing."""

    def note(self, **facts: str | int) -> None:
        """Nothing."""


_NOTHING = _Nothing()
_begin: Begin | None = None


def collect(begin: Begin | None) -> None:
    """Have the spans of this process begun by somebody who collects them, or by nobody."""
    global _begin  # noqa: PLW0603 - as logging, this is one for the process
    _begin = begin


def span(name: str, kind: Kind = "internal", **facts: str | int) -> AbstractContextManager[Span]:
    """A piece of work, for whoever collects them: what is begun inside is below it. Costs nothing where nobody does.

    Only a request ("server") begins a trace; everything else is a span where it belongs to one.
    """
    if _begin is None or (kind != "server" and TRACE.get() is None):
        return _NOTHING
    return _begin(name, kind, facts)
