"""What a request brings as its trace is written beside its events, goes on in what follows, and leaves again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adapters.log.eventlog import EventLog
from adapters.log.memory import MemoryLedger
from adapters.tracing import otel
from adapters.tracing.settings import Traces
from adapters.web.http import HttpResponse
from commands.kernel import Reaction
from commands.settings import Service
from commands.webhooks import sending
from commands.webhooks.settings import Webhooks
from domain import tracing
from domain.ledger import Change, Recorded
from domain.sections import Url
from domain.tracing import TRACE, following, traceparent
from infra.serving.edge import Edge
from tests.core.conftest import House, eventually
from tests.core.orchard import TreePlanted, TreeWatered, context

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE_ID}-b7ad6b7169203331-00", f"00-{TRACE_ID}-b7ad6b7169203331-00"),
        # What later versions add is left out, and so are flags that nobody knows yet.
        (f"cc-{TRACE_ID}-b7ad6b7169203331-ff-what-the-future-will-be-like", f"00-{TRACE_ID}-b7ad6b7169203331-03"),
        (f"cc-{TRACE_ID}-b7ad6b7169203331-01", PARENT),
        (f"cc-{TRACE_ID}-b7ad6b7169203331-01.what", None),
        (f"00-{TRACE_ID}-b7ad6b7169203331-01-more", None),
        (f"ff-{TRACE_ID}-b7ad6b7169203331-01", None),
        (f"00-{TRACE_ID.upper()}-b7ad6b7169203331-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-{TRACE_ID}-{'0' * 16}-01", None),
        (f"00-{TRACE_ID}-b7ad6b7169203331-1", None),
        (f"cc-{TRACE_ID}-b7ad6b7169203331-01-{'x' * 600}", None),
        (f" {PARENT}", None),
        (f"{PARENT}\n", None),
        ("", None),
        ("\0", None),
    ],
)
def test_a_header_is_understood_or_ignored(said: str, understood: str | None) -> None:
    assert traceparent(said) == understood


@pytest.fixture(params=["memory", "postgres"])
def either(request: pytest.FixtureRequest) -> MemoryLedger | EventLog:
    """Either log."""
    return MemoryLedger() if request.param == "memory" else request.getfixturevalue("house").ledger


async def test_the_trace_is_written_beside_each_event_and_others_have_none(either: MemoryLedger | EventLog) -> None:
    async def plant(tree_id: str, said: str | None) -> None:
        with following(said):
            await either.append(
                [Change(stream=f"tree-{tree_id}", after=0, events=[TreePlanted(tree_id=tree_id)])], context()
            )

    others = [f"00-{number:032x}-b7ad6b7169203331-00" for number in range(1, 20)]
    await asyncio.gather(plant("1", PARENT), plant("2", None), *(plant(each, each) for each in others))

    assert [each.traceparent for each in await either.stream("tree-1")] == [PARENT]
    assert [each.traceparent for each in await either.stream("tree-2")] == [None]
    for each in others:
        assert [found.traceparent for found in await either.stream(f"tree-{each}")] == [each]


async def test_what_follows_from_an_event_goes_on_in_its_trace_however_it_gets_there(house: House) -> None:
    seen: dict[str, str | None] = {}

    async def water(recorded: Recorded, _: Any) -> None:
        seen[recorded.stream] = TRACE.get()
        await house.record(recorded.stream, TreeWatered(tree_id=recorded.stream.removeprefix("tree-")))

    reaction = Reaction(name="water", kinds=(TreePlanted,), handler=water, due=lambda _: None)
    async with house.relaying(), house.projecting(reactions=[reaction]), house.working(reaction):
        with following(PARENT):
            await house.record("tree-1", TreePlanted(tree_id="1"))
        await house.record("tree-2", TreePlanted(tree_id="2"))
        await eventually(lambda: len(seen) == 2)
        await house.caught_up()
    assert seen == {"tree-1": PARENT, "tree-2": None}
    traces = {(each.stream, each.version): each.traceparent for each in await house.everything()}
    assert traces == {("tree-1", 1): PARENT, ("tree-1", 2): PARENT, ("tree-2", 1): None, ("tree-2", 2): None}


# --- spans ------------------------------------------------------------------------------------------------------------


class Web:
    """Takes messages and keeps their headers."""

    def __init__(self) -> None:
        self.headers: list[Mapping[str, str]] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        self.headers.append(headers)
        return HttpResponse(status=200, retry_after_seconds=None, body_prefix="", duration_seconds=0.0)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Where the spans of this process go."""
    kept = InMemorySpanExporter()
    provider = otel.provider_of("test")
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing.collect(otel.begins(provider))
    yield kept
    tracing.collect(None)


def _edge(house: House, stream: str) -> Edge:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/trees/{id}"
        await house.record(stream, TreePlanted(tree_id=stream.removeprefix("tree-")))
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return Edge(app, Service())


async def _ask(edge: Edge, *headers: tuple[bytes, bytes]) -> int:
    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": "/trees/1", "headers": [(b"host", b"localhost"), *headers]}
    # As the server does it: each request is a task of its own.
    await asyncio.create_task(edge(scope, None, send))  # type: ignore[arg-type]
    return int(answers[0]["status"])


async def test_one_request_is_followed_from_http_through_event_stream_reaction_and_webhook(
    house: House, spans: InMemorySpanExporter
) -> None:
    web = Web()
    ports: Any = SimpleNamespace(web=web, settings=Webhooks())

    async def tell(_: Recorded, __: Any) -> None:
        await sending._post("https://example.com", b"{}", {}, ports)

    reaction = Reaction(name="tell", kinds=(TreePlanted,), handler=tell, due=lambda _: None)
    async with house.relaying(), house.projecting(reactions=[reaction]), house.working(reaction):
        assert await _ask(_edge(house, "tree-1"), (b"traceparent", PARENT.encode())) == 201
        await eventually(lambda: web.headers)
        await eventually(lambda: {each.name for each in spans.get_finished_spans()} >= {"publish", "react tell"})
    found = {each.name: each for each in spans.get_finished_spans()}
    assert set(found) == {"POST /trees/{id}", "append", "publish", "react tell", "POST"}
    assert {_trace(each) for each in found.values()} == {TRACE_ID}
    assert _parent(found["POST /trees/{id}"]) == "b7ad6b7169203331"
    assert _parent(found["append"]) == _id(found["POST /trees/{id}"])
    assert _parent(found["publish"]) == _parent(found["react tell"]) == _id(found["append"])
    assert _parent(found["POST"]) == _id(found["react tell"])
    assert web.headers[0]["traceparent"] == f"00-{TRACE_ID}-{_id(found['POST'])}-01"
    assert dict(found["POST /trees/{id}"].attributes or {}) == {
        "http.request.method": "POST", "http.route": "/trees/{id}", "http.response.status_code": 201,
    }  # fmt: skip


async def test_a_request_without_a_trace_begins_one_and_what_is_not_collected_is_written_nowhere(
    house: House, spans: InMemorySpanExporter
) -> None:
    assert await _ask(_edge(house, "tree-1")) == 201
    [request] = [each for each in spans.get_finished_spans() if each.name.startswith("POST")]
    assert request.parent is None
    [event] = await house.ledger.stream("tree-1")
    assert event.traceparent is not None
    assert tracing.trace_id(event.traceparent) == _trace(request)

    spans.clear()
    tracing.collect(otel.begins(_provider(spans, ratio=0.0)))
    assert await _ask(_edge(house, "tree-2")) == 201
    assert [each.traceparent for each in await house.ledger.stream("tree-2")] == [None]
    # Whoever brings a trace decides about it, either way.
    assert await _ask(_edge(house, "tree-3"), (b"traceparent", PARENT.encode())) == 201
    assert {_trace(each) for each in spans.get_finished_spans()} == {TRACE_ID}
    spans.clear()
    assert await _ask(_edge(house, "tree-4"), (b"traceparent", f"{PARENT[:-1]}0".encode())) == 201
    assert spans.get_finished_spans() == ()
    [event] = await house.ledger.stream("tree-4")
    assert (event.traceparent or "").startswith(f"00-{TRACE_ID}-")
    assert (event.traceparent or "").endswith("-00")


async def test_without_anybody_who_collects_spans_a_trace_is_passed_on_as_it_came(house: House) -> None:
    assert await _ask(_edge(house, "tree-1"), (b"traceparent", PARENT.encode())) == 201
    assert await _ask(_edge(house, "tree-2")) == 201
    assert await _ask(_edge(house, "tree-3"), *[(b"traceparent", PARENT.encode())] * 2) == 201
    assert await _ask(_edge(house, "tree-4"), (b"traceparent", b"\xff\x00")) == 201
    found = [each.traceparent for n in range(1, 5) for each in await house.ledger.stream(f"tree-{n}")]
    assert found == [PARENT, None, None, None]
    web = Web()
    ports: Any = SimpleNamespace(web=web, settings=Webhooks())
    await sending._post("https://example.com", b"{}", {}, ports)
    with following(PARENT):
        await sending._post("https://example.com", b"{}", {}, ports)
    assert [each.get("traceparent") for each in web.headers] == [None, PARENT]


def test_whoever_wants_traces_without_the_extra_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert otel.start(Traces(), "serve") is None
    monkeypatch.setattr(otel, "find_spec", lambda _: None)
    assert otel.start(Traces(), "serve") is None
    with pytest.raises(otel.NoOpenTelemetry, match="ledgerline\\[otel\\]"):
        otel.start(Traces(traces_url=Url("http://127.0.0.1:4318/v1/traces")), "serve")


def _provider(kept: InMemorySpanExporter, ratio: float) -> TracerProvider:
    provider = otel.provider_of("test", ratio)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider


def _trace(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def _id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def _parent(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"
