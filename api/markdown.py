"""The contract as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.contract import MEANINGS
from api.reference import Body, Operation, by_surface, headline, slug


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
        "- [Model Context Protocol](/mcp): the same as tools, for a key in `Authorization: Bearer`",
    ]
    surfaces = by_surface(schema)
    lines += [f"- [OpenAPI 3.1, {headline(each)} only](/openapi/{slug(each)}.json)" for each in surfaces]
    for surface, topics in surfaces.items():
        lines += ["", f"## {headline(surface)}", ""]
        for each in (each for entries in topics.values() for each in entries):
            lines.append(f"- [{each.method} {each.path}](/docs#{each.name}): {each.text.split(chr(10), 1)[0]}")
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
            for each in entries:
                yield from _operation(each)


def _operation(operation: Operation) -> Iterator[str]:
    yield f"#### {operation.method} {operation.path}\n"
    yield f"{operation.text}\n"
    if operation.credential:
        yield f"{operation.credential}\n"
    if operation.notes:
        yield "\n".join(f"- {note}" for note in operation.notes) + "\n"
    if operation.parameters:
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for each in operation.parameters:
            yield f"| `{each.name}` | {each.place} | {each.kind} | {each.text} |"
        yield ""
    for body in operation.bodies:
        yield f"Body (`{body.media}`):\n"
        yield from _fields(body)
    for answer in operation.answers:
        yield f"**{answer.status}** {answer.text}\n"
        for body in answer.bodies:
            yield from _fields(body)
    yield f"Refusals: {', '.join(f'`{each.status}`' for each in operation.refusals)}\n"


def _fields(body: Body) -> Iterator[str]:
    if not body.fields:
        return
    yield "| field | type | |\n|---|---|---|"
    for each in body.fields:
        yield f"| `{each.name}` | {each.kind} | {each.text} |"
    yield ""
