"""What is counted when it is asked about: count and state come in one query, and each to whom it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from psycopg.pq.abc import PGresult

from adapters.licensing.counted import CountedStates
from adapters.log.states import States
from adapters.postgres.prepared import PreparedStatement
from adapters.web.rate_limits import Limiter, Verdict, draws
from domain.kernel import Event
from domain.ledger import Change, Context
from domain.licensing.licenses import License, LicenseReinstated, LicenseRevoked, licenses
from infra.migrate import migrate
from tests.benchmarks.measuring import ledger

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORKSPACE = "w1"
MOST = 3


def revoked(license_id: str) -> Event:
    return LicenseRevoked(license_id=license_id, workspace_id=WORKSPACE, revoked_at=NOON)


def reinstated(license_id: str) -> Event:
    return LicenseReinstated(license_id=license_id, reinstated_at=NOON)


async def test_count_and_state_come_together_and_each_to_its_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database_url)
    statements: list[PreparedStatement] = []
    run = PreparedStatement.run

    async def noted(statement: PreparedStatement, parameters: Sequence[bytes]) -> PGresult:
        statements.append(statement)
        return await run(statement, parameters)

    async with ledger(database_url) as (log, pool):
        limiter = Limiter(pool, draws(database_url), NOON.timestamp)
        counted, context = CountedStates(log, States(log)), Context(correlation_id=uuid4(), workspace_id=WORKSPACE)

        async def happen(license_id: str, after: int, *events: Event) -> None:
            await log.append([Change(stream=licenses.stream(license_id), after=after, events=events)], context)

        async def ask(license_id: str) -> tuple[Verdict, License]:
            asking = counted.about(licenses, license_id)
            verdict = await limiter.take(license_id, MOST, 60, asking.draw)
            return verdict, await asking.state()

        await happen("a", 0, revoked("a"))
        await happen("b", 0, revoked("b"), reinstated("b"))
        await happen("d", 0, revoked("d"), reinstated("d"), revoked("d"))
        monkeypatch.setattr(PreparedStatement, "run", noted)
        found = await asyncio.gather(*map(ask, "abcd"))
        assert [state.revoked for _, state in found] == [True, False, False, True]
        assert [verdict.allowed for verdict, _ in found] == [True] * 4
        # What happened since is seen, in the same query that counts.
        await happen("b", 2, revoked("b"))
        statements.clear()
        verdict, state = await ask("b")
        assert state.revoked
        assert len(statements) == 1
        # Whoever holds something of the window already draws nothing, and asks for the state alone.
        rest = [await ask("b") for _ in range(MOST)]
        assert [each.allowed for each, _ in [(verdict, state), *rest]] == [True] * (MOST - 1) + [False] * 2
        assert all(each.revoked for _, each in rest)
        await limiter.close()
