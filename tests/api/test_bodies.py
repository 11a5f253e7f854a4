"""Bodies of requests: in one piece or in many, never more than is allowed, and read once."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar, Request, post

from api.app import Asked

MOST = 10


@post("/", status_code=200)
async def tell(request: Request[Any, Any, Any]) -> bytes:
    """What was sent, read twice."""
    assert await request.body() == await request.body()
    return await request.body()


APP = Litestar([tell], request_class=Asked, request_max_body_size=MOST, openapi_config=None)


async def sent(*pieces: bytes, announced: int | None = None, is_whole: bool = True) -> tuple[int, bytes, int]:
    """Send a body piece by piece: the status, what was answered, and how many pieces nobody asked for."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    messages[-1]["more_body"] = not is_whole
    answered: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answered.append(message)

    headers = [] if announced is None else [(b"content-length", b"%d" % announced)]
    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "http",
        "http_version": "1.1", "asgi": {"version": "3.0"}, "state": {},
    }  # fmt: skip
    await APP(scope, receive, send)  # type: ignore[arg-type]  # as a server sends it
    return answered[0]["status"], answered[1]["body"], len(messages)


@pytest.mark.parametrize("pieces", [[b""], [b"0123456789"], [b"01234", b"56789"], [b"0", b"", b"1", b"2"], [b"", b"x"]])
async def test_a_body_is_all_that_was_sent(pieces: list[bytes]) -> None:
    assert await sent(*pieces) == (200, b"".join(pieces), 0)


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"x" * 11, b""]])
async def test_more_than_is_allowed_is_refused(pieces: list[bytes]) -> None:
    assert (await sent(*pieces))[0] == 413


async def test_what_is_announced_as_too_much_is_not_read_on() -> None:
    status, _, left = await sent(b"x", b"x", b"x", announced=3000)
    assert (status, left) == (413, 2)


async def test_a_body_that_breaks_off_is_no_body() -> None:
    assert (await sent(b"01", b"23", is_whole=False))[0] == 500
    assert (await sent(b"01", is_whole=False))[0] == 500
