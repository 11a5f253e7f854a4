"""The application: every route, one error shape for each surface, one document that tells the truth about both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope
from litestar.types.internal_types import PathParameterDefinition

from api.answers import Answer
from api.auth import RATE, SAFE_METHODS, asker, client_address, guard, header, rate_headers
from api.problems import broken, http_problem, malformed, refused
from api.services import ORIGIN, Origin, Services
from domain.discovery import modules
from domain.kernel import Refusal

BODY_BYTES_MAX = 1024 * 1024


def routes() -> list[HTTPRouteHandler]:
    """Every route there is: all handlers of all modules of this layer."""
    found: dict[int, HTTPRouteHandler] = {}
    for module in modules("api"):
        for thing in vars(module).values():
            if isinstance(thing, HTTPRouteHandler):
                found[id(thing)] = thing
    return list(found.values())


def _checked(found: list[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    assert all(handler.before_request is None for handler in found), "a route would go past the guard"
    return found


def create_app(services: Services, *lifespan: Callable[[Litestar], AbstractAsyncContextManager[None]]) -> Litestar:
    """The application over these services; `lifespan` opens and closes what they stand on."""

    async def provide_services() -> Services:
        return services

    async def before(request: Request[Any, Any, Any]) -> None:
        """Before anything of a request but its headers is read: may this be asked, and where does it come from.

        The framework's own guards cost a copy of the whole handler for every request.
        """
        await guard(request, services)
        if request.method not in SAFE_METHODS:
            # What this request changes is remembered with where it came from.
            agent, request_id = header(request, b"user-agent"), header(request, b"x-request-id")
            ORIGIN.set(Origin(client_address(request), agent or "", request_id or ""))

    return Litestar(
        route_handlers=_checked(routes()),
        dependencies={"services": Provide(provide_services), "asker": Provide(asker, sync_to_thread=False)},
        exception_handlers={
            Refusal: refused,
            ValidationException: malformed,
            HTTPException: http_problem,
            Exception: broken,
        },
        before_request=before,
        response_class=Answer,
        before_send=[_complete_headers],
        lifespan=list(lifespan),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Ledgerline",
            version=version("ledgerline"),
            description="An open, self-hosted, event-sourced backend for people who make music and music software.",
            path="/openapi",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
            use_handler_docstrings=True,
            operation_id_creator=_operation_id,
        ),
    )


def _operation_id(handler: HTTPRouteHandler, _method: object, path: list[str | PathParameterDefinition]) -> str:
    """The handler's name; a second path of the same handler says which."""
    name = str(handler.handler_name)
    words = [part for part in path if isinstance(part, str)]
    alias = len(handler.paths) > 1 and f"/{'/'.join(words)}" != min(handler.paths, key=len)
    return f"{name}_{'_'.join(words[1:])}" if alias else name


#: No answer is kept by anybody on the way, and none is taken for something it does not say it is.
_ALWAYS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


async def _complete_headers(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        verdict = scope["state"].get(RATE)
        rate = rate_headers(verdict) if verdict is not None else []
        message["headers"] = [*message.get("headers", []), *rate, *_ALWAYS]
