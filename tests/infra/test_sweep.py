"""Files that nobody waits for go; files of work to be done stay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from adapters.blobs import Listed
from domain.analyses.analyses import AnalysisFailed, AnalysisRequested
from domain.kernel import Event
from domain.ledger import History
from infra.sweep import sweep_uploads

NOW = datetime.now(UTC)


class Shelf:
    """The object store as the sweep knows it."""

    def __init__(self, ages: dict[str, timedelta]) -> None:
        self.objects = {key: Listed(key=key, size=1, modified_at=NOW - age) for key, age in ages.items()}

    async def sweep(self, begun_before: datetime) -> int:
        assert begun_before < NOW
        return 0

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield self.objects[key]

    async def delete(self, key: str) -> None:
        del self.objects[key]


class Past:
    """The ledger as the sweep knows it."""

    def __init__(self, streams: dict[str, list[Event]]) -> None:
        self.streams = streams

    async def read(self, stream: str) -> History:
        events = self.streams.get(stream, [])
        return History(events=events, version=len(events))


def requested(analysis_id: str) -> AnalysisRequested:
    return AnalysisRequested(
        analysis_id=analysis_id, workspace_id="w", origin="upload", source_url="storage://x", requested_at=NOW
    )


@pytest.mark.parametrize(
    ("history", "age", "stays"),
    [
        ("never asked for", timedelta(hours=2), False),
        ("never asked for", timedelta(minutes=1), True),
        ("waiting", timedelta(days=30), True),
        ("over", timedelta(hours=2), False),
    ],
)
async def test_a_file_goes_only_when_nobody_waits_for_it(history: str, age: timedelta, stays: bool) -> None:
    analysis_id = str(uuid4())
    events: dict[str, list[Event]] = {
        "never asked for": [],
        "waiting": [requested(analysis_id)],
        "over": [requested(analysis_id), AnalysisFailed(analysis_id=analysis_id, reason="x", failed_at=NOW)],
    }
    shelf = Shelf({f"uploads/w/{analysis_id}": age})

    await sweep_uploads(shelf, Past({f"analysis-{analysis_id}": events[history]}))  # type: ignore[arg-type]  # twins

    assert (len(shelf.objects) == 1) is stays
