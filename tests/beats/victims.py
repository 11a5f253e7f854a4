"""What of beats belongs to somebody else."""

from __future__ import annotations

from tests.identity.crowd import Visitor
from tests.journeys.kit import Neighbour
from tests.victims import Make

# A provider of music, which nothing is believed.
PUBLIC = ("POST /api/callbacks/suno", "POST /api/callbacks/suno/wav")


def _beat(them: Visitor, _: Neighbour) -> str:
    answer = them.post("/api/generate/beat", {"categoryName": "Trap - Dark/Aggressive", "mode": "metadata_only"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["beat"]["id"])


THEIRS: dict[str, Make] = {
    "beat_id": _beat,
    "version_number": lambda *_: "1",
    "file": lambda them, near: f"beats/2026-01/01/{_beat(them, near)}.mp3",
}
ABSENT = ("GET /output/{file}",)
