"""What is published of analyses."""

from __future__ import annotations

from domain.analyses.analyses import (
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisRequested,
    AnalysisStarted,
    ReportDrawn,
    ReportNotDrawn,
)
from domain.published import published

PUBLISHED = (
    published(AnalysisRequested),
    published(AnalysisStarted),
    published(AnalysisCompleted, version=2, hidden=("detail_key",), nested=("findings",)),
    published(AnalysisFailed),
    published(AnalysisCancelled),
    published(ReportDrawn),
    published(ReportNotDrawn),
)
