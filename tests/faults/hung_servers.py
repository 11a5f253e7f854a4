"""A server of somebody else's that hangs and does not die: every contract says so in its time, and it heals.

Nobody of ours can start such a server again. `make faults` runs this, and not the suite: it takes minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.cluster import ROLES, Cluster, Crowd, hung
from tests.journeys.kit import eventually

#: What is asked may ask a server several questions, each with a deadline of its own of ten seconds or so.
DEADLINE_SECONDS = 30.0
TRACK = {"isrc": "QZHNG2500001", "title": "Hung", "artist": "Ada"}
BEAT = {"categoryName": "LoFi - Melodic/Calm", "mode": "metadata_only"}
CALL = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}  # fmt: skip
#: Something that every contract is asked, and the part of its refusal that only it has.
ASKED: list[tuple[str, str, Any, str]] = [
    ("POST", "/v1/auth/register", {"email": "hung@example.com"}, "detail"),
    ("GET", "/v1/usage", None, "detail"),
    ("POST", "/v1/analyze/url", {"url": "https://example.com/a.mp3"}, "detail"),
    ("GET", "/functions/v1/projects", None, "message"),
    ("POST", "/functions/v1/projects", {"name": "Hung"}, "message"),
    ("GET", "/api/beats", None, "code"),
    ("POST", "/api/generate/beat", BEAT, "code"),
    ("GET", "/api/v1/tracks", None, "success"),
    ("POST", "/api/v1/tracks", TRACK, "success"),
    ("POST", "/mcp", CALL, "jsonrpc"),
]


def ask(crowd: Crowd, method: str, path: str, **options: Any) -> httpx.Response:
    """The answer, which comes in time."""
    return in_time(lambda: crowd.me.request(method, path, timeout=2 * DEADLINE_SECONDS, **options))


def in_time(asking: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, and it came in time."""
    began = time.monotonic()
    answer = asking()
    assert time.monotonic() - began < DEADLINE_SECONDS, answer.request.url
    return answer


def ready(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.http.get("/ready").json()
    return found


def errors(cluster: Cluster, event: str, part: str) -> int:
    lines = cluster.roles["tick"].log.splitlines()
    return sum(f'"event": "{event}"' in line and f'"part": "{part}"' in line for line in lines)


def test_a_postgres_that_hangs_is_said_by_every_contract_in_its_time_and_heals(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "hung-postgres")
    with hung(cluster.postgres):
        for method, path, body, shape in ASKED:
            answer = ask(crowd, method, path, **({} if body is None else {"json": body}))
            assert (answer.status_code, shape in answer.json()) == (503, True), (method, path, answer.text)
            assert int(answer.headers["retry-after"]) >= 1, path
        assert (ready(cluster)["postgres"], cluster.http.get("/health").status_code) == ("away", 200)
        eventually(lambda: not any(cluster.is_ready(role) for role in ROLES), timeout=60)
        eventually(lambda: errors(cluster, "dependency.refuses", "postgres") == 1, timeout=60)
    cluster.await_ready(*ROLES)
    with crowd.handing_in(20):
        pass
    crowd.check()
    eventually(lambda: errors(cluster, "dependency.recovered", "postgres") == 1, timeout=60)
    assert errors(cluster, "dependency.refuses", "postgres") == 1
    assert all("request.broken" not in role.log for role in cluster.roles.values())


def test_a_nats_that_hangs_stops_nobody_is_said_and_heals(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "hung-nats")
    with hung(cluster.nats):
        for number in range(5):
            assert ask(crowd, "GET", "/v1/usage").json()["count"] == number
            crowd.upload()
        assert ask(crowd, "GET", "/api/v1/tracks").status_code == 200
        eventually(lambda: ready(cluster)["nats"] != "ok", timeout=120)
        eventually(lambda: errors(cluster, "dependency.refuses", "nats") == 1, timeout=60)
    eventually(lambda: ready(cluster)["nats"] == "ok", timeout=120)
    crowd.check()
    eventually(lambda: errors(cluster, "dependency.recovered", "nats") == 1, timeout=60)
    assert errors(cluster, "dependency.refuses", "nats") == 1


def test_an_object_store_that_hangs_is_said_where_it_is_needed_and_heals(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "hung-objects")
    heard = crowd.upload()
    eventually(lambda: crowd.me.get(f"/v1/analysis/{heard}").json()["status"] == "completed", timeout=60)
    with hung(cluster.blobs):
        for answer in (
            ask(crowd, "GET", f"/v1/analysis/{heard}/full"),
            in_time(crowd.send_file),
        ):
            assert (answer.status_code, "detail" in answer.json()) == (503, True), answer.text
            assert int(answer.headers["retry-after"]) >= 1
        assert ask(crowd, "GET", "/v1/usage").status_code == 200
        assert ask(crowd, "GET", "/api/v1/tracks").status_code == 200
        assert (ready(cluster)["objects"], cluster.http.get("/ready").status_code) == ("away", 200)
        eventually(lambda: errors(cluster, "dependency.refuses", "objects") == 1, timeout=60)
        with crowd.handing_in(10):
            pass
    crowd.upload()
    assert crowd.me.get(f"/v1/analysis/{heard}/full").status_code == 200
    crowd.check()
    eventually(lambda: errors(cluster, "dependency.recovered", "objects") == 1, timeout=60)
