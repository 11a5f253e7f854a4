"""A batch: the analyses that were asked for together."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from domain.analyses.analyses import AnalysisRequested
from domain.kernel import Event, NotFound
from projections.kernel import Document, Projection, projection


class NoSuchBatch(NotFound):
    """There is no batch with this id."""


class Batch(Document):
    """The jobs of a batch in the order of its items."""

    batch_id: str
    job_ids: tuple[str, ...]


def evolve(batch: Batch | None, event: Event) -> Batch | None:
    """The batch after one more event."""
    match batch, event:
        case None, AnalysisRequested(batch_id=str(batch_id)):
            return Batch(batch_id=batch_id, job_ids=(event.analysis_id,))
        case Batch(), AnalysisRequested():
            return replace(batch, job_ids=(*batch.job_ids, event.analysis_id))
    return batch


batches: Projection[Any] = projection(
    "batches",
    Batch,
    on={
        AnalysisRequested: "batch_id",
    },
    evolve=evolve,
    begins=(AnalysisRequested,),
    absent=NoSuchBatch,
)
