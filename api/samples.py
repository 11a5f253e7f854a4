"""Examples of calls, made from the contract: a value for every field, and the call in three languages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

#: Where `ledgerline up` answers when nothing else is said; the page puts its own address there.
HERE = "http://127.0.0.1:8000"

_BY_FORMAT = {
    "uuid": "3f0c5f6e-52c4-4b8e-9d33-0a6a1c1d9e55",
    "date-time": "2026-03-01T12:00:00Z",
    "date": "2026-03-01",
    "email": "sam@example.com",
    "uri": "https://example.com/song.mp3",
    "url": "https://example.com/song.mp3",
    "binary": "@song.mp3",
}
_BY_NAME = {
    "email": "sam@example.com",
    "url": "https://example.com/song.mp3",
    "name": "Night shift",
    "title": "Night Drive",
    "key": "uploads/song.mp3",
    "file": "@song.mp3",
    "isrc": "USRC17607839",
}
_DEPTH_MAX = 6


@dataclass(frozen=True)
class Call:
    """A request as an example shows it: everything that must be there, and nothing else."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, Any] | None = None
    #: The media type of a body that is the content of a file.
    file: str | None = None
    is_protected: bool = False

    @property
    def url(self) -> str:
        """Path and query."""
        return self.path + (f"?{urlencode(self.query)}" if self.query else "")


def resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the contract, or what its reference leads to."""
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Mapping[str, Any] = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found


def call_of(schema: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Call:
    """An example of one operation."""
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    for each in operation.get("parameters", ()):
        if not each.get("required"):
            continue
        shown: Mapping[str, Any] = next(iter(each.get("examples", {}).values()), {})
        value = str(shown.get("value", value_of(schema, each.get("schema", {}), each["name"])))
        match each["in"]:
            case "path":
                path = path.replace(f"{{{each['name']}}}", quote(value))
            case "query":
                query[each["name"]] = value
            case "header":
                headers[each["name"]] = value
    call = Call(method, path, query, headers, is_protected="security" in operation)
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        if media not in {"application/json", "multipart/form-data"}:
            return replace(call, file=media)
        value = content.get("example", value_of(schema, content.get("schema", {}), "body"))
        return replace(call, form=value) if media == "multipart/form-data" else replace(call, body=value)
    return call


def value_of(schema: Mapping[str, Any], part: Mapping[str, Any], name: str, depth: int = 0) -> Any:
    """A value of a part of the contract: the first example that it gives, or one that its type, format or name tell.

    Of an object only the fields that are required, and those with an example, are shown.
    """
    part = resolved(schema, part)
    match part:
        case {"examples": [told, *_]} | {"example": told} | {"const": told} | {"enum": [told, *_]}:
            return told
        case {"oneOf": choices} | {"anyOf": choices}:
            return value_of(schema, next((each for each in choices if each.get("type") != "null"), {}), name, depth)
        case {"default": told} if told is not None:
            return told
    kind = part.get("type")
    return _typed(schema, part, name, depth, kind if isinstance(kind, str) else next(iter(kind or ("string",))))


def _typed(schema: Mapping[str, Any], part: Mapping[str, Any], name: str, depth: int, kind: str) -> Any:
    match kind:
        case "object":
            fields = part.get("properties", {}) if depth < _DEPTH_MAX else {}
            shown = [each for each in fields if each in part.get("required", ()) or _has_example(fields[each])]
            return {each: value_of(schema, fields[each], each, depth + 1) for each in shown}
        case "array":
            return [value_of(schema, part.get("items", {}), name, depth + 1)] if depth < _DEPTH_MAX else []
        case "integer" | "number":
            return part.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return _text(part, name)


def _has_example(part: Mapping[str, Any]) -> bool:
    return "example" in part or bool(part.get("examples"))


def _text(part: Mapping[str, Any], name: str) -> str:
    told = _BY_FORMAT.get(part.get("format", "")) or _BY_NAME.get(name)
    if told is None and name.endswith("_url"):
        told = "https://example.com/hooks"
    if told is None and (name.endswith("_id") or name == "id"):
        told = _BY_FORMAT["uuid"]
    return told or name.replace("_", "-").ljust(part.get("minLength", 0), "x")


# --- in three languages -----------------------------------------------------------------------------------------------


def curl(call: Call) -> str:
    """The call for a shell."""
    parts = [f"curl {'' if call.method == 'GET' else f'-X {call.method} '}{_quoted(HERE + call.url)}"]
    if call.is_protected:
        parts.append('-H "X-API-Key: $LEDGERLINE_API_KEY"')
    parts += [f"-H {_quoted(f'{name}: {value}')}" for name, value in call.headers.items()]
    parts += [f"-F {_quoted(f'{name}={value}')}" for name, value in (call.form or {}).items()]
    if call.body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d {_quoted(json.dumps(call.body, ensure_ascii=False))}"]
    if call.file is not None:
        parts += [f"-H {_quoted(f'Content-Type: {call.file}')}", "--data-binary @FILE"]
    return " \\\n  ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def python(call: Call) -> str:
    """The call with `httpx`."""
    headers = ['"X-API-Key": os.environ["LEDGERLINE_API_KEY"]'] if call.is_protected else []
    headers += [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in call.headers.items()]
    arguments = [json.dumps(HERE + call.url)]
    if call.file is not None:
        headers.append(f'"Content-Type": "{call.file}"')
    if headers:
        arguments.append(f"headers={{{', '.join(headers)}}}")
    files = [name for name, value in (call.form or {}).items() if str(value).startswith("@")]
    fields = {name: value for name, value in (call.form or {}).items() if name not in files}
    if call.form is not None:
        given = [f'{json.dumps(name)}: open("{str(call.form[name])[1:]}", "rb")' for name in files]
        arguments.append(f"files={{{', '.join(given)}}}")
        if fields:
            arguments.append(f"data={fields!r}")
    if call.file is not None:
        arguments.append('content=open("FILE", "rb")')
    if call.body is not None:
        arguments.append(f"json={call.body!r}")
    lines = ["import os", "", "import httpx", ""] if call.is_protected else ["import httpx", ""]
    lines.append(f"answer = httpx.{call.method.lower()}(")
    lines += [f"    {each}," for each in arguments]
    return "\n".join([*lines, ")", "answer.raise_for_status()", "print(answer.text)"])


def node(call: Call) -> str:
    """The call with the `fetch` of Node.js."""
    headers = ['"X-API-Key": process.env.LEDGERLINE_API_KEY'] if call.is_protected else []
    headers += [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in call.headers.items()]
    lines: list[str] = []
    options = [] if call.method == "GET" else [f'method: "{call.method}"']
    if call.form is not None:
        lines += ['import { openAsBlob } from "node:fs";', "", "const body = new FormData();"]
        for name, value in call.form.items():
            given = json.dumps(value)
            if str(value).startswith("@"):
                given = f'await openAsBlob("{value[1:]}"), "{value[1:]}"'
            lines.append(f"body.append({json.dumps(name)}, {given});")
        options.append("body")
    if call.file is not None:
        lines += ['import { openAsBlob } from "node:fs";', ""]
        headers.append(f'"Content-Type": "{call.file}"')
        options.append('body: await openAsBlob("FILE")')
    if call.body is not None:
        headers.append('"Content-Type": "application/json"')
        options.append(f"body: JSON.stringify({json.dumps(call.body, ensure_ascii=False)})")
    if headers:
        options.insert(0, f"headers: {{ {', '.join(headers)} }}")
    if options:
        lines.append(f"const answer = await fetch({json.dumps(HERE + call.url)}, {{")
        lines += [f"  {each}," for each in options]
        lines.append("});")
    else:
        lines.append(f"const answer = await fetch({json.dumps(HERE + call.url)});")
    return "\n".join(
        [*lines, "if (!answer.ok) throw new Error(await answer.text());", "console.log(await answer.text());"]
    )


#: How the languages are called, and what writes a call in them.
LANGUAGES: Mapping[str, Callable[[Call], str]] = {"cURL": curl, "Python": python, "Node.js": node}


def operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Method, path and description of every operation of a contract."""
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                yield method.upper(), path, operation
