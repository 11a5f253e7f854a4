"""Storage objects as rules and reactions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from commands.analyses.analyses import FailAnalysis, Item, RequestAnalyses
from commands.analyses.objects import ExpireObject, OfferUpload
from commands.analyses.reactions import delete_source, draw_report, expire_object, forget_objects
from domain.analyses.analyses import AnalysisCompleted, AnalysisFailed, AnalysisRequested, analyses
from domain.analyses.findings import Findings
from domain.analyses.objects import (
    ContentTypeNotTaken,
    NoSuchStorageObject,
    ObjectExpired,
    ObjectUsed,
    StorageObjectHasExpired,
    StorageObjectIsUsed,
    UploadOffered,
    storage_objects,
)
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed, workspaces
from tests.scene import NOON, WORKSPACE, Scene

KEY = "storage/workspace-1/O"
QUARTER, DAY = timedelta(minutes=15), timedelta(hours=24)


def offer(content_type: str = "audio/mpeg", tenancy: int = 0) -> OfferUpload:
    return OfferUpload(
        storage_object_id="O",
        workspace_id=WORKSPACE,
        purpose="upload",
        content_type=content_type,
        object_key=KEY,
        link_lifetime=QUARTER,
        lifetime=DAY,
        tenancy=tenancy,
    )


def offered(**more: Any) -> UploadOffered:
    facts: dict[str, Any] = {
        "storage_object_id": "O",
        "workspace_id": WORKSPACE,
        "purpose": "upload",
        "content_type": "audio/mpeg",
        "object_key": KEY,
        "offered_at": NOON,
        "expires_at": NOON + QUARTER,
        "kept_until": NOON + DAY,
    }
    return UploadOffered(**(facts | more))


def known() -> Scene:
    scene = Scene()
    scene.given(storage_objects, "O", offered())
    return scene


def asks(analysis_id: str = "A", workspace_id: str = WORKSPACE) -> RequestAnalyses:
    item = Item(
        analysis_id=analysis_id,
        origin="object",
        source_url=f"storage://bucket/{KEY}",
        object_key=KEY,
        storage_object_id="O",
    )
    return RequestAnalyses(subject_id=analysis_id, workspace_id=workspace_id, items=(item,))


async def test_room_is_offered_once_for_a_quarter_of_an_hour_and_kept_for_a_day() -> None:
    scene = await Scene().when(offer())
    scene.then(offered())
    (await scene.when(offer())).then()


@pytest.mark.parametrize("content_type", ["audio/wav", "Audio/FLAC", "audio/ogg; codecs=opus", "audio/x-m4a"])
async def test_room_is_offered_for_audio(content_type: str) -> None:
    (await Scene().when(offer(content_type))).then(offered(content_type=content_type))


@pytest.mark.parametrize("content_type", ["text/html", "video/mp4", "audio", "", "string", "image/svg+xml;audio/wav"])
async def test_room_is_not_offered_for_anything_else(content_type: str) -> None:
    await Scene().refused(offer(content_type), ContentTypeNotTaken)


async def test_an_object_belongs_to_one_analysis() -> None:
    scene = await known().when(asks())
    assert ObjectUsed(storage_object_id="O", analysis_id="A", used_at=NOON) in scene.news
    [requested] = [event for event in scene.news if isinstance(event, AnalysisRequested)]
    assert (requested.storage_object_id, requested.object_key) == ("O", KEY)
    await scene.refused(asks("B"), StorageObjectIsUsed)
    (await scene.when(asks())).then()


async def test_another_workspaces_object_and_one_that_never_was_are_the_same_refusal() -> None:
    await known().refused(asks(workspace_id="another"), NoSuchStorageObject)
    await Scene().refused(asks(), NoSuchStorageObject)


async def test_room_that_was_offered_before_the_workspace_began_anew_is_void() -> None:
    scene = known()
    reclaimed = WorkspaceReclaimed(workspace_id=WORKSPACE, person_id="ada", reclaimed_at=NOON)
    scene.given(workspaces, WORKSPACE, reclaimed)
    await scene.refused(asks(), NoSuchStorageObject)
    await scene.when(replace(offer(tenancy=1), storage_object_id="N"))
    scene.then(offered(storage_object_id="N", tenancy=1))
    item = replace(asks("B").items[0], storage_object_id="N")
    await scene.when(replace(asks("B"), items=(item,)))
    assert ObjectUsed(storage_object_id="N", analysis_id="B", used_at=NOON) in scene.news


async def test_an_object_that_was_not_used_in_time_expires_and_its_bytes_go() -> None:
    scene = known()
    await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
    timer = scene.last(UploadOffered)
    assert expire_object.due(timer.event) == NOON + DAY
    (await scene.when(ExpireObject(storage_object_id="O"))).then()
    scene.later(hours=24)
    for expected in ([ObjectExpired(storage_object_id="O", object_key=KEY, expired_at=scene.now)], []):
        (await scene.follows(expire_object, timer)).then(*expected)
    assert not await scene.blobs.exists(KEY)
    await scene.refused(asks(), StorageObjectHasExpired)


async def test_after_its_time_an_object_cannot_be_used_even_before_the_timer_has_run() -> None:
    await known().later(hours=24).refused(asks(), StorageObjectHasExpired)


async def test_an_object_in_use_does_not_expire_and_what_came_again_after_its_analysis_goes() -> None:
    scene = known()
    timer = scene.last(UploadOffered)
    await scene.when(asks())
    await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
    scene.later(hours=24)
    (await scene.follows(expire_object, timer)).then()
    assert await scene.blobs.exists(KEY)
    scene.given(
        analyses, "A", AnalysisCompleted(analysis_id="A", findings=Findings(), detail_key=None, completed_at=NOON)
    )
    (await scene.follows(expire_object, timer)).then()
    assert not await scene.blobs.exists(KEY)


async def test_an_uploaded_recording_is_kept_no_longer_than_its_analysis() -> None:
    scene = known()
    await scene.when(asks())
    await scene.blobs.put_bytes(KEY, b"music", content_type="audio/mpeg")
    await scene.when(FailAnalysis(analysis_id="A", reason="No song."))
    await scene.follows(delete_source, scene.last(AnalysisFailed))
    assert not await scene.blobs.exists(KEY)


async def keys(scene: Scene) -> list[str]:
    return [each.key async for each in scene.blobs.list()]


def requested(analysis_id: str) -> AnalysisRequested:
    return AnalysisRequested(
        analysis_id=analysis_id,
        workspace_id=WORKSPACE,
        origin="url",
        source_url="https://x.org/a.mp3",
        requested_at=NOON,
    )


def forgotten() -> WorkspaceForgotten:
    return WorkspaceForgotten(workspace_id=WORKSPACE, forgotten_at=NOON)


async def test_nothing_that_was_stored_for_a_forgotten_workspace_stays() -> None:
    scene = known()
    own = [f"storage/{WORKSPACE}/O", f"uploads/{WORKSPACE}/U", "analyses/A/detail.json", "analyses/B/overview.png"]
    others = ["analyses/AA/detail.json", f"storage/{WORKSPACE}2/O", "uploads/elsewhere/U"]
    for key in (*own, *others):
        await scene.blobs.put_bytes(key, b"sound", content_type="audio/wav")
    for analysis_id in ("A", "B"):
        scene.given(analyses, analysis_id, requested(analysis_id))
    recorded = scene.given(workspaces, WORKSPACE, forgotten())
    for _ in range(2):
        await scene.follows(forget_objects, recorded)
        assert await keys(scene) == sorted(others)


async def test_what_is_heard_while_its_workspace_is_forgotten_does_not_stay() -> None:
    scene = Scene()
    scene.given(workspaces, WORKSPACE, forgotten())
    await scene.blobs.put_bytes("analyses/A/detail.json", b"{}", content_type="application/json")
    completed = AnalysisCompleted(
        analysis_id="A", findings=Findings(duration_seconds=2.0), detail_key="analyses/A/detail.json", completed_at=NOON
    )
    await scene.follows(draw_report, scene.given(analyses, "A", completed))
    assert await keys(scene) == []


async def test_a_report_drawn_while_its_workspace_is_forgotten_does_not_stay() -> None:
    scene = Scene()
    await scene.blobs.put_bytes("analyses/A/detail.json", b"{}", content_type="application/json")
    completed = AnalysisCompleted(
        analysis_id="A", findings=Findings(duration_seconds=2.0), detail_key="analyses/A/detail.json", completed_at=NOON
    )
    recorded = scene.given(analyses, "A", requested("A"), completed)

    class Slow:
        async def draw(self, findings: Findings, detail: bytes) -> dict[str, bytes]:
            scene.given(workspaces, WORKSPACE, forgotten())
            return {"overview.png": b"picture"}

    scene.artist = Slow()
    await scene.follows(draw_report, recorded)
    assert await keys(scene) == []
