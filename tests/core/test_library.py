"""The `eventsourcing` library opens the log as it is: the example of the documentation runs, and misses nothing."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eventsourcing.application import Application
from psycopg.conninfo import conninfo_to_dict

from adapters.log import codec
from adapters.log.library import FollowedRecorder, ReadOnly, Recorded
from adapters.log.recorder import WRITING
from domain.analyses.analyses import AnalysisCancelled, AnalysisRequested
from tests import history
from tests.core.conftest import House
from tests.core.orchard import NOW

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "follow_with_eventsourcing.py"
REQUESTED = AnalysisRequested(
    analysis_id="1", workspace_id="w1", origin="url", source_url="https://example.com/a.mp3", requested_at=NOW
)


def _place(url: str) -> dict[str, str]:
    parts = conninfo_to_dict(url)
    return {f"POSTGRES_{name.upper()}": str(parts[name]) for name in ("dbname", "host", "port", "user", "password")}


def _ledger(url: str) -> Application[str]:
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "MAPPER_TOPIC": "adapters.log.library:LedgerMapper",
        "APPLICATION_RECORDER_TOPIC": "adapters.log.library:FollowedRecorder",
        "ORIGINATOR_ID_TYPE": "text",
        "POSTGRES_ORIGINATOR_ID_TYPE": "text",
        "CREATE_TABLE": "no",
        **_place(url),
    }

    class Ledger(Application[str]):
        name = "ledger"

    return Ledger(env=settings)


async def test_the_example_reads_a_history_and_follows(house: House) -> None:
    await house.record("analysis-1", REQUESTED, AnalysisCancelled(analysis_id="1", cancelled_at=NOW))
    head = await house.record("analysis-2", REQUESTED)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **_place(house.url)}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(EXAMPLE), "analysis-1", str(head)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "1 AnalysisRequested",
        "2 AnalysisCancelled",
        "{'AnalysisCancelled': 1, 'AnalysisRequested': 2}",
    ], done.stderr
    assert done.returncode == 0, done.stderr


def test_the_example_knows_of_us_only_what_reads_the_log() -> None:
    imported = {
        node.module
        for node in ast.walk(ast.parse(EXAMPLE.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert {each for each in imported if not each.startswith("eventsourcing")} - sys.stdlib_module_names <= {
        "__future__",
        "adapters.log.library",
    }


async def test_who_follows_sees_what_is_appended_later_and_nothing_beyond_a_hole(house: House) -> None:
    await house.record("analysis-1", REQUESTED)

    def follow() -> list[tuple[int, Any]]:
        ledger = _ledger(house.url)
        seen: list[tuple[int, Any]] = []
        with ledger.recorder.subscribe(gt=0) as subscription:
            for notification in subscription:
                event = ledger.mapper.to_domain_event(notification)
                seen.append((notification.id, event))
                if len(seen) == 1:
                    seen_first.set()
                if len(seen) == 3:
                    break
        ledger.close()
        return seen

    def select(after: int) -> list[int]:
        ledger = _ledger(house.url)
        found = ledger.recorder.select_notifications(after, 10, inclusive_of_start=False)
        ledger.close()
        return [each.id for each in found]

    seen_first = threading.Event()
    following = asyncio.create_task(asyncio.to_thread(follow))
    assert await asyncio.to_thread(seen_first.wait, 20)
    async with await psycopg.AsyncConnection.connect(house.url) as slow:
        await slow.execute("SELECT pg_advisory_xact_lock_shared(%s)", (WRITING,))
        [(drawn,)] = await (
            await slow.execute(
                "INSERT INTO ledger_events (originator_id, originator_version, topic, state, schema_version) "
                "SELECT 'analysis-3', 1, topic, state, schema_version FROM ledger_events LIMIT 1 "
                "RETURNING notification_id"
            )
        ).fetchall()
        later = await house.record("analysis-2", REQUESTED)
        selecting = asyncio.create_task(asyncio.to_thread(select, drawn - 1))
        done, _ = await asyncio.wait((selecting,), timeout=0.5)
        assert not done, "it went past a position that was not committed yet"
        await slow.commit()
    assert await asyncio.wait_for(selecting, 20) == [drawn, later]
    seen = await asyncio.wait_for(following, 20)
    assert [position for position, _ in seen][1:] == [drawn, later]
    assert all(isinstance(each, Recorded) and isinstance(each.event, AnalysisRequested) for _, each in seen)


async def test_nothing_is_written_through_it(house: House) -> None:
    await house.record("analysis-1", REQUESTED)

    def write() -> None:
        ledger = _ledger(house.url)
        try:
            assert isinstance(ledger.recorder, FollowedRecorder)
            [recorded] = ledger.events.get("analysis-1")
            assert isinstance(recorded, Recorded)
            assert recorded.event.source_url.startswith("sealed:")  # type: ignore[attr-defined]
            with pytest.raises(ReadOnly):
                ledger.save(Recorded("analysis-1", 2, recorded.event))
        finally:
            ledger.close()

    await asyncio.to_thread(write)


@pytest.mark.parametrize("line", history.lines(), ids=lambda line: f"{line.name}-{line.schema_version}")
def test_facts_of_every_version_are_read_without_being_told_which(line: history.Line) -> None:
    """The library selects no schema version."""
    event = codec.decode_of_any_version(line.name, bytes(line.facts))
    assert type(event) is type(codec.decode(line.name, line.schema_version, bytes(line.facts)))
