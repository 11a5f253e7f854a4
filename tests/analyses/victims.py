"""What of analyses belongs to somebody else."""

from __future__ import annotations

from tests.victims import Make, made

PUBLIC = (
    # a taste, with a token for what comes of it
    "POST /v1/demo/analyze/url",
    "GET /v1/demo/analysis/{job_id}",
)
THEIRS: dict[str, Make] = {
    "job_id": lambda them, near: made(them, "/v1/analyses", {"source_url": near.at("recording.wav")}),
}
