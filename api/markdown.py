"""The contract as Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from api.contract import MEANINGS
from api.samples import operations, resolved

#: Shorter than the phrases of the HTTP standard, and not misleading.
SAID = {"200": "OK", "201": "Made", "202": "Accepted: it will be done", "204": "Done"}


#: Operations by subject: method, path and description of each.
Topics = dict[str, list[tuple[str, str, Mapping[str, Any]]]]


def by_surface(schema: Mapping[str, Any]) -> dict[str, Topics]:
    """What a reader finds together: the operations of each contract, and within it of each subject."""
    found: dict[str, Topics] = defaultdict(lambda: defaultdict(list))
    for method, path, operation in operations(schema):
        found[operation["tags"][0]][operation["x-context"]].append((method, path, operation))
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def headline(name: str) -> str:
    """The name of a contract or subject as a headline."""
    return f"{name[0].upper()}{name[1:]}".replace("_", " ")


def slug(name: str) -> str:
    """The name of a contract in an address."""
    return name.lower().replace(" ", "-")


def for_models(schema: Mapping[str, Any]) -> str:
    """The contract in brief, as llmstxt.org proposes: what there is, in a line each, and where to read on."""
    info = schema["info"]
    lines = [
        f"# {info['title']}",
        "",
        f"> {info['description']}",
        "",
        "Send a key as `X-API-Key`.",
        "",
        "## Contract",
        "",
    ]
    lines += [
        "- [Reference](/docs/api.md): every operation with its fields and refusals",
        "- [OpenAPI 3.1](/openapi.json): the same as data",
    ]
    surfaces = by_surface(schema)
    lines += [f"- [OpenAPI 3.1, {headline(each)} only](/openapi/{slug(each)}.json)" for each in surfaces]
    for surface, topics in surfaces.items():
        lines += ["", f"## {headline(surface)}", ""]
        for entries in topics.values():
            for method, path, operation in entries:
                sentence = operation["description"].split("\n", 1)[0]
                lines.append(f"- [{method} {path}](/docs#{operation['operationId']}): {sentence}")
    return "\n".join(lines) + "\n"


def markdown(schema: Mapping[str, Any]) -> str:
    """The whole contract as CommonMark with tables, by surface and within it by subject."""
    return "\n".join(_lines(schema)) + "\n"


def _lines(schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {schema['info']['title']} {schema['info']['version']}\n"
    yield f"{schema['info'].get('description', '')}\n"
    yield "Send your key as `X-API-Key` or as `Authorization: Bearer`."
    yield "The same contract as data: [/openapi.json](/openapi.json).\n"
    yield "A refusal has the status below and a body with `detail`.\n\n| status | meaning |\n|---|---|"
    yield from (f"| `{status}` | {meaning} |" for status, meaning in MEANINGS.items())
    yield ""
    for surface, topics in by_surface(schema).items():
        yield f"## {headline(surface)}\n"
        for topic, entries in topics.items():
            yield f"### {headline(topic)}\n"
            for entry in entries:
                yield from _operation(schema, *entry)


def _operation(schema: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"#### {method} {path}\n"
    yield f"{operation.get('description') or operation.get('summary', '')}\n"
    if "x-role" in operation:
        scope = operation["x-scope"]
        key = f"A key needs the scope `{scope}`" if scope else "A key cannot do this"
        yield f"{key}; a person needs the role `{operation['x-role']}`.\n"
    if notes := operation.get("x-security-notes"):
        yield "\n".join(f"- {note}" for note in notes) + "\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for each in parameters:
            needed = "required. " if each.get("required") else ""
            kind = kind_of(schema, each.get("schema", {}))
            yield f"| `{each['name']}` | {each['in']} | {kind} | {needed}{each.get('description', '')} |"
        yield ""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body (`{media}`):\n"
        yield from _fields(schema, content.get("schema", {}))
    refusals = []
    for status, response in operation["responses"].items():
        if not status.startswith("2"):
            refusals.append(f"`{status}`")
            continue
        yield f"**{status}** {SAID.get(status, response.get('description', ''))}\n"
        for content in response.get("content", {}).values():
            yield from _fields(schema, content.get("schema", {}))
    yield f"Refusals: {', '.join(refusals)}\n"


def _fields(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[str]:
    body = resolved(schema, part)
    if not body.get("properties"):
        return
    yield "| field | type | |\n|---|---|---|"
    for name, field in body["properties"].items():
        needed = "required. " if name in body.get("required", ()) else ""
        yield f"| `{name}` | {kind_of(schema, field)} | {needed}{field.get('description', '')} |"
    yield ""


def kind_of(schema: Mapping[str, Any], part: Mapping[str, Any]) -> str:
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
