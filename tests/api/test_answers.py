"""What is sent is what the framework would send, also when it is written without its detours."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Request, Response
from litestar.datastructures import Cookie
from msgspec import Struct

from api.answers import Answer


class Job(Struct):
    job_id: str


CASES: list[dict[str, Any]] = [
    {"content": Job(job_id="a"), "status_code": 202},
    {"content": {"a": [1, None, "ä"]}},
    {"content": b'{"as":"stored"}', "media_type": "application/json"},
    {"content": b"[]", "media_type": "application/json", "headers": {"Link": "<next>"}},
    {"content": {"a": 1}, "cookies": [Cookie(key="ledgerline_session", value="x")]},
    {"content": None, "status_code": 204},
    {"content": "words", "media_type": "text/plain"},
    {"content": b"\x89PNG", "media_type": "image/png"},
]


async def sent(response: Response[Any]) -> list[Any]:
    scope: Any = {"type": "http", "headers": [], "method": "GET", "path": "/", "state": {}}
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)

    handled = {"headers": {}, "cookies": [], "media_type": "application/json", "status_code": 201}
    await response.to_asgi_response(None, Request(scope), **handled)(scope, receive, send)  # type: ignore[arg-type]
    return messages


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["content"])[:16])
async def test_an_answer_is_sent_as_the_framework_would_send_it(case: dict[str, Any]) -> None:
    assert await sent(Answer(**case)) == await sent(Response(**case))
