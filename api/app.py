"""The application: every route, one error shape for each surface, one document that tells the truth about both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import wraps
from importlib.metadata import version
from inspect import iscoroutinefunction, signature
from typing import Any, Protocol, TypeVar, get_type_hints

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import AsyncAnyCallable, Empty, Message, Scope
from litestar.types.internal_types import PathParameterDefinition

from adapters.log.codec import UnknownEvent
from adapters.readmodels.past import AS_OF
from api.answers import Answer
from api.auth import ASKING, Authentication, client_address, guard, header
from api.kernel import ORIGIN, Origin, whole
from api.past import HEADER, PARAMETER, LookingBack, look_back
from api.problems import broken, http_problem, malformed, refused, unreadable
from api.rates import VERDICT
from api.strictness import check_query
from api.surfaces import PLATFORM, SAFE_METHODS, now, surface_at, surface_of
from domain.discovery import modules
from domain.kernel import Refusal

T = TypeVar("T")

BODY_BYTES_MAX = 1024 * 1024


def routes() -> list[HTTPRouteHandler]:
    """Every route there is: all handlers of all modules of this layer.

    They are the caller's own: what a handler is asked before it belongs to an application it remembers, and is wrong
    about it ever after.
    """
    found: dict[int, HTTPRouteHandler] = {}
    for module in modules("api"):
        for thing in vars(module).values():
            if isinstance(thing, HTTPRouteHandler):
                found[id(thing)] = thing
    return [copy(each) for each in found.values()]


def _checked(found: list[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    assert all(handler.before_request is None for handler in found), "a route would go past the guard"
    return found


class Build(Protocol):
    """Makes what a context says it needs."""

    def __call__(self, kind: type[T], /) -> Awaitable[T]:
        """The part of a type."""


class Asked(Request[Any, Any, Any]):
    """A request whose body is refused as malformed for whatever cannot be read as JSON."""

    @property
    def content_length(self) -> int | None:
        """How long the body is said to be; the framework makes a dictionary of all headers to look for it."""
        announced = header(self, b"content-length")
        return super().content_length if announced is not None and whole(announced) is None else whole(announced or "")

    async def body(self) -> bytes:
        """The body. Most come in one piece and need none of the generators that the framework reads pieces with."""
        if self._body is Empty and self._connection_state.body is Empty and self.is_connected:
            receive, most = self.receive, self.route_handler.resolve_request_max_body_size()
            first: Any = await receive()
            if first["type"] == "http.request" and not first.get("more_body", False):
                whole_body: bytes = first["body"]
                if most is None or len(whole_body) <= most:
                    self.is_connected = False
                    self._body = self._connection_state.body = whole_body
                    return whole_body
            parts = [first]

            async def replayed() -> Any:
                return parts.pop() if parts else await receive()

            self.receive = replayed
        return await super().body()

    async def json(self) -> Any:
        """The body, read as JSON; the framework knows of syntax only."""
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError) as odd:
            raise SerializationException(str(odd)) from odd


async def create_app(
    build: Build,
    *lifespan: Callable[[Litestar], AbstractAsyncContextManager[None]],
    cors_origins: Sequence[str] = (),
) -> Litestar:
    """The application over what `build` makes; `lifespan` opens and closes what it stands on.

    Pages of `cors_origins` may read its answers, and send a cookie along.
    """

    auth, back = await build(Authentication), await build(LookingBack)

    async def before(request: Request[Any, Any, Any]) -> None:
        """Before anything of a request but its headers is read: may this be asked, and where does it come from.

        The framework's own guards cost a copy of the whole handler for every request.
        """
        await guard(request, auth)
        scope = request.scope
        if scope["query_string"]:
            also = () if await look_back(request, back) is None else (PARAMETER,)
            lenient = surface_of(scope).lenient
            check_query(
                request.route_handler, request.method, scope["path_template"], scope["query_string"], lenient, also
            )
        if request.method not in SAFE_METHODS:
            # What this request changes is remembered with where it came from.
            agent, request_id = header(request, b"user-agent"), header(request, b"x-request-id")
            let_in = ASKING.get(None)
            who = None if let_in is None else let_in.person_id
            ORIGIN.set(Origin(who, client_address(request), agent or "", request_id or ""))

    return Litestar(
        route_handlers=[await _with_ports(each, build) for each in _checked(routes())],
        exception_handlers={
            Refusal: refused,
            ValidationException: malformed,
            HTTPException: http_problem,
            UnknownEvent: unreadable,
            Exception: broken,
        },
        before_request=before,
        request_class=Asked,
        response_class=Answer,
        before_send=[_complete_headers],
        lifespan=list(lifespan),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        cors_config=_cors(cors_origins) if cors_origins else None,
        openapi_config=OpenAPIConfig(
            title=PLATFORM.title,
            version=version("ledgerline"),
            description="An open, self-hosted, event-sourced backend for people who make music and music software.",
            # The framework serves its own document here, and takes whatever is below; ours stands in `documents`.
            path="/openapi-of-the-framework",
            render_plugins=[JsonRenderPlugin()],
            use_handler_docstrings=True,
            operation_id_creator=_operation_id,
        ),
    )


async def _with_ports(handler: HTTPRouteHandler, build: Build) -> HTTPRouteHandler:
    """A route that knows its surface, and whose handler is given `ports` and `asker` if it names them."""
    named = get_type_hints(handler.fn)
    given = {"ports": await build(named["ports"])} if "ports" in named else {}
    ready = copy(handler)
    ready.opt = {**handler.opt, "surface": surface_at(min(handler.paths))}
    return ready(_given(handler.fn, given, hears_who="asker" in named))


def _given(handle: Callable[..., Awaitable[Any]], given: Mapping[str, Any], *, hears_who: bool) -> AsyncAnyCallable:
    """A handler that is asked for nothing but what a request brings.

    The framework would provide the rest anew for each, and look whether it is of its kind, which costs more than
    reading a small body.
    """
    if not given and not hears_who:
        return handle
    assert iscoroutinefunction(handle), f"{handle} would have to be async to be given anything"
    asked = signature(handle)
    rest = [each for name, each in asked.parameters.items() if name not in ("asker", *given)]

    @wraps(handle)
    async def handled(**brought: Any) -> Any:
        if hears_who:
            brought["asker"] = ASKING.get()
        return await handle(**brought, **given)

    handled.__signature__ = asked.replace(parameters=rest)  # type: ignore[attr-defined]  # what `signature` looks for
    return handled


def _cors(origins: Sequence[str]) -> CORSConfig:
    told = ["ETag", "Location", "Retry-After", "X-Request-ID"]
    told += [f"X-RateLimit-{part}" for part in ("Limit", "Remaining", "Reset")]
    return CORSConfig(allow_origins=list(origins), allow_credentials=True, expose_headers=told)


def _operation_id(handler: HTTPRouteHandler, _method: object, path: list[str | PathParameterDefinition]) -> str:
    """The handler's name; a second path of the same handler says which."""
    name = str(handler.handler_name)
    words = [part for part in path if isinstance(part, str)]
    alias = len(handler.paths) > 1 and f"/{'/'.join(words)}" != min(handler.paths, key=len)
    return f"{name}_{'_'.join(words[1:])}" if alias else name


#: No answer is taken for something it does not say it is, and none is kept by anybody unless it says so itself.
_ALWAYS = [(b"x-content-type-options", b"nosniff")]
_NOT_KEPT = [(b"cache-control", b"no-store"), *_ALWAYS]


async def _complete_headers(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        verdict = scope["state"].get(VERDICT)
        rate = surface_of(scope).rate_headers(verdict, now()) if verdict is not None else []
        headers = list(message.get("headers", []))
        kept = any(name.lower() == b"cache-control" for name, _ in headers)
        if (as_of := AS_OF.get()) is not None:
            headers.append((HEADER, b"%d" % as_of.position))
        message["headers"] = [*headers, *rate, *(_ALWAYS if kept else _NOT_KEPT)]
