"""The library's own tests of a recorder, and ours of what we changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
)

from adapters.log.recorder import LedgerRecorder, recorder
from infra.migrate import migrate
from tests.conftest import Databases


@pytest.fixture
def new_recorder(databases: Databases, request: pytest.FixtureRequest) -> Iterator[None]:
    """Gives the library's test cases a recorder on a database of their own."""
    url = databases.create()
    made: list[LedgerRecorder] = []

    def create(_: Any) -> LedgerRecorder:
        one = recorder(url)
        one.create_table()
        made.append(one)
        return one

    request.cls.create_recorder = create
    yield
    for one in made:
        one.datastore.close()
    databases.drop(url)


class Ours:
    """Stream ids are text."""

    def new_originator_id(self) -> str:
        return f"thing-{uuid4()}"


@pytest.mark.usefixtures("new_recorder")
class TestAggregateRecorder(Ours, AggregateRecorderTestCase):
    pass


@pytest.mark.usefixtures("new_recorder")
class TestApplicationRecorder(Ours, ApplicationRecorderTestCase[LedgerRecorder]):
    """All but that ids of two writers do not interleave: the library locks the table for that, and nothing relies on
    it here, where no page goes past a hole."""


def test_every_row_has_an_envelope_even_when_the_library_wrote_it(databases: Databases) -> None:
    url = databases.create()
    one = recorder(url)
    one.create_table()
    one.insert_events([StoredEvent("thing-1", 1, "core.Thing", b"{}")])
    one.datastore.close()
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT event_id IS NOT NULL, schema_version, recorded_at <= clock_timestamp(), workspace_id, actor, "
            "correlation_id IS NOT NULL, causation_id FROM ledger_events"
        ).fetchall()
    databases.drop(url)

    assert rows == [(True, 1, True, "public", "system", True, None)]


def test_no_database_function_that_would_lose_events_is_made(databases: Databases) -> None:
    url = databases.create()
    migrate(url)
    with psycopg.connect(url) as connection:
        # What is volatile may write; what a trigger calls is called by nobody else, and none is on the log.
        rows = connection.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND provolatile = 'v' "
            "AND prorettype <> 'trigger'::regtype UNION ALL "
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'ledger_events'::regclass AND NOT tgisinternal"
        ).fetchall()
    databases.drop(url)

    assert rows == []


def test_migrating_twice_at_once_is_the_same_as_once(databases: Databases) -> None:
    from concurrent.futures import ThreadPoolExecutor

    url = databases.create()
    with ThreadPoolExecutor(4) as threads:
        done = sorted(threads.map(migrate, [url] * 4), key=len)
    databases.drop(url)

    assert done[:3] == [[], [], []]
    assert "0001_read_side.sql" in done[3]
