"""Analyses as rules and reactions, and as version 2 shows them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.web.http import ForbiddenTarget
from adapters.web.memory import MemoryOutbound
from commands.analyses import reactions
from commands.analyses.analyses import (
    PUT_OFF_MAX,
    CancelAnalysis,
    CompleteAnalysis,
    FailAnalysis,
    Item,
    NoteReport,
    RequestAnalyses,
    StartAnalysis,
)
from commands.analyses.reactions import analyse_audio, delete_source, draw_report
from domain.analyses.analyses import (
    PICTURES,
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisIsOver,
    AnalysisPutOff,
    AnalysisRequested,
    AnalysisStarted,
    Artifact,
    NoSuchAnalysis,
    ReportDrawn,
    ReportNotDrawn,
    SourceDeleted,
    analyses,
)
from domain.analyses.findings import Findings
from domain.kernel import Event
from domain.webhooks.endpoints import NoSuchEndpoint, endpoint_books
from projections.analyses.analyses import analyses as version_1
from projections.analyses.history import sentence
from projections.analyses.platform import AnalysisV2, Outcome, outcomes, platform_analyses
from tests.scene import NOON, WORKSPACE, Notes, Scene
from tests.webhooks.test_endpoints import registered

KEY = "uploads/A"
HEARD = Findings(duration_seconds=2.0)


def requested(**more: Any) -> AnalysisRequested:
    facts: dict[str, Any] = {"origin": "url", "source_url": "https://example.com/a.mp3", "requested_at": NOON}
    return AnalysisRequested(analysis_id="A", workspace_id=WORKSPACE, **(facts | more))


STARTED = AnalysisStarted(analysis_id="A", started_at=NOON)
COMPLETED = AnalysisCompleted(analysis_id="A", findings=HEARD, detail_key="analyses/A/detail.json", completed_at=NOON)
FAILED = AnalysisFailed(analysis_id="A", reason="It is no music.", failed_at=NOON)
CANCELLED = AnalysisCancelled(analysis_id="A", cancelled_at=NOON)
PICTURE = Artifact(name="overview.png", object_key="analyses/A/overview.png", content_type="image/png", size=13)
DRAWN = ReportDrawn(analysis_id="A", artifacts=(PICTURE,), drawn_at=NOON)

cancel = CancelAnalysis(analysis_id="A", workspace_id=WORKSPACE)


def known(*events: Event) -> Scene:
    scene = Scene()
    scene.given(analyses, "A", *(events or (requested(),)))
    return scene


# --- cancelling -----------------------------------------------------------------------------------------------------


async def test_what_is_not_over_can_be_cancelled_once() -> None:
    for past in ((requested(),), (requested(), STARTED)):
        scene = await known(*past).when(cancel)
        scene.then(CANCELLED)
        (await scene.when(cancel)).then()


@pytest.mark.parametrize("end", [COMPLETED, FAILED])
async def test_what_is_over_cannot_be_cancelled(end: Event) -> None:
    await known(requested(), end).refused(cancel, AnalysisIsOver)


async def test_anothers_analysis_is_not_there() -> None:
    await known().refused(CancelAnalysis(analysis_id="A", workspace_id="another"), NoSuchAnalysis)
    await Scene().refused(cancel, NoSuchAnalysis)


@pytest.mark.parametrize(
    "wish",
    [
        StartAnalysis(analysis_id="A"),
        CompleteAnalysis(analysis_id="A", findings=HEARD, detail_key=None),
        FailAnalysis(analysis_id="A", reason="too late"),
        NoteReport(analysis_id="A", artifacts=(PICTURE,)),
    ],
)
async def test_nothing_happens_to_a_cancelled_analysis(wish: Any) -> None:
    (await known(requested(), CANCELLED).when(wish)).then()


# --- asking ---------------------------------------------------------------------------------------------------------


async def test_a_job_may_name_an_endpoint_of_its_own_workspace_only() -> None:
    def asks(workspace_id: str) -> RequestAnalyses:
        item = Item(analysis_id="A", origin="url", source_url="https://example.com", webhook_endpoint_id="E")
        return RequestAnalyses(subject_id="A", workspace_id=workspace_id, items=(item,))

    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered())
    await scene.refused(asks("another"), NoSuchEndpoint)
    [event] = (await scene.when(asks(WORKSPACE))).news
    assert isinstance(event, AnalysisRequested)
    assert event.webhook_endpoint_id == "E"


# --- listening ------------------------------------------------------------------------------------------------------


class Endless:
    """Ears that listen until they are told to stop."""

    def __init__(self) -> None:
        self.listening = asyncio.Event()
        self.stopped = False

    async def listen(self, path: Path) -> Any:
        """Never ends by itself."""
        self.listening.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_a_worker_stops_listening_when_the_analysis_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "WANTED_SECONDS", 0.01)
    scene, ears = known(requested(object_key=KEY)), Endless()
    scene.ears = ears
    await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
    work = asyncio.create_task(scene.follows(analyse_audio, scene.last(AnalysisRequested)))
    await ears.listening.wait()
    await scene.when(cancel)
    await work
    assert ears.stopped
    assert [type(each.event) for each in scene.log.all] == [
        AnalysisRequested,
        AnalysisStarted,
        AnalysisCancelled,
    ]


async def test_the_operator_reads_when_a_job_began_and_how_it_ended_and_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reactions, "log", notes := Notes())
    for there in (True, False):
        scene = known(requested(origin="object", object_key=KEY, source_url="https://example.com/a.mp3?token=s3cret"))
        if there:
            await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
        scene.later(seconds=3)
        for _ in range(2):
            await scene.follows(analyse_audio, scene.last(AnalysisRequested))

    assert [line["event"] for line in notes.lines] == [
        "analysis.started",
        "analysis.completed",
        "analysis.started",
        "analysis.failed",
    ]
    assert all((line["analysis_id"], line["workspace_id"]) == ("A", WORKSPACE) for line in notes.lines)
    assert notes.lines[0]["waited_seconds"] == 3.0
    assert "no such" in notes.lines[-1]["problem"]
    assert "example.com" not in str(notes.lines)


class CancelledMeanwhile:
    """Ears that hear everything, while somebody cancels."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def listen(self, path: Path) -> Any:
        """Hear it, a moment too late."""
        await self.scene.when(cancel)
        return await Scene().ears.listen(path)


async def test_what_was_heard_of_a_cancelled_analysis_is_thrown_away() -> None:
    scene = known(requested(object_key=KEY))
    scene.ears = CancelledMeanwhile(scene)
    await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
    await scene.follows(analyse_audio, scene.last(AnalysisRequested))
    assert not any(isinstance(each.event, AnalysisCompleted) for each in scene.log.all)
    assert not await scene.blobs.exists("analyses/A/detail.json")


async def test_a_cancelled_analysis_is_not_begun() -> None:
    scene = known(requested(), CANCELLED)
    (await scene.follows(analyse_audio, scene.last(AnalysisRequested))).then()


@pytest.mark.parametrize(("size", "words"), [(None, "no such"), (100, "larger")])
async def test_an_upload_that_is_gone_or_grew_fails_the_analysis_at_once(size: int | None, words: str) -> None:
    scene = known(requested(origin="object", object_key=KEY))
    scene.settings = {"upload_bytes_max": 10}
    if size:
        await scene.blobs.put_bytes(KEY, b"x" * size, content_type="audio/mpeg")
    await scene.follows(analyse_audio, scene.last(AnalysisRequested))
    assert isinstance(scene.news[-1], AnalysisFailed)
    assert words in scene.news[-1].reason


NEAR = "http://10.0.0.5:8080/a.wav"


async def test_an_address_that_we_do_not_connect_to_any_more_is_tried_again_until_its_setting_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reactions, "log", notes := Notes())
    scene = known(requested(source_url=NEAR))
    for _ in range(2):
        await scene.follows(analyse_audio, scene.last(AnalysisRequested))
    put_off = AnalysisPutOff(analysis_id="A", times=1, put_off_at=NOON, again_at=NOON + timedelta(minutes=1))
    assert [each.event for each in scene.log.all][2:] == [put_off]
    assert analyse_audio.due(put_off) == put_off.again_at
    line = notes.lines[-1]
    assert (line["event"], line["setting"]) == ("analysis.put_off", "LEDGERLINE_OUTBOUND_ALLOW")
    assert "10.0.0.5" not in str(notes.lines)
    scene.later(minutes=1)
    await scene.follows(analyse_audio, scene.last(AnalysisPutOff))
    assert scene.last(AnalysisPutOff).event == AnalysisPutOff(
        analysis_id="A", times=2, put_off_at=scene.now, again_at=scene.now + timedelta(minutes=2)
    )
    scene.web = MemoryOutbound(allow=["10.0.0.5"])
    scene.web.files[NEAR] = (b"music", "audio/wav")
    await scene.follows(analyse_audio, scene.last(AnalysisPutOff))
    assert scene.last(AnalysisCompleted)


async def test_an_address_that_stays_refused_fails_in_the_end_and_the_reason_names_no_setting() -> None:
    scene = known(requested(source_url=NEAR))
    await scene.follows(analyse_audio, scene.last(AnalysisRequested))
    for _ in range(PUT_OFF_MAX):
        await scene.follows(analyse_audio, scene.last(AnalysisPutOff))
    failed = scene.last(AnalysisFailed).event
    assert isinstance(failed, AnalysisFailed)
    assert "private network" in failed.reason
    assert "LEDGERLINE" not in failed.reason


async def test_an_address_that_leads_elsewhere_than_it_says_fails_at_once() -> None:
    class Rebound(MemoryOutbound):
        async def fetch(self, url: str, to: Path, *, size_max: int, seconds_max: float) -> Any:
            raise ForbiddenTarget("The host leads to a private network, where we do not connect.")

    scene = known(requested())
    scene.web = Rebound()
    await scene.follows(analyse_audio, scene.last(AnalysisRequested))
    assert isinstance(scene.news[-1], AnalysisFailed)


@pytest.mark.parametrize("end", [COMPLETED, FAILED, CANCELLED])
async def test_the_source_is_deleted_when_it_is_over_however_it_ended(end: Event) -> None:
    scene = known(requested(origin="object", object_key=KEY))
    await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
    last = scene.given(analyses, "A", end)
    (await scene.follows(delete_source, last)).then(SourceDeleted(analysis_id="A", object_key=KEY, deleted_at=NOON))
    assert not await scene.blobs.exists(KEY)
    (await scene.follows(delete_source, last)).then()


# --- the report -----------------------------------------------------------------------------------------------------


async def test_pictures_are_drawn_of_the_stored_detail_once() -> None:
    scene = known(requested(), STARTED, COMPLETED)
    await scene.blobs.put_bytes("analyses/A/detail.json", b"{}", content_type="application/json")
    (await scene.follows(draw_report, scene.last(AnalysisCompleted))).then(DRAWN)
    async with scene.blobs.fetch("analyses/A/overview.png") as path:
        assert await asyncio.to_thread(path.read_bytes) == b"picture of {}"
    (await scene.follows(draw_report, scene.last(AnalysisCompleted))).then()


# --- the views ------------------------------------------------------------------------------------------------------


def shown(*events: Event) -> AnalysisV2:
    document = None
    for event in events:
        if platform_analyses.concerns(event) is not None:
            document = platform_analyses.evolve(document, event)
    assert isinstance(document, AnalysisV2)
    return document


def outcome(*events: Event) -> Outcome:
    document = None
    for event in events:
        if outcomes.concerns(event) is not None:
            document = outcomes.evolve(document, event)
    assert isinstance(document, Outcome)
    return document


@pytest.mark.parametrize(
    ("events", "status", "old"),
    [
        ((), "queued", "processing"),
        ((STARTED,), "running", "processing"),
        ((STARTED, COMPLETED), "succeeded", "completed"),
        ((STARTED, FAILED), "failed", "failed"),
        ((CANCELLED,), "cancelled", "failed"),
    ],
)
def test_one_job_has_a_word_for_its_state_in_each_version(events: tuple[Event, ...], status: str, old: str) -> None:
    assert shown(requested(), *events).status == outcome(requested(), *events).status == status
    document = None
    for event in (requested(), *events):
        if version_1.concerns(event) is not None:
            document = version_1.evolve(document, event)
    assert document is not None
    assert document.status == old
    assert (document.completed_at is not None) == (shown(requested(), *events).completed_at is not None)


def test_the_clients_own_words_come_back_and_are_null_once_forgotten() -> None:
    assert shown(requested(metadata='{"a":[1,null]}')).metadata == {"a": [1, None]}
    assert shown(requested(metadata="[erased]")).metadata is None
    assert shown(requested()).metadata is None


def test_the_report_is_the_detail_and_then_the_pictures() -> None:
    assert outcome(requested()).artifacts == ()
    assert [each.name for each in outcome(requested(), COMPLETED).artifacts] == ["detail.json"]
    assert [each.name for each in outcome(requested(), COMPLETED, DRAWN).artifacts] == ["detail.json", "overview.png"]
    assert outcome(requested(), FAILED).artifacts == ()


def test_each_picture_is_pending_then_stored_or_failed() -> None:
    not_drawn = ReportNotDrawn(analysis_id="A", reason="r", given_up_at=NOON)
    assert outcome(requested()).drawn() == outcome(requested(), FAILED).drawn() == {}
    assert outcome(requested(), COMPLETED).drawn() == dict.fromkeys(PICTURES, "pending")
    assert outcome(requested(), COMPLETED, not_drawn).drawn() == dict.fromkeys(PICTURES, "failed")
    # One came, and the others were left out; what was given up may still be drawn when somebody retries it.
    some = dict.fromkeys(PICTURES, "failed") | {"overview.png": "stored"}
    assert outcome(requested(), COMPLETED, DRAWN).drawn() == some
    assert outcome(requested(), COMPLETED, not_drawn, DRAWN).drawn() == some


async def test_a_report_that_cannot_be_drawn_ends_with_a_reason() -> None:
    scene = Scene()
    last = scene.given(analyses, "A", requested(), COMPLETED)
    assert draw_report.gives_up is not None
    await draw_report.gives_up(last, await scene.ports(draw_report.ports), "the detail is damaged")
    scene.then(ReportNotDrawn(analysis_id="A", reason="the detail is damaged", given_up_at=NOON))
    await draw_report.gives_up(last, await scene.ports(draw_report.ports), "the detail is damaged")
    assert sum(isinstance(each.event, ReportNotDrawn) for each in scene.log.all) == 1


@pytest.mark.parametrize("event", [requested(), STARTED, COMPLETED, FAILED, CANCELLED, DRAWN])
def test_everything_that_happens_to_a_job_is_a_sentence(event: Event) -> None:
    assert sentence(event)[0].isupper()
    assert sentence(event).endswith(".")
