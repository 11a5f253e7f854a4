"""A context declares a contract of its own, and everything under its paths is written in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from time import time
from typing import Any

import httpx
import pytest

from adapters.web.rate_limits import Verdict
from api.app import create_app
from api.rates import Limits
from api.surfaces import surface_at, surfaces
from infra.settings import Settings

HERBS = '''
"""Herbs, on a surface of their own."""

from __future__ import annotations

from datetime import UTC, datetime

from litestar import get, post
from litestar.params import FromPath, JSONBody
from msgspec import Struct

from api.rates import by_address, rate
from api.settings import Rates
from api.surfaces import Surface, headers_with_epoch
from domain.kernel import Conflict, Invalid, NotFound
from projections.kernel import milliseconds


class Withered(Conflict):
    """This herb has withered."""


class NoSuchHerb(NotFound):
    """There is no such herb."""


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


HERBS = Surface(
    title="Herbs",
    prefixes=("/herbs",),
    problem=lambda problem: {"success": False, "error": problem.sentence, "code": problem.code},
    shapes={"default": {"title": "HerbProblem", "type": "object"}},
    statuses={Conflict: 410, Invalid: 400},
    codes={NoSuchHerb: "unknown_herb"},
    moment=milliseconds,
    name=camel,
    rate_headers=headers_with_epoch,
)


class Herb(Struct):
    herb_name: str
    picked_at: datetime


class NewHerb(Struct):
    name: str


@get("/herbs/{name:str}")
async def get_herb(name: FromPath[str]) -> Herb:
    """Read a herb."""
    if name == "withered":
        raise Withered
    if name != "thyme":
        raise NoSuchHerb
    return Herb(herb_name=name, picked_at=datetime(2026, 11, 22, 12, tzinfo=UTC))


@post("/herbs", opt=rate(by_address("herbs", Rates, lambda rates: rates.demo_limit_per_hour)))
async def plant_herb(data: JSONBody[NewHerb]) -> Herb:
    """Plant a herb."""
    raise RuntimeError(data.name)
'''


class OneByOne:
    """Lets two through."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    def spend(self, key: str, limit: int, window_seconds: int) -> Verdict | None:
        """Knows nothing without asking."""
        return None

    async def take(self, key: str, limit: int, window_seconds: int, draw: object = None) -> Verdict:
        """Count one."""
        self.counted.append(key)
        left = 2 - len(self.counted)
        return Verdict(allowed=left >= 0, limit=limit, remaining=max(left, 0), reset_seconds=42, window_seconds=60)


@dataclass
class Door:
    """As much of it as a public route passes."""

    limits: Limits


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An extension with one module in its `api`."""
    root = tmp_path_factory.mktemp("extension")
    package = root / "herb_garden" / "api"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    (package / "herbs.py").write_text(HERBS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        patch.setenv("LEDGERLINE_EXTENSIONS", "herb_garden")
        surfaces.cache_clear()
        yield
    surfaces.cache_clear()


@pytest.fixture(scope="module")
def limiter() -> OneByOne:
    return OneByOne()


@pytest.fixture(scope="module")
async def app(garden: None, limiter: Any) -> Any:
    """The whole API with the extension; working out its routes takes longer than all the tests together."""

    async def build(kind: Any) -> Any:
        return Door(Limits(limiter, Settings()))

    return await create_app(build)


@pytest.fixture
async def http(app: Any, limiter: OneByOne) -> AsyncIterator[httpx.AsyncClient]:
    limiter.counted.clear()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://herbs") as client:
        yield client


async def told(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


async def test_times_and_names_are_written_its_way(http: httpx.AsyncClient) -> None:
    assert await told(await http.get("/herbs/thyme")) == (
        200,
        {"herbName": "thyme", "pickedAt": "2026-11-22T12:00:00.000Z"},
    )


async def test_a_refusal_has_its_status_its_code_and_its_body(http: httpx.AsyncClient) -> None:
    withered = {"success": False, "error": "This herb has withered.", "code": "withered"}
    assert await told(await http.get("/herbs/withered")) == (410, withered)
    unknown = {"success": False, "error": "There is no such herb.", "code": "unknown_herb"}
    assert await told(await http.get("/herbs/rue")) == (404, unknown)


async def test_what_the_framework_refuses_comes_in_its_shape_too(http: httpx.AsyncClient) -> None:
    missing = await http.get("/herbs/thyme/leaves/7")
    assert await told(missing) == (404, {"success": False, "error": "Not Found", "code": "not_found"})
    status, body = await told(await http.delete("/herbs/thyme"))
    assert (status, body["code"]) == (405, "method_not_allowed")
    for content in (b"{", b'{"nom": 1}'):
        answer = await http.post("/herbs", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


async def test_our_own_mistake_comes_in_its_shape(http: httpx.AsyncClient) -> None:
    status, body = await told(await http.post("/herbs", json={"name": "mint"}))
    assert (status, body) == (
        500,
        {"success": False, "error": "Internal server error", "code": "internal_server_error"},
    )


async def test_a_limit_of_a_route_is_counted_before_its_body_is_read_and_told_as_the_surface_does(
    http: httpx.AsyncClient,
) -> None:
    for left in (1, 0):
        answer = await http.post("/herbs", content=b"{")
        assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert abs(int(answer.headers["x-ratelimit-reset"]) - time() - 42) < 5
    refused = await http.post("/herbs", content=b"{")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "42"


async def test_what_is_beside_it_stays_as_it_is(http: httpx.AsyncClient) -> None:
    assert await told(await http.get("/herbsandspices")) == (404, {"detail": "Not Found"})
    assert surface_at("/herbs").title == "Herbs"
    assert surface_at("/v1/analyses").title == "Ledgerline"


async def test_the_contract_has_its_shapes(http: httpx.AsyncClient) -> None:
    schema = (await http.get("/openapi.json")).json()
    responses = schema["paths"]["/herbs"]["post"]["responses"]
    assert responses["410"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/HerbProblem"}
    assert "400" in responses
    assert "409" not in responses
    assert schema["components"]["schemas"]["HerbProblem"] == {"type": "object"}
