"""`/mcp`: operations of the contract as tools of the Model Context Protocol, over streamable HTTP without sessions."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from msgspec import json

from adapters.provides import provides
from api.auth import ANY, Asker, needs, refuse_other_sites
from api.rates import MINUTE_SECONDS, by_subject
from api.service import VERSION
from api.settings import Rates
from api.surfaces import SAFE_METHODS, Problem, Surface
from api.tools import Answered, BadArguments, Tool, call, tools_of
from commands.settings import Service
from domain.kernel import Forbidden, Unavailable

if TYPE_CHECKING:
    import mcp_types
    from mcp.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

#: What an agent can be told at once.
ANSWER_BYTES_MAX = 1024 * 1024
INSTRUCTIONS = (
    "A Ledgerline workspace: recordings and what was heard in them, a catalogue with its plays, earnings and releases, "
    "beats, builds of plug-ins and license keys. Which tools there are depends on what the key may do. What is refused "
    "says what is so and what to do."
)
_JSON = "application/json"

MCP_REQUESTS = by_subject("mcp", Rates, lambda rates: rates.mcp_limit_per_minute, MINUTE_SECONDS)


def _problem(problem: Problem) -> dict[str, object]:
    told = " ".join(each.message for each in problem.faults) or problem.sentence
    data = {"code": problem.code, "status": problem.status}
    # JSON-RPC leaves -32000 to whoever implements it; what is wrong with a message, the protocol's own reader says.
    return {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": told, "data": data}}


_ERROR = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string", "description": "What is so, and what to do."},
        "data": {},
    },
}
MCP = Surface(
    title="Agents",
    prefixes=("/mcp",),
    problem=_problem,
    shapes={
        "default": {
            "title": "AgentProblem",
            "type": "object",
            "required": ["jsonrpc", "error"],
            "properties": {
                "jsonrpc": {"const": "2.0"},
                "id": {"type": ["string", "integer", "null"]},
                "error": _ERROR,
            },
        }
    },
    meanings={"400": "This is no request of JSON-RPC 2.0, or of no version of the protocol that is spoken here."},
    moment=None,
    rate=MCP_REQUESTS,
)


class NotInstalled(Unavailable):
    """Tools for agents are not installed here. Whoever runs the service can install ledgerline[mcp]."""


class Speaker:
    """Speaks the protocol. What that takes is loaded when somebody first asks, since few do and it takes seconds."""

    def __init__(self) -> None:
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, as ASGI has it; raises NotInstalled."""
        await (await self._started()).handle_request(scope, receive, send)

    async def close(self) -> None:
        """Speak no more."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _started(self) -> StreamableHTTPSessionManager:
        async with self._starting:
            if self._manager is None:
                try:
                    manager = await asyncio.to_thread(_manager)
                except ImportError as problem:
                    raise NotInstalled(retry_after_seconds=3600) from problem
                started = asyncio.Event()
                self._running = asyncio.create_task(_run(manager, started), name="mcp")
                await started.wait()
                self._manager = manager
            return self._manager


@provides
def speaker() -> Speaker:
    """Who speaks the protocol in this process."""
    return Speaker()


async def _run(manager: StreamableHTTPSessionManager, started: asyncio.Event) -> None:
    async with manager.run():
        started.set()
        await asyncio.Event().wait()


def _manager() -> StreamableHTTPSessionManager:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    # Each request stands for itself, so that any process can answer it; hosts and origins are looked at before.
    return StreamableHTTPSessionManager(_server(), stateless=True, json_response=True)


def _server() -> Server[Any]:
    from mcp.server import Server
    from mcp_types import ListToolsResult

    async def list_tools(context: Any, _: PaginatedRequestParams | None) -> ListToolsResult:
        outer: Request[Any, Any, Any] = context.request.scope[_OUTER]
        asker: Asker = context.request.scope[_ASKER]
        return ListToolsResult(tools=[_shown(each) for each in tools_of(outer.app).values() if _may(asker, each)])

    async def call_tool(context: Any, wish: CallToolRequestParams) -> CallToolResult:
        outer: Request[Any, Any, Any] = context.request.scope[_OUTER]
        tool = tools_of(outer.app).get(wish.name)
        if tool is None:
            return _refused(f"There is no tool {wish.name[:64]!r} here.")
        try:
            return _told(await call(outer.app, tool, wish.arguments or {}, outer.scope))
        except BadArguments as problem:
            return _refused(str(problem))

    return Server(
        "ledgerline", version=VERSION, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )


def _shown(tool: Tool) -> mcp_types.Tool:
    from mcp_types import Tool as Shown
    from mcp_types import ToolAnnotations

    return Shown(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=ToolAnnotations(
            read_only_hint=tool.method in SAFE_METHODS,
            destructive_hint=tool.method == "DELETE",
            idempotent_hint=tool.method in (*SAFE_METHODS, "PUT", "DELETE"),
        ),
    )


def _refused(text: str) -> CallToolResult:
    from mcp_types import CallToolResult, TextContent

    return CallToolResult(content=[TextContent(text=text)], is_error=True)


def _told(answered: Answered) -> CallToolResult:
    from mcp_types import CallToolResult, ImageContent, TextContent

    if len(answered.body) > ANSWER_BYTES_MAX:
        return _refused("This is more than can be told at once. Ask for less, with a limit or a filter.")
    if answered.media_type == "image/png":
        data = base64.b64encode(answered.body).decode()
        return CallToolResult(content=[ImageContent(data=data, mime_type=answered.media_type)])
    text = answered.body.decode("utf-8", "replace")
    if answered.status >= 400:
        wait = "" if answered.retry_after is None else f" Try again in {answered.retry_after} seconds."
        return _refused(f"{answered.status}: {text}{wait}")
    found = json.decode(answered.body) if answered.media_type == _JSON and answered.body else None
    return CallToolResult(
        content=[TextContent(text=text)], structured_content=found if isinstance(found, dict) else None
    )


def _may(asker: Asker, tool: Tool) -> bool:
    """Whether somebody would be let in where a tool leads."""
    if tool.needs is None:
        return True
    try:
        asker.may(tool.needs)
    except Forbidden:
        return False
    return True


#: Where a request of the protocol keeps the one that brought it, and whom the guard let in.
_OUTER, _ASKER = "ledgerline_request", "ledgerline_asker"


@dataclass(frozen=True)
class Ports:
    """Who speaks the protocol, and where the service is."""

    speaker: Speaker
    service: Service


_ID = {"type": ["string", "integer"]}
_MESSAGE = {
    "type": "object",
    "required": ["jsonrpc", "method"],
    "properties": {
        "jsonrpc": {"type": "string", "description": "The version of JSON-RPC", "examples": ["2.0"]},
        "id": _ID,
        "method": {"type": "string", "examples": ["tools/list"]},
        "params": {"type": "object"},
    },
}
_ANSWER = {
    "type": "object",
    "required": ["jsonrpc", "id"],
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": _ID,
        "result": {"type": "object", "description": "What the method gives"},
        "error": _ERROR,
    },
}
_ASKED = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@post(
    "/mcp",
    status_code=200,
    tags=["agents"],
    opt={
        **needs(ANY, "viewer"),
        "request_body": {"required": True, "content": {_JSON: {"schema": _MESSAGE, "example": _ASKED}}},
        # To what is only told, such as that a client is ready, there is no answer.
        "answers": {"200": {_JSON: _ANSWER}, "202": {}},
        "statuses": ("400", "403"),
        "security_notes": (
            "A tool asks what its operation asks: the same scopes, roles, limits and refusals, in the same name.",
            "A page of another site is refused (`Origin`), and so is a host that is not ours.",
        ),
    },
)
async def speak_mcp(
    request: Request[Any, Any, Any], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Use this service as tools of the Model Context Protocol: streamable HTTP, one message in a request, no sessions.

    `tools/list` names the tools that the key may use, `tools/call` uses one. Each is an operation of this contract.
    """
    _refuse_other_origins(request, ports.service.url)
    sent = [await request.body()]
    status, media_type, body = 500, _JSON, bytearray()

    async def receive() -> Any:
        if sent:
            return {"type": "http.request", "body": sent.pop(), "more_body": False}
        return await request.receive()

    async def send(message: Any) -> None:
        nonlocal status, media_type
        if message["type"] == "http.response.start":
            status = message["status"]
            told: Mapping[bytes, bytes] = dict(message.get("headers", ()))
            media_type = told.get(b"content-type", _JSON.encode()).decode("latin-1")
        else:
            body.extend(message.get("body", b""))

    # Answered in JSON, whatever the client would take besides: there is nothing to stream.
    headers = [each for each in request.scope["headers"] if each[0] not in (b"accept", b"content-type")]
    headers += [(b"accept", b"application/json, text/event-stream"), (b"content-type", _JSON.encode())]
    scope = {**request.scope, "headers": headers, "state": {}, _OUTER: request, _ASKER: asker}
    await ports.speaker.answer(scope, receive, send)
    return Response(bytes(body), status_code=status, media_type=media_type)


def _refuse_other_origins(request: Request[Any, Any, Any], url: str) -> None:
    """Refuse what a page of another site has sent, unless the operator lets that site read answers."""
    origins = request.app.cors_config.allow_origins if request.app.cors_config else []
    if request.headers.get("origin") not in origins:
        refuse_other_sites(request.headers, url)
