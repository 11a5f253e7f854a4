"""What each workspace has used in each month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from domain.analyses.analyses import AnalysisRequested
from projections.kernel import tally


def analyses_in(workspace_id: str, moment: datetime) -> str:
    """The key of the analyses a workspace asked for in the month of a moment (UTC)."""
    return f"{workspace_id}/{moment:%Y-%m}/analyses"


def asked_for(event: AnalysisRequested) -> Iterable[tuple[str, int]]:
    """What an analysis adds to."""
    yield analyses_in(event.workspace_id, event.requested_at), 1


usage = tally("usage", {AnalysisRequested: asked_for})
