"""What of licensing belongs to somebody else."""

from __future__ import annotations

from tests.identity.crowd import Visitor
from tests.journeys.kit import Neighbour
from tests.studio.victims import project
from tests.victims import Make

# Whoever has a code may use it.
PUBLIC = (
    "POST /functions/v1/plugin-activation/activate",
    "POST /functions/v1/plugin-activation/deactivate",
    "POST /functions/v1/plugin-activation/validate",
    "POST /functions/v1/plugin-activation/heartbeat",
    "GET /functions/v1/plugin-activation/status/{code}",
    "POST /functions/v1/plugin-activation/offline",
    "GET /functions/v1/plugin-activation/public-key",
    "POST /functions/v1/plugin-activation/machines",
    "POST /functions/v1/plugin-activation/machines/release",
)


def _code(them: Visitor, _: Neighbour | None = None) -> str:
    made = them.post("/functions/v1/plugin-activation/generate", {"project_id": project(them)})
    assert made.status_code == 201, made.text
    return str(made.json()["code"])


def _activation(them: Visitor, code: str) -> str:
    body = {"code": code, "machine_id": "theirs"}
    assert them.post("/functions/v1/plugin-activation/activate", body).status_code == 200
    listed = them.post("/functions/v1/plugin-activation/machines", body).json()
    return str(listed["machines"][0]["id"])


THEIRS: dict[str, Make] = {
    "code": _code,
    "activation_id": lambda them, _: _activation(them, _code(them)),
}
