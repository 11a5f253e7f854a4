"""The contract as its readers find it, whether as a page or as a text: by surface and subject, in one set of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from api.auth import ANY
from api.samples import operations, resolved

Json = Mapping[str, Any]

#: Shorter than the phrases of the HTTP standard, and not misleading.
SAID = {"200": "OK", "201": "Made", "202": "Accepted: it will be done", "204": "Done"}


class Field(NamedTuple):
    """A parameter, or a field of a body: words in backquotes are literal."""

    name: str
    kind: str
    text: str
    #: Where a parameter is.
    place: str = ""


class Body(NamedTuple):
    """What is sent or answered in a media type."""

    media: str
    fields: tuple[Field, ...]
    content: Json


class Outcome(NamedTuple):
    """A status, what it means, and what comes with it."""

    status: str
    text: str
    bodies: tuple[Body, ...]


class Operation(NamedTuple):
    """One operation, with everything that is said of it."""

    name: str
    method: str
    path: str
    text: str
    #: Who may: a sentence, or nothing where anybody may.
    credential: str
    notes: tuple[str, ...]
    parameters: tuple[Field, ...]
    bodies: tuple[Body, ...]
    answers: tuple[Outcome, ...]
    refusals: tuple[Outcome, ...]
    source: Json


#: Operations by subject.
Topics = dict[str, list[Operation]]


def by_surface(schema: Json) -> dict[str, Topics]:
    """What a reader finds together: the operations of each contract, and within it of each subject."""
    found: dict[str, Topics] = defaultdict(lambda: defaultdict(list))
    for method, path, source in operations(schema):
        found[source["tags"][0]][source["x-context"]].append(_operation(schema, method, path, source))
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


#: Names that are written otherwise than as words.
_WRITTEN = {"mcp": "MCP"}


def headline(name: str) -> str:
    """The name of a contract or subject as a headline."""
    return _WRITTEN.get(name) or f"{name[0].upper()}{name[1:]}".replace("_", " ")


def slug(name: str) -> str:
    """The name of a contract in an address."""
    return name.lower().replace(" ", "-")


def _operation(schema: Json, method: str, path: str, source: Json) -> Operation:
    outcomes = [
        Outcome(status, SAID.get(status, each.get("description", "")), _bodies(schema, each))
        for status, each in source["responses"].items()
    ]
    return Operation(
        name=source["operationId"],
        method=method,
        path=path,
        text=source.get("description") or source.get("summary", ""),
        credential=_credential(source),
        notes=tuple(source.get("x-security-notes", ())),
        parameters=tuple(_parameters(schema, source.get("parameters", ()))),
        bodies=_bodies(schema, source.get("requestBody", {})),
        answers=tuple(each for each in outcomes if each.status.startswith(("2", "3"))),
        refusals=tuple(each for each in outcomes if not each.status.startswith(("2", "3"))),
        source=source,
    )


def _credential(source: Json) -> str:
    if "x-role" not in source:
        return ""
    scope = source["x-scope"]
    if scope == ANY:
        return "Any key will do; what it leads to asks for scopes of its own."
    key = f"A key needs the scope `{scope}`" if scope else "A key cannot do this"
    return f"{key}; a person needs the role `{source['x-role']}`."


def _parameters(schema: Json, given: Iterable[Json]) -> Iterator[Field]:
    for each in given:
        kind = kind_of(schema, each.get("schema", {}))
        yield Field(each["name"], kind, _text(each, is_required=each.get("required", False)), each["in"])


def _bodies(schema: Json, within: Json) -> tuple[Body, ...]:
    return tuple(
        Body(media, tuple(_fields(schema, content.get("schema", {}))), content)
        for media, content in within.get("content", {}).items()
    )


def _fields(schema: Json, part: Json) -> Iterator[Field]:
    body = resolved(schema, part)
    if body.get("type") == "array":
        body = resolved(schema, body.get("items", {}))
    for name, field in body.get("properties", {}).items():
        yield Field(name, kind_of(schema, field), _text(field, is_required=name in body.get("required", ())))


def _text(part: Json, *, is_required: bool) -> str:
    return f"{'required. ' if is_required else ''}{part.get('description', '')}"


def kind_of(schema: Json, part: Json) -> str:
    """What a part of the contract takes, in words; literal ones stand in backquotes."""
    meant = resolved(schema, part)
    if meant is not part and "enum" not in meant:
        return str(part["$ref"]).rsplit("_", 1)[-1].rsplit("/", 1)[-1]
    match meant:
        case {"oneOf": choices} | {"anyOf": choices}:
            return " or ".join(dict.fromkeys(kind_of(schema, each) for each in choices))
        case {"const": word}:
            return f"`{word}`"
        case {"enum": words}:
            return " or ".join(f"`{word}`" for word in words)
        case {"type": "array"}:
            return f"list of {kind_of(schema, meant.get('items', {}))}"
    kind = meant.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
