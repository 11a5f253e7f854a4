"""Processes are killed, servers go away and come back, and nothing that was accepted is lost or done twice.

The last of it is a short fault campaign; `make faults` runs the long one.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import nats
import pytest

from tests.faults.campaign import FAULTS, suffer, verified
from tests.faults.cluster import ROLES, Cluster, Crowd
from tests.journeys.kit import eventually


def refused(answer: httpx.Response) -> None:
    """It says that something is away, and when to ask again."""
    assert answer.status_code == 503, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert int(answer.headers["retry-after"]) >= 1


def all_refused(*asked: Callable[[], httpx.Response]) -> None:
    """Whatever is asked, all at once, because each answer is waited for until a deadline."""
    with ThreadPoolExecutor(len(asked)) as pool:
        for answer in pool.map(lambda ask: ask(), asked):
            refused(answer)


def test_the_workers_are_killed_in_the_middle_of_their_work(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "busy")
    for name in ("analyses", "react", "project"):
        with crowd.handing_in(10):
            eventually(lambda: cluster.asked("SELECT FROM jobs WHERE state = 'running'"), timeout=30)
            cluster.crash(name)
    cluster.await_ready(*ROLES)
    crowd.check()


def test_the_store_of_nats_is_deleted_while_it_runs_and_it_starts_again_with_nothing(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "wiped")
    with crowd.handing_in(40):
        crowd.after(10)
        shutil.rmtree(cluster.nats.directory / "data")
        crowd.after(30)
        cluster.nats.stop()
        shutil.rmtree(cluster.nats.directory / "data", ignore_errors=True)
        cluster.nats.start()
    crowd.check()
    [(newest,)] = cluster.asked("SELECT max(notification_id) FROM ledger_events")
    eventually(lambda: asyncio.run(last_in(cluster.nats.url)) == newest)


async def last_in(url: str) -> int:
    """The position of the newest event that subscribers can get from a server."""
    client = await nats.connect(url)
    try:
        stream = await client.jetstream().stream_info("LEDGERLINE")
        last = await client.jetstream().get_msg("LEDGERLINE", stream.state.last_seq)
    except nats.errors.Error:  # there is no stream yet, or nothing in it
        return 0
    finally:
        await client.close()
    return int((last.headers or {})["Ledgerline-Position"])


def test_postgres_is_restarted(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "postgres")
    with crowd.handing_in(40):
        for accepted in (10, 30):
            crowd.after(accepted)
            cluster.postgres.stop()
            cluster.postgres.start()
    crowd.check()


def test_while_postgres_is_away_it_is_said_so_and_when_it_is_back_it_works(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "nobody")
    assert crowd.me.get("/v1/usage").status_code == 200
    cluster.postgres.stop()
    try:
        all_refused(
            lambda: crowd.me.get("/v1/usage"),
            lambda: crowd.me.post("/v1/analyze/url", json={"url": "https://example.com/a.mp3"}),
            lambda: cluster.http.post("/v1/auth/register", json={"email": "away@example.com"}),
            lambda: cluster.http.post("/v1/demo/analyze/url", json={"url": "https://example.com/a.mp3"}),
        )
        assert cluster.http.get("/health").status_code == 200
        assert cluster.http.get("/ready").status_code == 503
    finally:
        cluster.postgres.start()
    assert crowd.retrying(lambda: crowd.me.get("/v1/usage")).status_code == 200
    with crowd.handing_in(10):
        pass
    crowd.check()


def test_while_the_object_store_is_away_uploads_wait_and_nothing_fails_for_it(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "store")
    before = crowd.upload()
    eventually(lambda: crowd.me.get(f"/v1/analysis/{before}").json()["status"] == "completed", timeout=60)
    with crowd.handing_in(40):
        crowd.after(5)
        cluster.blobs.stop()
        try:
            all_refused(crowd.send_file, lambda: crowd.me.get(f"/v1/analysis/{before}/full"))
            assert crowd.me.get(f"/v1/analysis/{before}").json()["status"] == "completed"
            crowd.after(41)
        finally:
            cluster.blobs.start()
    crowd.upload()
    assert crowd.me.get(f"/v1/analysis/{before}/full").status_code == 200
    crowd.check()


@pytest.mark.parametrize("name", ROLES)
def test_a_role_ends_in_good_order_when_it_is_asked_to(cluster: Cluster, name: str) -> None:
    role = cluster.roles[name]
    status, said = role.stop(), role.log
    # Others follow, in any order.
    role.start()
    assert (status, '"role.stopped"' in said) == (0, True)


@pytest.mark.parametrize(
    "fault",
    [
        "serve killed",
        "nats killed",
        "postgres killed",
        "connections to postgres cut",
        "answers lost",
        "messages repeated and out of order",
    ],
)
def test_what_was_acknowledged_is_there_once_whatever_has_died(cluster: Cluster, fault: str) -> None:
    # A turn is several commands in some contexts.
    assert len(suffer(cluster, fault, commands=40, seed=11).acknowledged) > 25


def test_after_all_of_it_everything_that_is_kept_is_as_it_should_be(cluster: Cluster) -> None:
    verified(cluster)


def test_there_are_twenty_faults_to_suffer() -> None:
    assert len(FAULTS) >= 20
