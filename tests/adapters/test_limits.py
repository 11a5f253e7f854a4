"""One limit for all processes: never more than it says, all of it usable, and no question to Postgres for most."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import uuid4

import pytest
from psycopg import AsyncConnection, Error
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.prepared import PreparedStatement
from adapters.web import rate_limits
from adapters.web.rate_limits import IDLE_SECONDS, Draw, Drawn, Limiter, draws
from infra.migrate import migrate
from tests.conftest import Databases

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A one for each statement that asks Postgres for something."""
    statements: list[int] = []
    run = PreparedStatement.run

    async def counted(statement: PreparedStatement, parameters: Sequence[bytes]) -> PGresult:
        statements.append(1)
        return await run(statement, parameters)

    monkeypatch.setattr(PreparedStatement, "run", counted)
    return statements


def _migrated(url: str) -> None:
    migrate(url)


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[str]:
    url = databases.copy_of("core", _migrated)
    yield url
    databases.drop(url)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with AsyncConnectionPool(database, min_size=1, max_size=4, kwargs={"autocommit": True}, open=False) as pool:
        yield pool


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def two(pool: Pool, database: str, clock: Clock) -> AsyncIterator[tuple[Limiter, Limiter]]:
    """Two processes."""
    one, other = (Limiter(pool, draws(database), clock) for _ in range(2))
    yield one, other
    await one.close()
    await other.close()


@pytest.mark.parametrize("limit", [1, 2, 5, 7, 60, 200])
async def test_two_processes_together_admit_the_limit_and_not_one_more(
    two: tuple[Limiter, Limiter], clock: Clock, limit: int
) -> None:
    """Requests arrive in a random order at either of them; whoever has run dry gets what the other gives back."""
    chance = random.Random(limit)
    key, admitted = str(uuid4()), 0
    for _ in range(limit * 3):
        verdict = await chance.choice(two).take(key, limit, 60)
        admitted += verdict.allowed
        assert admitted <= limit
        assert (verdict.limit, verdict.window_seconds) == (limit, 60)
        assert 0 <= verdict.remaining < limit or not verdict.allowed
    for each in two:
        clock.now += IDLE_SECONDS * 1.5
        await each.give_back()
    for _ in range(limit * 3):
        clock.now += IDLE_SECONDS * 0.01
        admitted += (await chance.choice(two).take(key, limit, 60)).allowed
        assert admitted <= limit
    # What either still holds, it holds for its own clients, and they get it.
    for each in two:
        clock.now += IDLE_SECONDS * 1.5
        while (await each.take(key, limit, 60)).allowed:
            admitted += 1
    assert admitted == limit


async def test_many_at_once_in_both_processes_get_the_limit_between_them(two: tuple[Limiter, Limiter]) -> None:
    key = str(uuid4())
    verdicts = await asyncio.gather(*(each.take(key, 50, 60) for _ in range(100) for each in two))
    assert sum(each.allowed for each in verdicts) <= 50
    for each in two:
        await each.give_back(everything=True)
    more = 0
    while (await two[0].take(key, 50, 60)).allowed:
        more += 1
    assert sum(each.allowed for each in verdicts) + more == 50


async def test_what_one_process_does_not_use_the_other_can(two: tuple[Limiter, Limiter], clock: Clock) -> None:
    one, other = two
    key = str(uuid4())
    assert [(await one.take(key, 80, 60)).remaining for _ in range(2)] == [79, 78]
    used = 0
    while (await other.take(key, 80, 60)).allowed:
        used += 1
    assert 0 < used < 78
    clock.now += IDLE_SECONDS * 1.5
    await one.give_back()
    while (await other.take(key, 80, 60)).allowed:
        used += 1
    assert used == 78


async def test_who_asks_once_takes_nothing_from_others(two: tuple[Limiter, Limiter]) -> None:
    one, other = two
    key = str(uuid4())
    assert (await one.take(key, 80, 60)).allowed
    used = 0
    while (await other.take(key, 80, 60)).allowed:
        used += 1
    assert used == 79


async def test_many_keys_are_drawn_together_and_forgotten_when_their_time_is_over(
    two: tuple[Limiter, Limiter], asked: list[int], clock: Clock
) -> None:
    limiter = two[0]
    keys = [str(uuid4()) for _ in range(150)]
    for _ in range(2):
        verdicts = await asyncio.gather(*(limiter.take(key, 60, 60) for key in keys))
        assert all(each.allowed for each in verdicts)
    assert len(asked) <= 8
    await limiter.give_back(everything=True)
    assert {(await limiter.take(key, 60, 60)).remaining for key in keys[:5]} == {57}
    clock.now += 61
    await limiter.give_back()
    assert not limiter._windows


async def test_after_the_window_it_begins_anew(two: tuple[Limiter, Limiter], clock: Clock) -> None:
    one, key = two[0], str(uuid4())
    assert [(await one.take(key, 2, 60)).allowed for _ in range(3)] == [True, True, False]
    refused = await one.take(key, 2, 60)
    assert (refused.remaining, refused.reset_seconds) == (0, 60)
    clock.now += 45
    assert (await one.take(key, 2, 60)).reset_seconds == 15
    clock.now += 15
    assert [(await one.take(key, 2, 60)).allowed for _ in range(3)] == [True, True, False]


async def test_keys_do_not_count_for_each_other(two: tuple[Limiter, Limiter]) -> None:
    assert (await two[0].take("one", 1, 60)).allowed
    assert (await two[0].take("another", 1, 60)).allowed
    assert not (await two[1].take("one", 1, 60)).allowed


async def test_most_requests_ask_postgres_nothing(two: tuple[Limiter, Limiter], asked: list[int]) -> None:
    limiter = two[0]
    key = str(uuid4())
    for _ in range(600):
        assert (await limiter.take(key, 1000, 60)).allowed
    assert len(asked) < 30
    while (await limiter.take(key, 1000, 60)).allowed:
        pass
    before = len(asked)
    for _ in range(500):
        await limiter.take(key, 1000, 60)
    # Those who are refused cannot make us ask either.
    assert len(asked) - before <= 1


async def test_what_is_spent_without_asking_is_the_same_limit(two: tuple[Limiter, Limiter], clock: Clock) -> None:
    one, key = two[0], str(uuid4())
    assert one.spend(key, 40, 60) is None
    admitted = 0
    for _ in range(100):
        verdict = one.spend(key, 40, 60) or await one.take(key, 40, 60)
        admitted += verdict.allowed
        assert verdict.remaining == max(0, 40 - admitted)
    assert admitted == 40
    clock.now += 60
    assert one.spend(key, 40, 60) is None


async def test_remaining_never_grows_within_a_window_of_one_process(two: tuple[Limiter, Limiter]) -> None:
    limiter, key = two[0], str(uuid4())
    told = [(await limiter.take(key, 60, 60)).remaining for _ in range(60)]
    assert told == list(range(59, -1, -1))


async def test_while_postgres_is_away_requests_pass(pool: Pool, clock: Clock) -> None:
    gone = draws("postgresql://127.0.0.1:1/none?connect_timeout=1")
    assert (await Limiter(pool, gone, clock).take("key", 5, 60)).allowed
    await gone.close()


async def test_while_postgres_says_nothing_requests_pass_and_not_all_of_them_wait(
    pool: Pool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "SILENT_SECONDS_MAX", 0.2)
    comes_back, asked = asyncio.Event(), []

    async def silent(_: PreparedStatement, _parameters: Sequence[bytes]) -> PGresult:
        await comes_back.wait()
        raise Error

    monkeypatch.setattr(PreparedStatement, "run", silent)
    hangs = draws("postgresql://127.0.0.1:1/none")
    ask = hangs.ask

    async def counted(draw: Draw) -> Drawn:
        asked.append(draw)
        return await ask(draw)

    monkeypatch.setattr(hangs, "ask", counted)
    limiter = Limiter(pool, hangs, clock)
    for key in ("one", "another", "a third"):
        assert (await limiter.take(key, 5, 60)).allowed
    assert len(asked) == 1
    clock.now += 1
    assert (await limiter.take("a fourth", 5, 60)).allowed
    assert len(asked) == 2, "it may have come back"
    comes_back.set()
    await limiter.close()


async def test_windows_that_have_ended_are_forgotten_and_each_is_remembered_once(
    two: tuple[Limiter, Limiter], clock: Clock
) -> None:
    limiter, key = two[0], str(uuid4())
    for _ in range(20):
        assert (await limiter.take(key, 100, 60)).allowed
        clock.now += IDLE_SECONDS + 0.5
        await limiter.give_back()
    assert len(limiter._ending) == 1
    ends_at = int(limiter._windows[key].ends_at)

    async def late(_: Draw) -> Drawn:
        """An answer that comes when its window has ended, and was swept for that."""
        clock.now = ends_at + 0.5
        await limiter.give_back()
        return Drawn(ends_at, 21, 1)

    assert (await limiter.take(key, 100, 60, late)).allowed
    clock.now += 1
    await limiter.give_back()
    assert not limiter._windows
    assert not limiter._ending
