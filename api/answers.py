"""Most answers are JSON with a status and nothing else, and are written as such."""

from __future__ import annotations

from typing import Any, TypeVar

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send

from api.surfaces import surface_of

T = TypeVar("T")

_JSON = "application/json"
#: Answers with these have no body.
_BARE = frozenset({204, 304})


class Answer(Response[T]):
    """An answer that goes the framework's long way only where it has cookies, headers or another media type."""

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **given: Any) -> ASGIApp:  # type: ignore[override]
        """What sends it."""
        status = self.status_code or given.get("status_code") or 200
        media_type = self.media_type or given.get("media_type") or _JSON
        if media_type == _JSON and self.content is not None and not isinstance(self.content, bytes):
            self.content = surface_of(request.scope).write(self.content)  # type: ignore[assignment]
        extras = (self.headers, self.cookies, self.background, *(given.get(name) for name in _EXTRAS))
        if status in _BARE or media_type != _JSON or any(extras):
            return super().to_asgi_response(app, request, **given)
        return _Written(status, self.render(self.content, _JSON))


_EXTRAS = ("headers", "cookies", "background", "type_encoders", "encoded_headers", "is_head_response")


class _Written:
    """A status and the bytes of a body."""

    __slots__ = ("_body", "_status")

    def __init__(self, status: int, body: bytes) -> None:
        self._status = status
        self._body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self._body))]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})
