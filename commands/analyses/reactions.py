"""What follows when an analysis is asked for, and when it is over."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import json

from commands.analyses.analyses import CompleteAnalysis, FailAnalysis, NoteSourceDeleted, StartAnalysis
from commands.kernel import reacts_to
from commands.ports import World
from domain.analyses.analyses import AnalysisCompleted, AnalysisFailed, AnalysisRequested, analyses
from domain.analyses.findings import Unreadable
from domain.ledger import Recorded


async def _give_up(recorded: Recorded, world: World, problem: str) -> None:
    assert isinstance(recorded.event, AnalysisRequested)
    await world.execute(FailAnalysis(analysis_id=recorded.event.analysis_id, reason=problem), recorded.context())


@reacts_to(AnalysisRequested, name="analyse-audio", queue="analyses", gives_up=_give_up, attempts_max=4)
async def analyse_audio(recorded: Recorded, world: World) -> None:
    """Listen to the recording and write down what was heard, or why nothing was."""
    event = recorded.event
    assert isinstance(event, AnalysisRequested)
    known = analyses.fold((await world.log.read(analyses.stream(event.analysis_id))).events)
    if known.is_over:
        return
    await world.execute(StartAnalysis(analysis_id=event.analysis_id), recorded.context())
    try:
        async with _recording(event, world) as path:
            heard = await world.ears.listen(path)
    except Unreadable as problem:
        await world.execute(FailAnalysis(analysis_id=event.analysis_id, reason=str(problem)), recorded.context())
        return
    detail_key = f"analyses/{event.analysis_id}/detail.json"
    await world.blobs.put_bytes(detail_key, json.encode(heard.detail), content_type="application/json")
    await world.execute(
        CompleteAnalysis(analysis_id=event.analysis_id, findings=heard.findings, detail_key=detail_key),
        recorded.context(),
    )


@asynccontextmanager
async def _recording(event: AnalysisRequested, world: World) -> AsyncIterator[Path]:
    """The recording as a local file."""
    if event.object_key is not None:
        async with world.blobs.fetch(event.object_key, size_max=world.limits.upload_bytes_max) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        path = Path(directory) / "source"
        try:
            await world.web.fetch(
                event.source_url,
                path,
                size_max=world.limits.upload_bytes_max,
                seconds_max=world.limits.fetch_seconds_max,
            )
        except Exception as problem:
            # What another attempt cannot change is the answer; the rest is tried again.
            if getattr(problem, "transient", True):
                raise
            raise Unreadable(str(problem)) from problem
        yield path


@reacts_to(AnalysisCompleted, AnalysisFailed, name="delete-source")
async def delete_source(recorded: Recorded, world: World) -> None:
    """An uploaded recording is kept no longer than it takes to listen to it."""
    event = recorded.event
    assert isinstance(event, AnalysisCompleted | AnalysisFailed)
    history = await world.log.read(analyses.stream(event.analysis_id))
    for past in history.events:
        if isinstance(past, AnalysisRequested) and past.object_key is not None:
            await world.blobs.delete(past.object_key)
            await world.execute(
                NoteSourceDeleted(analysis_id=event.analysis_id, object_key=past.object_key), recorded.context()
            )
