"""The event core in a house of its own: a database, a corner of NATS, and the parts on request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Self

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.jobs.worker import Worker, ring
from adapters.log.data_keys import DataKeys
from adapters.log.eventlog import EventLog
from adapters.readmodels.followers import Followers, tell
from adapters.readmodels.projector import Projector
from adapters.readmodels.views import Progress, Reads, Views
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from adapters.stream.relay import Relay
from commands.kernel import Command, Reaction, execute
from domain.kernel import Event
from domain.ledger import Change, Recorded, Unreadable
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.migrate import migrate
from infra.settings import Settings
from projections.kernel import Projection, Tally
from tests.conftest import Databases
from tests.core.orchard import NOW, SECRET, context, figures, forest


async def eventually(condition: Callable[[], Any], *, within_seconds: float = 20.0) -> Any:
    """Wait until a condition (plain or awaitable) holds, and return what it gave."""
    deadline = asyncio.get_running_loop().time() + within_seconds
    pause = 0.005
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, "it never came to be"
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 0.1)


class House:
    """One database and one corner of NATS, with as many of each part as a test wants."""

    def __init__(self, postgres_url: str, nats_url: str, prefix: str) -> None:
        self.url = postgres_url
        self.nats_url = nats_url
        self.prefix = prefix
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.pool = await self.new_pool()
        self.keys = DataKeys(self.pool, SECRET)
        self.bus = await self.new_bus()
        self.ledger = self.new_ledger()
        self.progress = Progress(self.bus)
        await self.progress.start()
        self.followers = Followers(self.bus, self.pool, 64)
        await self.followers.start()
        self._open.push_async_callback(self.followers.close)
        self.views = self.new_views()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def new_pool(self, size: int = 6) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            self.url, min_size=1, max_size=size, open=False, kwargs={"autocommit": True}
        )
        await pool.open()
        self._open.push_async_callback(pool.close)
        return pool

    async def new_bus(self) -> Bus:
        bus = Bus(self.nats_url, self.prefix)
        bus.start()
        assert await bus.connected(10)
        self._open.push_async_callback(bus.close)
        return bus

    def new_ledger(self, **options: Any) -> EventLog:
        ledger = EventLog(self.url, self.pool, self.keys, **{"on_commit": lambda *_: self.bus.ring("bell")} | options)
        self._open.push_async_callback(ledger.close)
        return ledger

    def new_views(self, **options: Any) -> Views:
        return Views(Reads(self.ledger, self.pool, self.progress, **options))

    async def fetch(self, query: str, *parameters: Any) -> list[TupleRow]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    # --- writing and reading

    async def record(self, stream: str, *events: Event, after: int | None = None, workspace_id: str = "w1") -> int:
        if after is None:
            after = (await self.ledger.read(stream)).version
        change = Change(stream=stream, after=after, events=events)
        return await self.ledger.append([change], context(workspace_id))

    async def ask(self, command: Command, workspace_id: str = "w1") -> int:
        return await execute(command, self.ledger, NOW, context(workspace_id))

    async def everything(self, ledger: EventLog | None = None) -> list[Recorded]:
        """All events in order of position."""
        found: list[Recorded | Unreadable] = []
        while page := await (ledger or self.ledger).page(found[-1].position if found else 0, 500):
            found += page
        return [each for each in found if isinstance(each, Recorded)]

    # --- parts that run

    @contextlib.asynccontextmanager
    async def running(self, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    @contextlib.asynccontextmanager
    async def relaying(self, **options: Any) -> AsyncIterator[Relay]:
        relay = Relay(self.new_ledger(), await self.new_bus(), self.url, **options)
        async with self.running(relay.run):
            yield relay

    async def new_projector(
        self,
        projections: Sequence[Projection[Any]] | None = None,
        tallies: Sequence[Tally] | None = None,
        reactions: Iterable[Reaction] = (),
        bus: Bus | None = None,
    ) -> Projector:
        bus = bus or self.bus
        feed = Feed(self.ledger, bus)
        await feed.start()
        return Projector(
            self.ledger,
            feed,
            self.pool,
            [forest()] if projections is None else projections,
            [figures()] if tallies is None else tallies,
            reactions,
            on_progress=lambda position: bus.ring("projected", str(position).encode()),
            on_jobs=ring(bus),
            on_events=partial(tell, bus),
        )

    @contextlib.asynccontextmanager
    async def projecting(self, *arguments: Any, **options: Any) -> AsyncIterator[Projector]:
        projector = await self.new_projector(*arguments, **options)
        async with self.running(projector.run):
            yield projector

    @contextlib.asynccontextmanager
    async def working(self, *reactions: Reaction, **options: Any) -> AsyncIterator[Worker]:
        worker = Worker(self.ledger, self.pool, self.bus, lambda _: None, reactions, settings=Settings(), **options)
        async with self.running(worker.run):
            yield worker

    async def caught_up(self, *names: str) -> None:
        """Wait until the live checkpoints have everything."""
        head = await self.ledger.head()

        async def there() -> bool:
            rows = await self.fetch("SELECT name, position FROM checkpoints WHERE live")
            places = {row[0]: int(row[1]) for row in rows}
            return all(places.get(name, 0) >= head for name in names or ("trees", "figures", "jobs"))

        await eventually(there)

    async def documents(self, name: str = "trees") -> dict[str, bytes]:
        return dict(
            await self.fetch(
                "SELECT d.id, d.body FROM documents d JOIN checkpoints f ON f.name = d.projection "
                "AND f.version = d.version AND f.live WHERE d.projection = %s",
                name,
            )
        )

    async def sums(self, name: str = "figures") -> dict[str, int]:
        return dict(
            await self.fetch(
                "SELECT t.key, t.amount FROM tallies t JOIN checkpoints f ON f.name = t.projection "
                "AND f.version = t.version AND f.live WHERE t.projection = %s",
                name,
            )
        )


def _migrate(url: str) -> None:
    migrate(url)


@pytest.fixture
def core_url(databases: Databases) -> Any:
    """A migrated database for this test."""
    url = databases.copy_of("core", _migrate)
    yield url
    databases.drop(url)


@pytest.fixture
async def house(core_url: str, nats_server: EmbeddedNats, nats_prefix: str) -> AsyncIterator[House]:
    """The event core on the servers of the session."""
    async with House(core_url, nats_server.url, nats_prefix) as house:
        yield house


@pytest.fixture
def own_nats(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A NATS server that this test may stop, wipe and start."""
    with EmbeddedNats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Postgres server that the tests of a module may stop and start."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("pg"), settings={"fsync": "off"}, sync=False) as server:
        yield server
