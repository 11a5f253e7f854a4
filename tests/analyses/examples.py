"""One ordinary example of every command of analyses."""

from __future__ import annotations

from datetime import timedelta

from commands.analyses.analyses import (
    CancelAnalysis,
    CompleteAnalysis,
    FailAnalysis,
    GiveUpReport,
    Item,
    NoteReport,
    NoteSourceDeleted,
    PutOffAnalysis,
    RequestAnalyses,
    StartAnalysis,
)
from commands.analyses.objects import ExpireObject, OfferUpload
from commands.idempotency import Once
from domain.analyses.analyses import Artifact
from domain.analyses.findings import Findings
from tests.examples import Example
from tests.strategies import ordinary

SONG = "https://example.com/a.mp3"

requested = RequestAnalyses(
    subject_id="an-1",
    workspace_id="w1",
    items=(Item(analysis_id="an-1", origin="url", source_url=SONG),),
    once=Once(claim_id="once-1", payload_digest="digest", lifetime=timedelta(hours=24)),
    monthly_limit=10,
)
uploaded = RequestAnalyses(
    subject_id="an-1",
    workspace_id="w1",
    items=(Item(analysis_id="an-1", origin="upload", source_url="a.wav", object_key="uploads/w1/an-1"),),
)
completed = CompleteAnalysis(analysis_id="an-1", findings=ordinary(Findings), detail_key="details/an-1")
offered = OfferUpload(
    storage_object_id="obj-1",
    workspace_id="w1",
    purpose="upload",
    content_type="audio/mpeg",
    object_key="uploads/obj-1",
    link_lifetime=timedelta(0),
    lifetime=timedelta(0),
)

EXAMPLES = (
    Example(requested),
    Example(StartAnalysis(analysis_id="an-1"), [requested]),
    Example(PutOffAnalysis(analysis_id="an-1", reason="We do not connect there.", times=0), [requested]),
    Example(completed, [requested]),
    Example(FailAnalysis(analysis_id="an-1", reason="It is empty."), [requested]),
    Example(CancelAnalysis(analysis_id="an-1", workspace_id="w1"), [requested]),
    Example(
        NoteReport(
            analysis_id="an-1",
            artifacts=(Artifact(name="report", object_key="r/1.png", content_type="image/png", size=1),),
        ),
        [requested, completed],
    ),
    Example(GiveUpReport(analysis_id="an-1", reason="The detail is damaged."), [requested, completed]),
    Example(NoteSourceDeleted(analysis_id="an-1", object_key="uploads/1"), [requested]),
    Example(offered),
    Example(ExpireObject(storage_object_id="obj-1"), [offered]),
)

#: What reactions have more to do after.
FURTHER = (
    Example(completed, [uploaded]),
    Example(
        completed,
        [
            RequestAnalyses(
                subject_id="an-1",
                workspace_id="w1",
                items=(
                    Item(analysis_id="an-1", origin="url", source_url=SONG, webhook_url="https://example.com/hook"),
                ),
            )
        ],
    ),
)
