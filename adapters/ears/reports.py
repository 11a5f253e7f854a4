"""What is made of an analysis afterwards: pictures of it, and the same facts in the schemas of others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from msgspec import json

from adapters.provides import provides
from adapters.threads import run_in
from commands.analyses.ports import Artist
from domain.analyses.analyses import PICTURES
from domain.analyses.findings import Analysis, Detail, Findings

Schema = Literal["spotify-features", "spotify-analysis"]


class Reports(Artist):
    """Draws and rewrites, in one thread of its own: plotting shares caches that no two threads should fill at once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reports")

    async def draw(self, findings: Findings, detail: bytes) -> dict[str, bytes]:
        """The pictures of an analysis as PNG by their file names; `detail` is the JSON that lies beside the log."""
        return await run_in(self._thread, _draw, findings, detail)

    async def rewrite(self, schema: Schema, analysis_id: str, findings: Findings, detail: bytes) -> bytes:
        """The analysis as JSON in another schema; `detail` may be empty for the features."""
        return await run_in(self._thread, _rewrite, schema, analysis_id, findings, detail)

    async def close(self) -> None:
        """End the thread; what it is drawing is given up."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _draw(findings: Findings, detail: bytes) -> dict[str, bytes]:
    from adapters.ears import pictures

    analysis = Analysis(findings=findings, detail=json.decode(detail, type=Detail))
    return {name: getattr(pictures, name.removesuffix(".png"))(analysis) for name in PICTURES}


def _rewrite(schema: Schema, analysis_id: str, findings: Findings, detail: bytes) -> bytes:
    from adapters.ears import exports

    if schema == "spotify-features":
        return json.encode(
            exports.spotify_features(
                findings,
                analysis_id=analysis_id,
                analysis_url=f"/v1/analyses/{analysis_id}/result?format=spotify-analysis",
            )
        )
    analysis = Analysis(findings=findings, detail=json.decode(detail, type=Detail))
    return json.encode(exports.spotify_analysis(analysis))


@provides
def reports() -> Reports:
    """Pictures and other people's schemas."""
    return Reports()
