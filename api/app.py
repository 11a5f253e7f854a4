"""The application: every route, one error shape for each surface, one document that tells the truth about both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin
from litestar.types import Message, Scope

from api import service
from api.analyses import demo, results, submissions
from api.auth import RATE, asker, rate_headers
from api.billing import usage
from api.identity import registration
from api.problems import broken, http_problem, malformed, refused
from api.services import Services
from api.webhooks import secrets
from domain.kernel import Refusal

BODY_BYTES_MAX = 1024 * 1024

ROUTES: list[Any] = [
    service.get_health,
    service.get_ready,
    service.get_version,
    registration.register,
    registration.verify_email,
    submissions.analyze_url,
    submissions.analyze_upload,
    submissions.analyze_batch,
    results.get_analysis,
    results.get_full_analysis,
    results.get_webhook_log,
    demo.analyze_demo,
    demo.get_demo,
    usage.get_usage,
    secrets.get_webhook_secret,
    secrets.rotate_webhook_secret,
]


def create_app(services: Services, *lifespan: Callable[[Litestar], AbstractAsyncContextManager[None]]) -> Litestar:
    """The application over these services; `lifespan` opens and closes what they stand on."""

    async def provide_services() -> Services:
        return services

    return Litestar(
        route_handlers=ROUTES,
        dependencies={"services": Provide(provide_services), "asker": Provide(asker)},
        exception_handlers={
            Refusal: refused,
            ValidationException: malformed,
            HTTPException: http_problem,
            Exception: broken,
        },
        before_send=[_tell_rate],
        lifespan=list(lifespan),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Ledgerline",
            version=version("ledgerline"),
            description="An open, self-hosted, event-sourced backend for people who make music and music software.",
            path="/docs",
            render_plugins=[ScalarRenderPlugin(path="/")],
            use_handler_docstrings=True,
            operation_id_creator=lambda handler, _method, _path: str(handler.handler_name),
        ),
    )


async def _tell_rate(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start" and (verdict := scope["state"].get(RATE)) is not None:
        message["headers"] = [*message.get("headers", []), *rate_headers(verdict)]  # type: ignore[arg-type]
