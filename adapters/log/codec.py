"""Events to bytes and back: msgspec JSON, personal fields sealed, old shapes upcast."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from domain.keeping import NO_TEXT, CannotBeKept, check_text, check_values, checked_fields
from domain.kernel import ERASED, Event, TooLarge
from domain.vocabulary import events, personal_fields, renamed, upcast


class Seals(Protocol):
    """Closes and opens personal fields with the data key of their subject."""

    def seal(self, subject: str, field: str, text: str) -> str:
        """The sealed form of a text."""

    def unseal(self, subject: str, field: str, sealed: str) -> str | None:
        """The text, or None when the subject has been forgotten."""


class UnknownEvent(LookupError):
    """There is an event in the ledger whose name or shape this version does not know yet."""


class EventIsTooLarge(TooLarge):
    """This is {size} bytes large, and {size_max} are kept at most. Send less, or send it as a recording."""


#: What fits into one NATS message with its envelope (1 MiB by default); whatever is larger belongs into an object.
EVENT_BYTES_MAX = 768 * 1024

#: A zero character in JSON, which no text in Postgres can hold; after an escaped backslash these are just letters.
_ZERO = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_encode = msgspec.json.Encoder().encode


class _Shape(NamedTuple):
    """What is the same for all events of a kind: what is sealed, whether values are looked at, and what reads them."""

    personal: tuple[tuple[str, str], ...]
    is_checked: bool
    decode: Callable[[bytes], Event]


@cache
def _shape(kind: type[Event]) -> _Shape:
    return _Shape(personal_fields(kind), bool(checked_fields(kind)), msgspec.json.Decoder(kind).decode)


def encode(event: Event, seals: Seals) -> bytes:
    """The bytes of an event; its personal fields must have a data key already.

    No event is written that could not be read, folded and shown: raises CannotBeKept or EventIsTooLarge.
    """
    personal, is_checked, read = _shape(type(event))
    try:
        state = _encode(_sealed(event, personal, seals) if personal else event)
    except UnicodeEncodeError:
        raise CannotBeKept(problem=NO_TEXT) from None
    if b"\\u0000" in state and _ZERO.search(state):
        raise CannotBeKept(problem=NO_TEXT)
    if len(state) > EVENT_BYTES_MAX:
        raise EventIsTooLarge(size=len(state), size_max=EVENT_BYTES_MAX)
    if is_checked:
        check_values(event)
    try:
        read(state)
    except msgspec.DecodeError as unlike:
        raise CannotBeKept(problem=f"it has not the shape of {type(event).__name__} ({unlike})") from unlike
    return state


def _sealed(event: Event, personal: tuple[tuple[str, str], ...], seals: Seals) -> Event:
    sealed = {
        field: seals.seal(getattr(event, subject), field, check_text(text))
        for field, subject in personal
        if (text := getattr(event, field)) is not None
    }
    return replace(event, **sealed)


def decode(name: str, schema_version: int, state: bytes) -> Event:
    """The event as stored: in today's shape, its personal fields still sealed."""
    return reader(name, schema_version)(state)


def reader(name: str, schema_version: int) -> Callable[[bytes], Event]:
    """What reads the facts of one stored name and version, for whoever reads many; raises UnknownEvent."""
    name = renamed().get(name, name)
    kind = events().get(name)
    if kind is None or schema_version > kind.schema_version:
        raise UnknownEvent(f"{name} in version {schema_version}")
    if schema_version not in kind.upcasters:
        return _shape(kind).decode

    def read(state: bytes) -> Event:
        facts: dict[str, Any] = msgspec.json.decode(state)
        return msgspec.convert(upcast(kind, schema_version, facts), kind)

    return read


def decode_of_any_version(name: str, state: bytes) -> Event:
    """The event of facts whose version nobody tells: in the newest version that they fit.

    For readers who are not given the column; an older version that fits a newer shape as well is read as that.
    """
    kind = events().get(renamed().get(name, name))
    if kind is None:
        raise UnknownEvent(name)
    for version in range(kind.schema_version, 0, -1):
        try:
            return decode(name, version, state)
        except (msgspec.ValidationError, KeyError):
            continue
    raise UnknownEvent(f"{name} in no version")


def subjects(events: Iterable[Event]) -> set[str]:
    """The subjects whose data keys these events need."""
    return {
        getattr(event, subject)
        for event in events
        for field, subject in personal_fields(type(event))
        if getattr(event, field) is not None
    }


def unseal(event: Event, seals: Seals, *, only: Collection[str] | None = None) -> Event:
    """The event with its personal fields (or `only` these) readable; those of a forgotten subject read `ERASED`."""
    opened = {}
    for field, subject in personal_fields(type(event)):
        text = getattr(event, field)
        if text is not None and (only is None or field in only):
            clear = seals.unseal(getattr(event, subject), field, text)
            opened[field] = ERASED if clear is None else clear
    return replace(event, **opened) if opened else event
