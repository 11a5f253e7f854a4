"""What follows when an analysis is asked for, and when it is over."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import structlog
from msgspec import json

from commands.analyses.analyses import (
    CompleteAnalysis,
    FailAnalysis,
    GiveUpReport,
    NoteReport,
    NoteSourceDeleted,
    PutOffAnalysis,
    StartAnalysis,
)
from commands.analyses.objects import ExpireObject
from commands.analyses.ports import Ports
from commands.analyses.settings import Listening
from commands.kernel import Queue, reacts_to
from commands.settings import Files
from commands.sweeping import delete_below, once_more
from domain.analyses import keys
from domain.analyses.analyses import (
    Analysis,
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisPutOff,
    AnalysisRequested,
    Artifact,
    analyses,
)
from domain.analyses.findings import Analysis as Heard
from domain.analyses.findings import Unreadable
from domain.analyses.objects import UploadOffered, storage_objects
from domain.identity.workspaces import WorkspaceForgotten, is_forgotten, workspaces
from domain.kernel import ERASED, Event, Invalid, NotFound
from domain.ledger import Recorded
from domain.sections import Sections

log = structlog.get_logger(__name__)

#: How often a worker that listens asks whether anybody still wants to know.
WANTED_SECONDS = 1.0
#: Of a report, the detail is the one part that is always there.
PICTURE_TYPE = "image/png"
#: Recordings that are fetched or wait for their turn, for each that is listened to: a source that drips holds up no
#: processor.
FETCHED_AHEAD = 3


def _places(settings: Sections) -> int:
    return settings[Listening].analysis_processes * (1 + FETCHED_AHEAD)


def _seconds_max(settings: Sections) -> float:
    """To fetch, to wait for those ahead, and to listen: each of these ends by itself, so this is for what hangs."""
    return settings[Files].fetch_seconds_max + (2 + FETCHED_AHEAD) * settings[Listening].analysis_wall_seconds_max


ANALYSES = Queue("analyses", concurrency=_places, timeout=_seconds_max, attempts=4, apart=True)


class _NotAllowedNow(Exception):
    """An address that was taken when it was handed in is one that we do not connect to now, as `setting` says."""

    def __init__(self, problem: str, setting: str) -> None:
        super().__init__(problem)
        self.setting = setting


async def _fail(recorded: Recorded, ports: Ports, problem: str) -> None:
    assert isinstance(recorded.event, AnalysisRequested | AnalysisPutOff)
    analysis_id = recorded.event.analysis_id
    if await ports.execute(FailAnalysis(analysis_id=analysis_id, reason=problem), recorded.context()):
        log.info("analysis.failed", analysis_id=analysis_id, workspace_id=recorded.workspace_id, problem=problem)


def _due(event: Event) -> datetime | None:
    return event.again_at if isinstance(event, AnalysisPutOff) else None


@reacts_to(AnalysisRequested, AnalysisPutOff, name="analyse-audio", due=_due, queue=ANALYSES, gives_up=_fail)
async def analyse_audio(recorded: Recorded, ports: Ports) -> None:
    """Listen to the recording and write down what was heard, or why nothing was."""
    assert isinstance(recorded.event, AnalysisRequested | AnalysisPutOff)
    history = (await ports.log.read(analyses.stream(recorded.event.analysis_id))).events
    known = analyses.fold(history)
    tried = recorded.event.times if isinstance(recorded.event, AnalysisPutOff) else 0
    event = next((each for each in history if isinstance(each, AnalysisRequested)), None)
    if event is None or known.is_over or known.put_off != tried:
        return
    began = ports.now()
    about = {"analysis_id": event.analysis_id, "workspace_id": recorded.workspace_id}
    if await ports.execute(StartAnalysis(analysis_id=event.analysis_id), recorded.context()):
        # That it was accepted is said here, and not where it was: there a line would cost a fifth of the whole request.
        log.info(
            "analysis.started",
            **about,
            origin=event.origin,
            accepted_at=event.requested_at.isoformat(),
            waited_seconds=round((began - event.requested_at).total_seconds(), 3),
        )
    try:
        async with _recording(event, ports) as path:
            heard = await _listen_while_wanted(event.analysis_id, path, ports)
    except _NotAllowedNow as problem:
        log.info("analysis.put_off", **about, problem=str(problem), setting=problem.setting)
        wish = PutOffAnalysis(analysis_id=event.analysis_id, reason=str(problem), times=tried)
        await ports.execute(wish, recorded.context())
        return
    except Unreadable as problem:
        await _fail(recorded, ports, str(problem))
        return
    if heard is None:
        return
    detail_key = keys.report(event.analysis_id)
    await ports.blobs.put_bytes(detail_key, json.encode(heard.detail), content_type="application/json")
    completed = CompleteAnalysis(analysis_id=event.analysis_id, findings=heard.findings, detail_key=detail_key)
    if await ports.execute(completed, recorded.context()):
        log.info("analysis.completed", **about, seconds=round((ports.now() - began).total_seconds(), 3))
    if (await _known(event.analysis_id, ports)).status != "completed":
        # Cancelled at the last moment: nobody will ever ask for what was heard.
        await ports.blobs.delete(detail_key)


async def _known(analysis_id: str, ports: Ports) -> Analysis:
    return await ports.log.state(analyses, analysis_id)


async def _is_forgotten(workspace_id: str | None, ports: Ports) -> bool:
    if workspace_id is None:
        return False
    return is_forgotten((await ports.log.read(workspaces.stream(workspace_id))).events)


async def _listen_while_wanted(analysis_id: str, path: Path, ports: Ports) -> Heard | None:
    """What is heard; None as soon as the analysis is over for another reason, so that no worker toils for nothing."""
    listening = asyncio.ensure_future(ports.ears.listen(path))
    try:
        while not (await asyncio.wait({listening}, timeout=WANTED_SECONDS))[0]:
            if (await _known(analysis_id, ports)).is_over:
                return None
        return listening.result()
    finally:
        if not listening.done():
            listening.cancel()
            await asyncio.wait({listening})


@asynccontextmanager
async def _recording(event: AnalysisRequested, ports: Ports) -> AsyncIterator[Path]:
    """The recording as a local file."""
    if event.object_key is not None:
        try:
            async with ports.blobs.fetch(event.object_key, size_max=ports.files.upload_bytes_max) as path:
                yield path
        except (NotFound, Invalid) as refusal:
            # It was deleted, or replaced by something larger, between being handed in and now.
            raise Unreadable(refusal.sentence) from refusal
        return
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        path = Path(directory) / "source"
        try:
            await ports.web.fetch(
                event.source_url,
                path,
                size_max=ports.files.upload_bytes_max,
                seconds_max=ports.files.fetch_seconds_max,
            )
        except Exception as problem:
            # What another attempt cannot change is the answer; the rest is tried again.
            if getattr(problem, "transient", True):
                raise
            setting: str | None = getattr(problem, "setting", None)
            if setting is not None and event.source_url != ERASED and _is_refused_on_its_face(event.source_url, ports):
                raise _NotAllowedNow(str(problem), setting) from problem
            raise Unreadable(str(problem)) from problem
        yield path


def _is_refused_on_its_face(url: str, ports: Ports) -> bool:
    """Whether we would not even take this address now: when it was handed in, we did."""
    try:
        ports.web.check_url(url)
    except Exception as problem:
        if not hasattr(problem, "transient"):
            raise
        return True
    return False


async def _give_up_report(recorded: Recorded, ports: Ports, problem: str) -> None:
    assert isinstance(recorded.event, AnalysisCompleted)
    await ports.execute(GiveUpReport(analysis_id=recorded.event.analysis_id, reason=problem), recorded.context())


@reacts_to(AnalysisCompleted, name="draw-report", queue=ANALYSES, gives_up=_give_up_report)
async def draw_report(recorded: Recorded, ports: Ports) -> None:
    """Pictures of what was heard are laid beside the detail; nobody waits for them."""
    event = recorded.event
    assert isinstance(event, AnalysisCompleted)
    if await _is_forgotten(recorded.workspace_id, ports):
        # It may have been forgotten while we listened.
        await delete_below(ports.blobs, keys.reports(event.analysis_id))
        return
    if event.detail_key is None or (await _known(event.analysis_id, ports)).report_drawn:
        return
    async with ports.blobs.fetch(event.detail_key) as path:
        detail = await asyncio.to_thread(path.read_bytes)
    artifacts = []
    for name, picture in (await ports.artist.draw(event.findings, detail)).items():
        key = keys.report(event.analysis_id, name)
        await ports.blobs.put_bytes(key, picture, content_type=PICTURE_TYPE)
        artifacts.append(Artifact(name=name, object_key=key, content_type=PICTURE_TYPE, size=len(picture)))
    await ports.execute(NoteReport(analysis_id=event.analysis_id, artifacts=tuple(artifacts)), recorded.context())
    if await _is_forgotten(recorded.workspace_id, ports):
        await delete_below(ports.blobs, keys.reports(event.analysis_id))


@reacts_to(AnalysisCompleted, AnalysisFailed, AnalysisCancelled, name="delete-source")
async def delete_source(recorded: Recorded, ports: Ports) -> None:
    """An uploaded recording is kept no longer than it takes to listen to it."""
    event = recorded.event
    assert isinstance(event, AnalysisCompleted | AnalysisFailed | AnalysisCancelled)
    history = await ports.log.read(analyses.stream(event.analysis_id))
    for past in history.events:
        if isinstance(past, AnalysisRequested) and past.object_key is not None:
            await ports.blobs.delete(past.object_key)
            await ports.execute(
                NoteSourceDeleted(analysis_id=event.analysis_id, object_key=past.object_key), recorded.context()
            )


@reacts_to(WorkspaceForgotten, name="forget-objects")
async def forget_objects(recorded: Recorded, ports: Ports) -> None:
    """Delete what a forgotten workspace had uploaded, and what was heard in it.

    What is stored after this looked does not stay either: a report looks, before and after it is drawn, whether the
    workspace is forgotten; a recording is deleted when its analysis is over or its room is no longer kept.
    """
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    for prefix in keys.of_workspace(event.workspace_id):
        await delete_below(ports.blobs, prefix)
    for analysis_id in await ports.log.begun(analyses, {event.workspace_id}):
        await delete_below(ports.blobs, keys.reports(analysis_id))


forget_late_objects = once_more(forget_objects, "forget-late-objects")


def _kept_until(event: UploadOffered) -> datetime:
    return event.kept_until


@reacts_to(UploadOffered, name="expire-object", due=_kept_until)
async def expire_object(recorded: Recorded, ports: Ports) -> None:
    """What was uploaded and never analysed goes; so does what was uploaded again after its analysis."""
    event = recorded.event
    assert isinstance(event, UploadOffered)
    await ports.execute(ExpireObject(storage_object_id=event.storage_object_id), recorded.context())
    stored = await ports.log.state(storage_objects, event.storage_object_id)
    if stored.analysis_id is None or (await _known(stored.analysis_id, ports)).is_over:
        await ports.blobs.delete(event.object_key)
