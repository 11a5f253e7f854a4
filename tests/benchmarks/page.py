"""A page of twenty documents over HTTP, beside FastAPI, SQLAlchemy and pydantic serving the same page.

Both are one uvicorn process with uvloop and httptools, on the same Postgres. Ours is read-your-writes as always: each
page is compared with the newest event of its workspace. Needs the dependency group `benchmarks`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import structlog
from litestar import Litestar, Response, get

from adapters.readmodels.projector import Projector
from adapters.readmodels.views import Progress, Reads, Views
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from infra.embedded.processes import free_ports
from tests.benchmarks.job_submission import running, wait
from tests.benchmarks.load import load, message
from tests.benchmarks.measuring import argument, database, ledger, median, postgres, run, say, until
from tests.benchmarks.orchards import fill
from tests.core.orchard import forest


async def main() -> None:
    """In turn, same machine, same database."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    rounds, seconds = argument("rounds", 3), argument("seconds", 3)
    ours_port, peer_port = free_ports(2)
    with postgres() as server, ExitStack() as stack:
        url = database(server)
        fill(url, 50_000)
        async with ledger(url) as (log, pool):
            projector = Projector(log, Feed(log, Bus("nats://127.0.0.1:1", "none")), pool, [forest()], [], [])
            stop = asyncio.Event()
            task = asyncio.create_task(projector.run(stop))
            await until(lambda: projector.position >= 50_000)
            stop.set()
            await task
        uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "warning", "--port"]
        peer_url = url.replace("postgresql://", "postgresql+psycopg://")
        environment = os.environ | {"BENCH_DATABASE_URL": url, "PEER_DATABASE_URL": peer_url}
        ours_command = [*uvicorn, str(ours_port), "--factory", "tests.benchmarks.page:app"]
        stack.enter_context(running(ours_command, environment))
        stack.enter_context(running([*uvicorn, str(peer_port), "tests.benchmarks.peers.page:app"], environment))
        await asyncio.to_thread(wait, f"http://127.0.0.1:{ours_port}/trees")
        await asyncio.to_thread(wait, f"http://127.0.0.1:{peer_port}/trees?workspace_id=w1")
        ours: list[float] = []
        peer: list[float] = []
        for _ in range(rounds):
            for port, path, found in ((ours_port, "/trees", ours), (peer_port, "/trees?workspace_id=w1", peer)):
                request = message("GET", path, {})
                result = await load(f"http://127.0.0.1:{port}", request, connections=32, seconds=seconds)
                assert set(result.statuses) == {200}
                found.append(result.requests_per_second)
        print(f"a page of 20 documents, 32 connections, medians of {rounds} rounds of {seconds} s")
        say("ours", median(ours), "requests/s")
        say("FastAPI + SQLAlchemy + pydantic", median(peer), "requests/s")
        say("ours / theirs", median([a / b for a, b in zip(ours, peer, strict=True)]), "x", goal=">= 4")


def app() -> Litestar:
    """One route over the read models, made as the service makes its own."""
    trees = forest()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with ledger(os.environ["BENCH_DATABASE_URL"]) as (log, pool):
            app.state.views = Views(Reads(log, pool, Progress(Bus("nats://127.0.0.1:1", "none"))))
            yield

    @get("/trees")
    async def page() -> Response[bytes]:
        views: Views = application.state.views
        listed = await views.page(trees, "w1", limit=20)
        body = b"[" + b",".join([each.body for each in listed]) + b"]"
        return Response(body, media_type="application/json")

    application = Litestar([page], lifespan=[lifespan], openapi_config=None)
    return application


if __name__ == "__main__":
    run(main)
