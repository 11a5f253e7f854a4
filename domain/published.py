"""The events that other systems may rely on, each with a shape that keeps its promise.

A context says in `projections/<context>/published.py` which of its events are `PUBLISHED`; the others are its own
business and may change. `published.json` beside it is the promise: the JSON Schema of every version ever sent, which is
added to and never changed. Published facts are plain ones: whatever is personal, a digest, the key of an object or part
of an address that may be secret stays here, since nobody can take back what has been sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect, json, structs

from domain.discovery import modules
from domain.kernel import Event, Invalid, Value
from domain.vocabulary import name_of, personal_fields

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The media type of one event, a CloudEvent in structured JSON.
CLOUDEVENT = "application/cloudevents+json"
#: What is told instead of the facts of an event that this version cannot read, in its place.
UNREADABLE: Mapping[str, Any] = {"unreadable": True}

#: An address within JSON: who signs in with it and its query are not told.
_ADDRESS = re.compile(rb'://(?:(?:[^/\s@"\\]|\\.)*@)?((?:[^\s?#"\\]|\\.)*)(?:[?#](?:[^\s"\\]|\\.)*)?')
#: Fields of whatever event that stay here; the workspace is in the envelope.
_KEPT = frozenset({"workspace_id", "tenancy"})
_KEPT_ENDINGS = ("digest", "object_key")


class NoSuchType(Invalid):
    """There is no published event of the type {type}. Those there are stand in /asyncapi.json and /docs/events."""


class Published(Value):
    """A published event: its `type` outside, the event it tells of, and the `shape` of what is told, in its version.

    `read` finds what is told in the stored facts of an event.
    """

    kind: type[Event]
    shape: type[msgspec.Struct]
    type: str
    version: int
    read: Callable[[bytes], msgspec.Struct]

    @property
    def says(self) -> str:
        """What it means that this has happened."""
        return " ".join((self.kind.__doc__ or "").split())

    @property
    def context(self) -> str:
        """The context it belongs to."""
        return self.type.partition(".")[0]

    def data(self, event: Event) -> bytes:
        """What is told of an event, as JSON."""
        return _without_addresses(_encode(msgspec.convert(event, self.shape, from_attributes=True)))

    def data_of(self, state: bytes) -> bytes:
        """The same bytes, of an event that was stored in today's shape and can be read: several times as fast."""
        return _without_addresses(_encode(self.read(state)))

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what is told, in the newest version."""
        made = json.schema(self.shape)
        definitions = made["$defs"]
        top = definitions.pop(made["$ref"].rpartition("/")[2])
        top |= {"$schema": DIALECT, "title": self.type, "description": self.says}
        return {**top, "$defs": definitions} if definitions else dict(top)


_encode = json.Encoder().encode


def _without_addresses(told: bytes) -> bytes:
    return _ADDRESS.sub(rb"://\1", told) if b"://" in told else told


def published(
    kind: type[Event],
    *,
    hidden: Collection[str] = (),
    nested: Collection[str] = (),
    version: int = 1,
    name: str = "",
) -> Published:
    """An event as it is published: without its `hidden` fields, and of nested values with the named ones only.

    `name` is its type where that is not its stored name, because it was called otherwise before.
    """
    hints = get_type_hints(kind, include_extras=True)
    personal = {field for field, _ in personal_fields(kind)}
    shown: list[Any] = []
    for field in structs.fields(kind):
        is_kept = field.name in _KEPT or field.name.endswith(_KEPT_ENDINGS) or field.name in personal
        is_plain = _is_plain(inspect.type_info(hints[field.name]))
        assert not (is_kept or not is_plain) or field.name not in hidden, (
            f"{field.name} stays here without being hidden"
        )
        assert not (is_kept or is_plain) or field.name not in nested, f"{field.name} is not a nested value to tell"
        if not is_kept and field.name not in hidden and (is_plain or field.name in nested):
            shown.append((field.name, hints[field.name], _default(field)))
    shape = msgspec.defstruct(kind.__name__, shown, kw_only=True, frozen=True, gc=False, module=kind.__module__)
    return Published(
        type=name or name_of(kind), kind=kind, version=version, shape=shape, read=json.Decoder(shape).decode
    )


def _default(field: structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.field() if field.required else msgspec.field(default=field.default)


def _is_plain(kind: inspect.Type) -> bool:
    """Whether a value is a text, a number, a moment or the like, or a list of such."""
    match kind:
        case inspect.Metadata():
            return _is_plain(kind.type)
        case inspect.UnionType():
            return all(_is_plain(each) for each in kind.types)
        case inspect.VarTupleType():
            return _is_plain(kind.item_type)
    return isinstance(
        kind,
        inspect.StrType
        | inspect.IntType
        | inspect.FloatType
        | inspect.BoolType
        | inspect.NoneType
        | inspect.DateTimeType
        | inspect.DateType
        | inspect.LiteralType,
    )


@cache
def published_events() -> dict[str, Published]:
    """Every published event by its type, in the order of their names."""
    declared = [each for module in modules("projections", "published") for each in module.PUBLISHED]
    found = {each.type: each for each in sorted(declared, key=lambda each: each.type)}
    assert len(found) == len(declared), "two published events have the same type"
    return found


@cache
def by_stored_name() -> dict[str, Published]:
    """Every published event by the names that it is, or was, stored under."""
    return {
        name: each
        for each in published_events().values()
        for name in (name_of(each.kind), *vars(each.kind).get("formerly", ()))
    }


@cache
def schemas() -> dict[str, dict[int, dict[str, Any]]]:
    """The JSON Schemas of all published events, by type and version: those promised, and today's."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for module in modules("projections", "published"):
        for name, versions in promised(module.__name__).items():
            found[name] = {int(version): schema for version, schema in versions.items()}
    for name, each in published_events().items():
        found.setdefault(name, {}).setdefault(each.version, each.schema())
    return found


def promised(module: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What the file beside a declaring module promises: type, version, schema."""
    path = files(module.rpartition(".")[0]) / "published.json"
    return json.decode(path.read_bytes()) if path.is_file() else {}


def matching(patterns: Iterable[str]) -> list[Published]:
    """The published events whose types are among `patterns`, where `*` stands for anything; all of them for none.

    Raises NoSuchType for a pattern that none has.
    """
    chosen: dict[str, Published] = {}
    found = list(published_events().values())
    for pattern in patterns:
        one = [each for each in found if matches(pattern, each.type)]
        if not one:
            raise NoSuchType(type=pattern)
        chosen |= {each.type: each for each in one}
    return [each for each in found if each.type in chosen] if chosen else found


def matches(pattern: str, name: str) -> bool:
    """Whether a type is among those of a pattern.

    Each part between two stars is taken where it comes first, so that a pattern costs no more than its length: a
    regular expression would try every way to divide a name among many stars.
    """
    begin, *middle = pattern.split("*")
    if not middle:
        return name == pattern
    end = middle.pop()
    place, last = len(begin), len(name) - len(end)
    if last < place or not name.startswith(begin) or not name.endswith(end):
        return False
    for part in middle:
        found = name.find(part, place, last)
        if found < 0:
            return False
        place = found + len(part)
    return True
