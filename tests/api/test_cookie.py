"""The one cookie that is ours, read by hand: the others may be made to be slow."""

from __future__ import annotations

import time

from litestar.testing import RequestFactory

from api.auth import cookie


def cookies_of(header: str, *more: str) -> str | None:
    request = RequestFactory().get("/")
    request.scope["headers"] = [(b"cookie", each.encode("latin-1")) for each in (header, *more)]
    return cookie(request, b"ledgerline_session")


def test_our_cookie_is_found_among_others() -> None:
    assert cookies_of('a=b; c="d;e\\"f"; ledgerline_session=tok.en; x') == "tok.en"
    assert cookies_of("a=b", "ledgerline_session=token") == "token"
    assert cookies_of("not_ledgerline_session=token; ledgerline_session2=token") is None


def test_a_cookie_full_of_escaped_quotes_costs_nothing() -> None:
    began = time.process_time()

    assert cookies_of('ledgerline_session="' + '\\"' * 39_000 + '"') is not None
    assert cookies_of('other="' + '\\"' * 39_000 + '"') is None
    assert time.process_time() - began < 0.1
