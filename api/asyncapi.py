"""What is published, to read: one AsyncAPI document, the schema of each version, and a page, from what is declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import json

from adapters.published import CloudEvent, schema_path
from adapters.subscribing.settings import NatsSubscribers
from api.audit.feed import Feed
from api.documents import JSON, Made, made, read
from api.page import POLICY, shell, table, words
from api.reference import Field, headline, kind_of
from api.samples import value_of
from commands.settings import Service
from domain.kernel import NotFound
from domain.published import CLOUDEVENT, UNREADABLE, published_events, schemas
from domain.webhooks.endpoints import events_for_endpoints
from domain.webhooks.messages import Envelope, messages

#: An event that this version cannot read, which is told in its place.
UNREADABLE_MESSAGE = "Unreadable"
_ENVELOPE = "CloudEvent"
_FEED = "Feed"


class NoSuchSchema(NotFound):
    """No such version of a published event has ever been sent. /asyncapi.json has all that are sent today."""


@dataclass(frozen=True)
class Ports:
    """Where the service is reached, and NATS, where subscribers read there."""

    service: Service
    subscribers: NatsSubscribers


@get("/asyncapi.json", include_in_schema=False)
async def get_asyncapi(request: Request[Any, Any, Any], ports: NamedDependency[Ports]) -> Response[bytes]:
    """The published events and the ways they are sent, AsyncAPI 3.1."""
    return read(request, _asyncapi(ports.service.url, ports.subscribers.nats_public_url), JSON)


@get("/schemas/{name:str}/{file:str}", include_in_schema=False)
async def get_event_schema(
    request: Request[Any, Any, Any], name: FromPath[str], file: FromPath[str], ports: NamedDependency[Ports]
) -> Response[bytes]:
    """The `dataschema` of an event."""
    found = _schema(ports.service.url, name, file)
    if found is None:
        raise NoSuchSchema
    return read(request, found, "application/schema+json")


@get("/docs/events", include_in_schema=False)
async def get_events_page(request: Request[Any, Any, Any], ports: NamedDependency[Ports]) -> Response[bytes]:
    """The published events as a page that needs nothing from elsewhere."""
    answer = read(request, _page(ports.service.url, ports.subscribers.nats_public_url), "text/html")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


@get("/docs/webhooks", include_in_schema=False)
async def get_webhooks_page(request: Request[Any, Any, Any], ports: NamedDependency[Ports]) -> Response[bytes]:
    """What is posted to endpoints, as a page that needs nothing from elsewhere."""
    answer = read(request, _webhooks_page(ports.service.url), "text/html")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


@cache
def _webhooks_page(url: str) -> Made:
    return made(page_of_webhooks(document(url)).encode())


@cache
def _asyncapi(url: str, nats: str) -> Made:
    return made(json.encode(document(url, nats)))


@cache
def _page(url: str, nats: str) -> Made:
    return made(page(document(url, nats)).encode())


def _schema(url: str, name: str, file: str) -> Made | None:
    for number, schema in schemas().get(name, {}).items():
        if file == f"{number}.json":
            return made(json.encode(schema | {"$id": f"{url}{schema_path(name, number)}"}))
    return None


# --- the document ----------------------------------------------------------------------------------------------------


def document(url: str, nats: str = "") -> dict[str, Any]:
    """The whole AsyncAPI document; `url` is how the service is reached, `nats` where subscribers reach NATS."""
    parts = urlsplit(url)
    told = list(published_events())
    envelope = json.schema(CloudEvent)["$defs"][_ENVELOPE]
    shapes: dict[str, Any] = {_ENVELOPE: envelope | {"description": _sentences(CloudEvent.__doc__)}}
    sent = {UNREADABLE_MESSAGE: _unreadable()}
    for name, each in published_events().items():
        shapes |= _named(name, schemas()[name][each.version])
        sent[name] = _message(name, each.says, {"data": {"$ref": f"#/components/schemas/{name}"}}, ["dataschema"])
    for name, message in messages().items():
        shapes |= _named(f"message.{name}", json.schema(message.schema))
        sent[f"message.{name}"] = {
            "name": name,
            "title": name,
            "summary": message.says,
            "contentType": JSON,
            "payload": _of_message(name),
        }
    shapes |= _named(_FEED, json.schema(Feed))
    sent[_FEED] = {
        "name": _FEED,
        "title": "A page of the feed",
        "summary": "Events in their order in the words of the audit, and the position after which to go on.",
        "contentType": JSON,
        "payload": {"$ref": f"#/components/schemas/{_FEED}"},
    }
    events = [*told, UNREADABLE_MESSAGE]
    channels = {
        "stream": _channel("/v1/events/stream", "Server-Sent Events; the id of each is its position.", events),
        "long_poll": _channel("/v1/events", "Pages of everything that happens, published or not.", [_FEED]),
        "webhooks": _channel(
            None,
            "What is posted to endpoints, signed after Standard Webhooks: messages, and the published events that an "
            "endpoint has chosen, by name or by pattern; see /v1/webhook-event-types.",
            [*(f"message.{name}" for name in messages()), *events_for_endpoints()],
        ),
    }
    servers = {"http": {"host": parts.netloc, "protocol": parts.scheme, "description": "The service."}}
    for channel in channels.values():
        channel["servers"] = [{"$ref": "#/servers/http"}]
    if nats:
        where = urlsplit(nats)
        servers["nats"] = {
            "host": where.netloc,
            "protocol": "nats",
            "description": "NATS with JetStream. The password is an API key with the scope events:read.",
        }
        channels["nats"] = _over_nats(events)
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Ledgerline events",
            "version": version("ledgerline"),
            "description": "What is published of a workspace: CloudEvents 1.0 in structured JSON, whichever way they "
            "are sent. Their `sequence` is a position of the log, after which one goes on anywhere. Shapes only grow: "
            "ignore fields and words that you do not know.",
        },
        "defaultContentType": CLOUDEVENT,
        "servers": servers,
        "channels": channels,
        "operations": {
            f"send_{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": channel["description"],
            }
            for name, channel in channels.items()
        },
        "components": {"schemas": shapes, "messages": sent},
    }


def _channel(address: str | None, says: str, names: list[str]) -> dict[str, Any]:
    return {
        "address": address,
        "description": says,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _over_nats(events: list[str]) -> dict[str, Any]:
    """The subjects of the stream in NATS, each of one type of one workspace."""
    says = (
        "Messages of a JetStream stream, one for each event, read with a durable pull consumer that "
        "/v1/nats-consumers makes; the Nats-Msg-Id is the id of the event."
    )
    return _channel("ledgerline.{workspace_id}.{context}.{event}", says, events) | {
        "servers": [{"$ref": "#/servers/nats"}],
        "parameters": {
            "workspace_id": {"description": "The workspace, as in the source of its events."},
            "context": {"description": "What the type has before its dot."},
            "event": {"description": "What the type has after its dot."},
        },
    }


def _message(name: str, says: str, data: dict[str, Any], required: list[str]) -> dict[str, Any]:
    own = {"type": "object", "required": required, "properties": {"type": {"const": name}, **data}}
    return {
        "name": name,
        "title": name,
        "summary": says,
        "contentType": CLOUDEVENT,
        "payload": {"allOf": [{"$ref": f"#/components/schemas/{_ENVELOPE}"}, own]},
    }


def _unreadable() -> dict[str, Any]:
    return {
        "name": UNREADABLE_MESSAGE,
        "title": "An event that cannot be read",
        "summary": "Its facts are damaged, or of a version that is being installed. It has no `dataschema`.",
        "contentType": CLOUDEVENT,
        "payload": {
            "allOf": [
                {"$ref": f"#/components/schemas/{_ENVELOPE}"},
                {
                    "type": "object",
                    "properties": {"data": {"const": dict(UNREADABLE)}},
                    "not": {"required": ["dataschema"]},
                },
            ]
        },
    }


def _of_message(name: str) -> dict[str, Any]:
    """The body of a webhook message that is a view of its thing."""
    own = {"type": {"const": name}, "data": {"$ref": f"#/components/schemas/message.{name}"}}
    shape = json.schema(Envelope)["$defs"]["Envelope"]
    return {**{word: part for word, part in shape.items() if word != "title"}, "properties": shape["properties"] | own}


def _named(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema and those it refers to under names of the whole document."""
    found = {name: {word: part for word, part in schema.items() if word not in {"$defs", "$schema", "$id"}}}
    found |= {f"{name}.{inner}": part for inner, part in schema.get("$defs", {}).items()}
    return {each: _pointed(part, name) for each, part in found.items()}


def _pointed(part: Any, name: str) -> Any:
    match part:
        case {"$ref": str(reference)}:
            return {**part, "$ref": f"#/components/schemas/{name}.{reference.rpartition('/')[2]}"}
        case dict():
            return {word: _pointed(each, name) for word, each in part.items()}
        case list():
            return [_pointed(each, name) for each in part]
    return part


def _sentences(text: str | None) -> str:
    return " ".join((text or "").split())


# --- the page --------------------------------------------------------------------------------------------------------


def page(schema: dict[str, Any]) -> str:
    """The document as HTML, by context."""
    contexts: dict[str, list[str]] = {}
    for name, each in published_events().items():
        contexts.setdefault(each.context, []).append(name)
    return shell(
        f"{schema['info']['title']} {schema['info']['version']}",
        _navigation(contexts),
        f"<p>{words(schema['info']['description'])}</p>"
        '<p>As data: <a href="/asyncapi.json">/asyncapi.json</a>. The operations: <a href="/docs">/docs</a>. '
        'What is posted to addresses: <a href="/docs/webhooks">/docs/webhooks</a>.</p>'
        f"{_ways(schema)}{_envelope(schema)}"
        + "".join(
            f'<section class="surface group"><h2>{escape(headline(context))}</h2>'
            f"{''.join(_event(schema, name) for name in names)}</section>"
            for context, names in contexts.items()
        ),
    )


def page_of_webhooks(schema: dict[str, Any]) -> str:
    """What is posted to endpoints as HTML: how it is signed and tried, and each message with an example."""
    subjects: dict[str, list[str]] = {}
    for name in messages():
        subjects.setdefault(name.partition(".")[0], []).append(name)
    return shell(
        f"Ledgerline webhooks {schema['info']['version']}",
        _navigation(subjects, ("arrives", "signed", "events")),
        "<p>An endpoint is an address that is posted what happens in a workspace: "
        "<code>POST /v1/webhook-endpoints</code> with its <code>url</code> and <code>event_types</code>.</p>"
        '<p>As data: <a href="/asyncapi.json">/asyncapi.json</a>. The operations: <a href="/docs">/docs</a>.</p>'
        f"{_arrives()}{_signed()}{_chosen()}"
        + "".join(
            f'<section class="surface group"><h2>{escape(headline(subject))}</h2>'
            f"{''.join(_posted(schema, name) for name in names)}</section>"
            for subject, names in subjects.items()
        ),
    )


def _arrives() -> str:
    lines = [
        Field("webhook-id", "header", "The same on every attempt and in every replay: whoever keeps it acts once."),
        Field("webhook-timestamp", "header", "Seconds since 1970 of this attempt; refuse those that are minutes old."),
        Field("webhook-signature", "header", "`v1,` and base64, one for each secret that is good at the moment."),
        Field("body", "JSON", "A message of this page, or the CloudEvent of a published event."),
    ]
    return (
        '<article id="arrives"><h4>What arrives</h4><p>A POST. An answer from 200 to 299 means that it arrived; any '
        "other is tried again, later and later. 410 disables the endpoint at once. Messages may come twice and in "
        f"another order than they happened.</p>{table(lines)}</article>"
    )


def _signed() -> str:
    code = (
        "signed = f\"{headers['webhook-id']}.{headers['webhook-timestamp']}.\".encode() + body\n"
        "key = base64.b64decode(secret.removeprefix('whsec_'))\n"
        "mine = 'v1,' + base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()\n"
        "assert any(hmac.compare_digest(mine, each) for each in headers['webhook-signature'].split())"
    )
    return (
        '<article id="signed"><h4>How it is signed</h4><p>After Standard Webhooks (HMAC with SHA-256), with the secret '
        f"that is shown when the endpoint is made.</p><pre><code>{escape(code, quote=False)}</code></pre></article>"
    )


def _chosen() -> str:
    return (
        '<article id="events"><h4>Published events</h4><p>An endpoint may also choose published events, by type or by '
        f"pattern: <code>builds.*</code>. There are {len(events_for_endpoints())}; "
        '<a href="/docs/events">/docs/events</a> has them. A range of the past is told once more by '
        "<code>POST /v1/webhook-endpoints/{endpoint_id}/replay</code>.</p></article>"
    )


def _posted(schema: dict[str, Any], name: str) -> str:
    message = messages()[name]
    shape = schema["components"]["schemas"][f"message.{name}"]
    lines = [
        Field(field, kind_of(schema, part), "" if field in shape.get("required", ()) else "may be missing")
        for field, part in shape.get("properties", {}).items()
    ]
    example = ""
    if message.on is not None:
        text = json.format(message.sample().encode(), indent=2).decode()
        example = f"<pre><code>{escape(text, quote=False)}</code></pre>"
    optional = "" if not message.optional else '<p class="dim">Only for endpoints that choose it by its name.</p>'
    return (
        f'<article id="{name}"><h4>{name}</h4><p>{words(message.says)}</p>{optional}{table(lines)}{example}</article>'
    )


def _navigation(contexts: dict[str, list[str]], first: tuple[str, ...] = ("ways", "envelope")) -> Iterator[str]:
    yield '<div class="group"><h2>How</h2><ul>'
    for anchor in first:
        yield f'<li><a href="#{anchor}" data-of="{anchor}">{headline(anchor)}</a></li>'
    yield "</ul></div>"
    for context, names in contexts.items():
        yield f'<div class="group"><h2>{escape(headline(context))}</h2><ul>'
        for name in names:
            yield f'<li><a href="#{name}" data-of="{name}" title="{name}">{name.partition(".")[2]}</a></li>'
        yield "</ul></div>"


def _ways(schema: dict[str, Any]) -> str:
    lines = [
        Field(each["address"] or "(your address)", name, each["description"])
        for name, each in schema["channels"].items()
    ]
    service = schema["servers"]["http"]
    call = (
        f'curl -N -H "X-API-Key: $LEDGERLINE_API_KEY" \\\n'
        f"  '{service['protocol']}://{service['host']}/v1/events/stream?after=0&type=builds.*'\n"
        "ledgerline subscribe --from 0 --type 'builds.*'"
    )
    return (
        f'<article id="ways"><h4>Ways</h4>{table(lines)}<pre><code>{escape(call, quote=False)}</code></pre></article>'
    )


def _envelope(schema: dict[str, Any]) -> str:
    shape = schema["components"]["schemas"][_ENVELOPE]
    lines = [Field(name, kind_of(schema, part), part["description"]) for name, part in shape["properties"].items()]
    return f'<article id="envelope"><h4>Envelope</h4><p>{words(shape["description"])}</p>{table(lines)}</article>'


def _event(schema: dict[str, Any], name: str) -> str:
    shape = schema["components"]["schemas"][name]
    number = published_events()[name].version
    lines = [
        Field(field, kind_of(schema, part), "" if field in shape.get("required", ()) else "may be missing")
        for field, part in shape["properties"].items()
    ]
    told = {field: value_of(schema, part, field) for field, part in shape["properties"].items()}
    path = schema_path(name, number)
    text = json.format(json.encode({"type": name, "data": told}), indent=2).decode()
    return (
        f'<article id="{name}"><h4>{name}</h4><p>{escape(shape["description"])}</p>{table(lines)}'
        f"<pre><code>{escape(text, quote=False)}</code></pre>"
        f'<p class="dim">Schema: <a href="{path}">{path}</a></p></article>'
    )
