"""Devices on which somebody has signed in before: they are counted apart from strangers at the same address."""

from __future__ import annotations

from typing import Any, NamedTuple

from litestar import Request, Response
from litestar.datastructures import Cookie

from api.auth import DEVICE_COOKIE, TOKEN_LENGTH_MAX, cookie, counted_address
from api.identity.ports import Ports

#: How long a device is known after the last time that somebody signed in there.
KNOWN_SECONDS = 180 * 86_400


class Source(NamedTuple):
    """Where somebody signs in from: what limits call it, and the mailbox as limits count it from there."""

    name: str
    subject: str
    device_id: str | None = None


async def counted(request: Request[Any, Any, Any], ports: Ports, email_digest: str) -> Source:
    """Where a request to sign in comes from, counted: a device that is known to the mailbox, or else an address."""
    token = cookie(request, DEVICE_COOKIE.encode())
    if token is None:
        return Source(counted_address(request), email_digest)
    device_id = None
    if len(token) <= TOKEN_LENGTH_MAX:
        device_id = ports.vault.device(token, email_digest, ports.now().timestamp())
    # What strangers do to a mailbox is not counted for the devices of its owner, nor the other way round.
    known = Source(f"device/{device_id}", f"{email_digest}/known", device_id)
    source = Source(counted_address(request), email_digest) if device_id is None else known
    await ports.limits.take_source(request, source.name)
    return source


def with_device(response: Response[Any], ports: Ports, email_digest: str, device_id: str | None) -> Response[Any]:
    """The response, which also lets a browser show later that somebody has signed in with this mailbox there."""
    expires = int(ports.now().timestamp()) + KNOWN_SECONDS
    response.set_cookie(
        Cookie(
            key=DEVICE_COOKIE,
            value=ports.vault.device_token(device_id or ports.vault.new_id(), email_digest, expires),
            path="/v1/auth/email",
            max_age=KNOWN_SECONDS,
            secure=ports.service.url.startswith("https://"),
            httponly=True,
            samesite="lax",
        )
    )
    return response
