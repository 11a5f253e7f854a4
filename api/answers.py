"""Answers: JSON with a status and little else, written as such, and not sent again to whoever has it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, ClassVar, TypeVar

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send

from api.surfaces import surface_of

T = TypeVar("T")

_JSON = "application/json"
#: Answers with these have no body.
_BARE = frozenset({204, 304})


def tag_of(body: bytes) -> str:
    """The entity tag of a body (RFC 9110, 8.8.3)."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def is_known(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether the client already has what is tagged so: its `If-None-Match` names it, weakly or not, or anything."""
    for name, value in request.scope["headers"]:
        if name == b"if-none-match":
            known = value.decode("latin-1").strip()
            return known == "*" or tag in {each.strip().removeprefix("W/") for each in known.split(",")}
    return False


class Answer(Response[T]):
    """An answer that goes the framework's long way only where it has cookies, headers or another media type."""

    #: What is said to caches; nothing is what the application says of everything: that it is not to be kept.
    keeping: ClassVar[str] = ""

    def __init__(self, content: T, **given: Any) -> None:
        if given.get("headers") is None and given.get("cookies") is None:
            # The framework asks of both what kind of mapping they are, which takes longer than all else that it does.
            self.content, self.headers, self.cookies = content, {}, []
            self.background, self.encoding = given.get("background"), "utf-8"
            self.media_type, self.status_code = given.get("media_type"), given.get("status_code")
            self.response_type_encoders = given.get("type_encoders") or {}
        else:
            super().__init__(content, **given)

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **given: Any) -> ASGIApp:  # type: ignore[override]
        """What sends it."""
        status = self.status_code or given.get("status_code") or 200
        media_type = self.media_type or given.get("media_type") or _JSON
        if media_type == _JSON and self.content is not None and not isinstance(self.content, bytes):
            self.content = surface_of(request.scope).write(self.content)  # type: ignore[assignment]
        extras = (self.headers, self.cookies, self.background, *(given.get(name) for name in _EXTRAS))
        is_plain = media_type == _JSON and status not in _BARE and not any(extras)
        if media_type != _JSON or status != 200 or request.method != "GET":
            return _Written(status, self._body()) if is_plain else super().to_asgi_response(app, request, **given)
        tag = tag_of(body := self._body())
        if is_plain:
            headers = [(b"etag", tag.encode())]
            if self.keeping:
                headers.append((b"cache-control", self.keeping.encode()))
            return _Written(304, b"", headers) if is_known(request, tag) else _Written(200, body, headers)
        self.headers["ETag"] = tag
        if self.keeping:
            self.headers["Cache-Control"] = self.keeping
        if is_known(request, tag):
            self.status_code, self.content = 304, None  # type: ignore[assignment]
        return super().to_asgi_response(app, request, **given)

    def _body(self) -> bytes:
        return self.render(self.content, _JSON)


class Kept(Answer[bytes]):
    """A document or a page of them: its client may keep it, and asks each time whether it still is what it has."""

    keeping = "private, no-cache"


#: What an answer may be given besides; encoders of types are none of it, since a surface has written the content.
_EXTRAS = ("headers", "cookies", "background", "encoded_headers", "is_head_response")


class _Written:
    """A status, headers and the bytes of a body."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._status = status
        self._body = body
        self._headers = headers

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [*self._headers]
        if self._status not in _BARE:
            headers[:0] = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self._body))]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})
