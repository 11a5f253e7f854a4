"""Around the application: whom it answers to, the id of each request, HEAD, and one line in the log for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from adapters.operators.metrics import METHODS, REQUESTS
from api.auth import ASKING
from api.surfaces import surface_of
from commands.settings import Service
from domain.tracing import TRACE, span, traceparent
from infra.serving.connections import Receive, Wording, plainly, request_id
from infra.telemetry import redact, write_clean

Send = Callable[[Any], Any]


def own_hosts(service: Service, *, lets_guests_in: bool = False) -> Callable[[str], bool] | None:
    """Whether a `Host` may be answered to; None where any may.

    A page of another site could have its name point to this machine (DNS rebinding), and in development read sign-in
    codes from here, or anywhere be one of the guests where some are let in. Only names of this machine, and that of
    the public URL, are its own.
    """
    if not service.is_loopback or not (lets_guests_in or service.env == "development"):
        return None
    public = urlsplit(service.url).hostname or ""

    @lru_cache(1024)
    def is_own(host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in {public, "localhost"} or name.endswith(".localhost"):
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    return is_own


#: What supervisors and load balancers ask all the while.
PROBES = ("/health", "/ready")


class Edge:
    """The application as the server sees it."""

    def __init__(self, app: Any, service: Service, wording: Wording = plainly, *, lets_guests_in: bool = False) -> None:
        self._app = app
        self._is_own = own_hosts(service, lets_guests_in=lets_guests_in)
        self._wording = wording

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, method = perf_counter(), scope["method"]
        host, said_id, said_trace = _said(scope["headers"])
        if said_trace is not None:
            TRACE.set(traceparent(said_trace.decode("latin-1")))
        known_id = request_id(said_id)
        status = size = 0

        async def answer(message: Any) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", known_id)]
            else:
                size += len(message.get("body", b""))
            await send(message)

        if method == "HEAD":
            # The server leaves out the body by itself; the rest is what GET would answer.
            scope = {**scope, "method": "GET", "is_head": True}
        verb = method if method in METHODS else "HTTP"
        with span(verb, "server", method=verb) as made:
            try:
                if self._is_own is not None and host is not None and not self._is_own(host.decode("latin-1")):
                    await self._misdirected(scope["path"], answer)
                else:
                    await self._app(scope, receive, answer)
            finally:
                path = scope.get("path_template", "")
                made.rename(f"{verb} {path}".rstrip())
                made.note(route=path, status=status)
                told_id = known_id.decode() if said_id is None else redact(known_id.decode())
                _told(scope, method, status, 0 if method == "HEAD" else size, perf_counter() - began, told_id)

    async def _misdirected(self, path: str, send: Send) -> None:
        sentence = (
            "Here the service answers to localhost and to the host of LEDGERLINE_PUBLIC_URL only. Ask for one of them."
        )
        media_type, body = self._wording(path, 421, sentence)
        headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _said(headers: Any) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The host that is asked for, what the client calls its request, and the trace that it is in."""
    host = said_id = said_trace = None
    for name, value in headers:
        if name == b"host":
            host = value
        elif name == b"x-request-id":
            said_id = value
        elif name == b"traceparent":
            # Two are none: nobody can say which of them is meant.
            said_trace = value if said_trace is None else b""
    return host, said_id, said_trace


def _told(scope: Any, method: str, status: int, size: int, took: float, known_id: str) -> None:
    """Count an answer, and write a line of it."""
    handler = scope.get("route_handler")
    # The framework answers OPTIONS by handlers of its own, which say nothing of a surface.
    title = surface_of(scope).title if handler is not None else "none"
    REQUESTS.answered(title, method, status, took)
    # Probes come every few seconds for ever, and say nothing while all is well.
    if status >= 400 or scope["path"] not in PROBES:
        asker = ASKING.get(None)
        # The template of the path, and nothing that was asked: ids are in the audit, and queries hold secrets. What a
        # client chose itself is the id of its request, and of the trace that it is in, only.
        write_clean(
            "request.answered",
            method=method,
            path=scope.get("path_template", ""),
            status=status,
            milliseconds=round(took * 1000, 1),
            bytes=size,
            workspace_id=None if asker is None else asker.workspace_id,
            request_id=known_id,
        )
