"""DocumentWriter are found by their id alone, and only when there may be any."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from msgspec import json
from msgspec.structs import replace

from adapters.readmodels.writers import DocumentWriter
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Event
from domain.ledger import Recorded
from domain.vocabulary import name_of
from domain.webhooks.deliveries import DeliveryGivenUp, DeliveryQueued
from projections.webhooks.deliveries import delivery_logs
from tests.core.conftest import House
from tests.core.orchard import NOW, TreePlanted, TreeView, TreeWatered, forest


def recorded(position: int, stream: str, version: int, event: Event) -> Recorded:
    return Recorded(
        position=position,
        stream=stream,
        version=version,
        event_id=uuid4(),
        name=name_of(type(event)),
        schema_version=1,
        recorded_at=datetime.now(UTC),
        workspace_id="w1",
        actor="tester",
        correlation_id=uuid4(),
        causation_id=None,
        event=event,
    )


async def rows_read(house: House, page: list[Recorded]) -> int:
    """How many rows of all documents a page makes Postgres read."""
    async with house.pool.connection() as connection, connection.transaction():
        await DocumentWriter(forest(), 1).absorb(connection, page)
        cursor = await connection.execute(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'documents'"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_a_page_reads_the_documents_it_touches_and_no_others_before_any_statistics_are_there(
    house: House,
) -> None:
    await house.fetch("ALTER TABLE documents SET (autovacuum_enabled = false)")
    await house.fetch(
        "INSERT INTO documents (projection, version, id, workspace_id, created, position, body) "
        "SELECT 'trees', 1, 'tree ' || n, 'w' || n %% 9, n, n, %s FROM generate_series(1, 20000) AS n",
        json.encode(TreeView(id="any")),
    )
    page = [recorded(n + 20_000, f"tree-tree {n}", 2, TreeWatered(tree_id=f"tree {n}")) for n in range(1, 31)]
    assert await rows_read(house, page) <= 60


async def test_a_document_that_begins_in_a_page_is_not_looked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = [recorded(n, f"tree-{n}", 1, TreePlanted(tree_id=f"{n}")) for n in range(1, 31)]
    asked: list[str] = []
    async with house.pool.connection() as connection:
        execute = connection.execute

        async def note(query: Any, *arguments: Any, **options: Any) -> Any:
            asked.append(str(query).split(maxsplit=1)[0])
            return await execute(query, *arguments, **options)

        monkeypatch.setattr(connection, "execute", note)
        await DocumentWriter(forest(), 1).absorb(connection, page)
    assert asked == ["INSERT"]


async def test_the_first_event_of_a_second_stream_finds_the_document_that_the_first_one_made(house: House) -> None:
    async with house.pool.connection() as connection:
        for position, stream in ((1, "tree-a"), (2, "graft-a")):
            event = TreePlanted(tree_id="a") if position == 1 else TreeWatered(tree_id="a", litres=7)
            await DocumentWriter(forest(), 1).absorb(connection, [recorded(position, stream, 1, event)])
    [(body,)] = await house.fetch("SELECT body FROM documents WHERE id = 'a'")
    assert json.decode(body)["litres"] == 7


async def test_what_a_forgotten_workspace_had_stays_gone_also_from_the_memory_of_who_folds(house: House) -> None:
    writer = DocumentWriter(delivery_logs, 1)
    address = "https://hooks.example/token"
    queued = DeliveryQueued(
        delivery_id="d",
        workspace_id="w1",
        subject_kind="analysis",
        subject_id="a",
        url=address,
        message_type="analysis.completed",
        queued_at=NOW,
    )
    given_up = DeliveryGivenUp(
        delivery_id="d", subject_kind="analysis", subject_id="a", reason="gone", given_up_at=NOW, because="removed"
    )
    pages = [
        [recorded(1, "delivery-d", 1, queued)],
        [recorded(2, "workspace-w1", 9, WorkspaceForgotten(workspace_id="w1", forgotten_at=NOW))],
        [recorded(3, "delivery-d", 2, given_up)],
    ]
    counts = []
    for page in pages:
        async with house.pool.connection() as connection:
            assert await writer.absorb(connection, page) == []
        counts.append(len(await house.fetch("SELECT id FROM documents")))
    assert counts == [1, 0, 0]

    # The same in one page, and by somebody who never had it in memory.
    async with house.pool.connection() as connection:
        await writer.absorb(connection, [recorded(4, "delivery-e", 1, replace(queued, delivery_id="e"))])
        last = [replace(each, position=each.position + 10) for page in pages for each in page]
        assert await DocumentWriter(delivery_logs, 1).absorb(connection, last) == []
    assert await house.fetch("SELECT id FROM documents") == []
