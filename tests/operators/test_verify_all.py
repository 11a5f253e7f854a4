"""Read models, objects and JetStream are compared with the log; what differs is named, and mended where that can be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from msgspec.structs import replace

from adapters.operators.findings import Finding
from adapters.operators.folded import check_read_models
from adapters.operators.objects import check_objects
from adapters.operators.streamed import check_stream
from adapters.postgres.settings import Postgres
from adapters.readmodels.projector import request_rebuild
from adapters.storage.blobs import Blobs
from domain.analyses.analyses import AnalysisCancelled
from domain.catalogue.imports import ImportRefused, ImportRequested
from domain.identity.workspaces import WorkspaceForgotten
from infra.container import load_everything
from infra.embedded.nats import EmbeddedNats
from projections.kernel import PROJECTIONS, TALLIES
from tests.analyses.examples import completed, requested
from tests.conftest import Bucket, Databases
from tests.core.conftest import House, _migrate, eventually
from tests.core.orchard import NOW
from tests.identity.crowd import sign_in
from tests.strategies import ordinary

SHEET = b"isrc,plays\nQZES71234567,12\n"


class Kept(NamedTuple):
    """A log with an analysis and an import, folded and carried, and the objects that it names."""

    house: House
    blobs: Blobs


@pytest.fixture
async def kept(
    databases: Databases, nats_server: EmbeddedNats, nats_prefix: str, bucket: Bucket
) -> AsyncIterator[Kept]:
    load_everything()
    url = databases.copy_of("core", _migrate)
    blobs = Blobs(bucket.url, access_key=bucket.access_key, secret_key=bucket.secret_key, bucket=bucket.name)
    async with House(url, nats_server.url, nats_prefix) as house:
        await house.ask(requested)
        await house.ask(completed)
        sheet = ordinary(ImportRequested)
        await house.record("import-1", _changed(sheet, "imports/w1/1"))
        await blobs.put_bytes("details/an-1", b"{}", content_type="application/json")
        await blobs.put_bytes("imports/w1/1", SHEET, content_type="text/csv")
        projecting = house.projecting(list(PROJECTIONS.values()), list(TALLIES.values()))
        async with projecting, house.relaying() as relay:
            await house.caught_up(*PROJECTIONS, *TALLIES)
            await eventually(lambda: relay.position and relay.is_active)
            yield Kept(house, blobs)
    await blobs.close()
    databases.drop(url)


def _changed(sheet: ImportRequested, key: str) -> ImportRequested:
    from msgspec.structs import replace

    digest = sha256(SHEET).hexdigest()
    kept = {"kept_sha256": None, "kept_size": None}
    return replace(sheet, import_id="1", workspace_id="w1", object_key=key, size=len(SHEET), sha256=digest, **kept)


def _said(findings: tuple[Finding, ...]) -> list[tuple[str, Any]]:
    return [(each.kind, each.subject or each.position) for each in findings]


async def test_everything_is_in_order_where_nobody_has_touched_it(kept: Kept) -> None:
    house = kept.house
    folded = await check_read_models(house.url, house.ledger)
    assert (folded.findings, folded.skipped, folded.events) == ((), (), await house.ledger.head())
    assert folded.read_models == len(PROJECTIONS) + len(TALLIES)
    looked = await check_objects(house.ledger, kept.blobs)
    assert (looked.findings, looked.objects, looked.read) == ((), 2, 1)
    streamed = await check_stream(house.ledger, house.bus)
    assert (streamed.findings, streamed.messages, streamed.behind) == ((), folded.events, 0)


CHANGES = {
    "a document that says something else": (
        """UPDATE documents SET body = replace(convert_from(body, 'UTF8'), 'completed', 'failed')::bytea
           WHERE projection = 'platform_analyses'""",
        ("document_differs", "platform_analyses"),
    ),
    "a document that is gone": (
        "DELETE FROM documents WHERE projection = 'platform_analyses'",
        ("document_missing", "platform_analyses"),
    ),
    "a document that nobody made": (
        """INSERT INTO documents SELECT projection, version, 'an-2', workspace_id, parent, created, position, body
           FROM documents WHERE projection = 'platform_analyses'""",
        ("document_left_over", "platform_analyses"),
    ),
    "a document of another workspace": (
        "UPDATE documents SET workspace_id = 'w2' WHERE projection = 'platform_analyses'",
        ("document_differs", "platform_analyses"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_changed_read_model_is_named_and_folded_again(kept: Kept, name: str) -> None:
    statement, expected = CHANGES[name]
    await kept.house.fetch(statement)
    assert _said((await check_read_models(kept.house.url, kept.house.ledger)).findings) == [expected]
    async with kept.house.pool.connection() as connection:
        projection = PROJECTIONS[expected[1]]
        version = await request_rebuild(connection, projection.name, projection.version)

    async def is_live() -> bool:
        rows = "SELECT live FROM checkpoints WHERE name = $1 AND version = $2".replace("$1", "%s").replace("$2", "%s")
        return (await kept.house.fetch(rows, projection.name, version)) == [(True,)]

    await eventually(is_live)
    assert (await check_read_models(kept.house.url, kept.house.ledger)).findings == ()


async def test_a_sum_that_is_wrong_is_named(kept: Kept) -> None:
    await kept.house.fetch(
        "UPDATE tallies SET amount = amount + 1 "
        "WHERE (projection, key) IN (SELECT projection, key FROM tallies LIMIT 1)"
    )
    [finding] = (await check_read_models(kept.house.url, kept.house.ledger)).findings
    assert finding.kind == "document_differs"
    assert finding.subject in TALLIES


async def test_parked_streams_are_compared_up_to_where_they_are_parked(kept: Kept) -> None:
    house = kept.house
    await house.fetch(
        "INSERT INTO parked (subscription, version, stream, position, problem) "
        "SELECT name, version, 'analysis-an-1', 1, 'tried' FROM checkpoints WHERE name = 'platform_analyses'"
    )
    assert _said((await check_read_models(house.url, house.ledger)).findings) == [
        ("document_left_over", "platform_analyses")
    ]


async def test_an_object_is_missed_until_it_is_let_go(kept: Kept) -> None:
    house, blobs = kept.house, kept.blobs
    await blobs.delete("imports/w1/1")
    assert _said((await check_objects(house.ledger, blobs)).findings) == [("object_missing", "imports/w1/1")]
    await blobs.put_bytes("imports/w1/1", SHEET[:-1], content_type="text/csv")
    assert _said((await check_objects(house.ledger, blobs)).findings) == [("object_differs", "imports/w1/1")]
    await blobs.put_bytes("imports/w1/1", SHEET.replace(b"12", b"13"), content_type="text/csv")
    [finding] = (await check_objects(house.ledger, blobs)).findings
    assert finding.message.endswith("has another SHA-256 than the event says.")
    refused = ImportRefused(import_id="1", reason="broken", detail="", refused_at=NOW)
    await house.record("import-1", refused)
    assert (await check_objects(house.ledger, blobs)).findings == ()


async def test_what_a_forgotten_workspace_had_is_not_missed(kept: Kept) -> None:
    for key in ("imports/w1/1", "details/an-1"):
        await kept.blobs.delete(key)
    assert len((await check_objects(kept.house.ledger, kept.blobs)).findings) == 2
    forgotten = WorkspaceForgotten(workspace_id="w1", forgotten_at=NOW)
    await kept.house.record("workspace-w1", forgotten)
    assert (await check_objects(kept.house.ledger, kept.blobs)).findings == ()
    # What ends only now names what nobody keeps any more.
    [done] = [each for each in await kept.house.everything() if each.name == "analyses.AnalysisCompleted"]
    await kept.house.record("analysis-an-8", replace(done.event, analysis_id="an-8", detail_key="details/an-8"))
    assert (await check_objects(kept.house.ledger, kept.blobs)).findings == ()


async def test_a_recording_is_kept_until_its_analysis_is_over(kept: Kept) -> None:
    house = kept.house
    [first] = [each for each in await house.everything() if each.name == "analyses.AnalysisRequested"]
    sent = replace(first.event, analysis_id="an-9", origin="upload", object_key="uploads/w1/an-9")
    await house.record("analysis-an-9", sent)
    assert _said((await check_objects(house.ledger, kept.blobs)).findings) == [("object_missing", "uploads/w1/an-9")]
    await house.record("analysis-an-9", AnalysisCancelled(analysis_id="an-9", cancelled_at=NOW))
    assert (await check_objects(house.ledger, kept.blobs)).findings == ()


# --- the stream, which the relay mends by itself when it is not what it left, but not when it cannot see it


async def test_what_differs_in_the_stream_is_named(kept: Kept) -> None:
    house = kept.house
    [(position,)] = await house.fetch("SELECT min(notification_id) FROM ledger_events")
    await house.fetch("UPDATE ledger_events SET actor = 'x' WHERE notification_id = %s", position)
    assert _said((await check_stream(house.ledger, house.bus)).findings) == [("message_differs", position)]
    await house.fetch("UPDATE ledger_events SET notification_id = 900 WHERE notification_id = %s", position)
    found = _said((await check_stream(house.ledger, house.bus)).findings)
    assert found[0] == ("message_differs", position)


async def test_a_stream_that_is_gone_is_named(
    databases: Databases, nats_server: EmbeddedNats, nats_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.operators.streamed.CARRIED_SECONDS_MAX", 0.2)
    url = databases.copy_of("core", _migrate)
    async with House(url, nats_server.url, nats_prefix) as house:
        assert (await check_stream(house.ledger, house.bus)).findings == ()
        await house.ask(requested)
        assert [each.kind for each in (await check_stream(house.ledger, house.bus)).findings] == ["stream_missing"]
    databases.drop(url)


async def test_a_stream_that_nothing_is_carried_into_is_named(
    databases: Databases, nats_server: EmbeddedNats, nats_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.copy_of("core", _migrate)
    async with House(url, nats_server.url, nats_prefix) as house:
        await house.ask(requested)
        async with house.relaying() as relay:
            await eventually(lambda: relay.position)
        await house.ask(completed)
        monkeypatch.setattr("adapters.operators.streamed.CARRIED_SECONDS_MAX", 0.2)
        assert [each.kind for each in (await check_stream(house.ledger, house.bus)).findings] == ["stream_behind"]
    databases.drop(url)


# --- the commands


def test_the_commands_look_at_a_running_service_and_mend_it(
    ask: Callable[..., list[dict[str, Any]]], on_stack: Any, account: Callable[[], Any]
) -> None:
    account()
    *_, streamed = ask("verify", "--only", "stream")
    assert (streamed["part"], streamed["found"]) == ("stream", 0)
    with psycopg.connect(on_stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        [(name,)] = connection.execute("SELECT projection FROM documents ORDER BY projection LIMIT 1").fetchall()
        connection.execute("UPDATE documents SET workspace_id = 'elsewhere' WHERE projection = %s", (name,))
    found = ask("verify", "--only", "read-models", status=1)
    assert name in {each.get("subject") for each in found[:-1]}
    mended = ask("repair", "--only", "read-models")
    assert {"mended": "read_models", "subject": name} in mended
    assert ask("verify", "--only", "read-models")[-1]["found"] == 0
    assert ask("repair", "--only", "read-models")[-1] == {"mended": None}


def test_the_stream_of_subscribers_is_mended_by_a_command(
    ask: Callable[..., list[dict[str, Any]]], on_stack: Any, client: httpx.Client
) -> None:
    me = sign_in(client)
    assert me.post("/v1/webhook-endpoints", {"url": "https://example.com", "enabled": False}).status_code == 201
    assert me.post("/v1/nats-consumers", {"name": "A reader"}).status_code == 201
    assert ask("verify", "--only", "published")[-1]["found"] == 0
    changing = "UPDATE ledger_events SET actor = %s WHERE workspace_id = %s AND topic = 'webhooks.EndpointRegistered'"
    with psycopg.connect(on_stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        [(actor,)] = connection.execute(
            "SELECT actor FROM ledger_events WHERE workspace_id = %s AND topic = %s",
            (me.workspace_id, "webhooks.EndpointRegistered"),
        ).fetchall()
        for said in ("x", actor):
            connection.execute(changing, (said, me.workspace_id))
            assert ask("verify", "--only", "published", status=1)[0]["kind"] == "message_differs"
            assert {"mended": "published"} in ask("repair", "--only", "published")
    assert ask("repair", "--only", "published")[-1] == {"mended": None}
