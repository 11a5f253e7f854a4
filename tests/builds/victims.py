"""What of builds belongs to somebody else."""

from __future__ import annotations

from uuid import uuid4

from tests.identity.crowd import Visitor
from tests.studio.victims import project
from tests.victims import Make, made

PUBLIC = (
    # a project's webhook secret is the proof
    "POST /functions/v1/external-builds/{project_id}/trigger",
    "GET /functions/v1/external-builds/{build_id}/status",
    # GitHub signs, and leads people here with a state of ours and a code of theirs
    "POST /functions/v1/github-app-callback/webhook",
    "GET /functions/v1/github-app-callback",
    # a runner has a token of its own, which every handler asks for
    "POST /functions/v1/runner/register",
    "POST /functions/v1/runner/claim",
    "POST /functions/v1/runner/jobs/{job_id}/heartbeat",
    "POST /functions/v1/runner/jobs/{job_id}/steps",
    "POST /functions/v1/runner/jobs/{job_id}/source",
    "POST /functions/v1/runner/jobs/{job_id}/submodule-token",
    "POST /functions/v1/runner/jobs/{job_id}/logs",
    "POST /functions/v1/runner/jobs/{job_id}/artifacts",
    "PUT /functions/v1/runner/jobs/{job_id}/artifacts/{artifact_id}",
    "POST /functions/v1/runner/jobs/{job_id}/artifacts/{artifact_id}/complete",
    "POST /functions/v1/runner/jobs/{job_id}/finish",
)


def _runner(them: Visitor) -> str:
    token = them.post("/functions/v1/runners/registration-token").json()["token"]
    about = {"token": token, "name": "theirs", "platforms": ["linux"], "formats": ["clap"]}
    return str(them.http.post("/functions/v1/runner/register", json=about).json()["runner_id"])


THEIRS: dict[str, Make] = {
    "build_id": lambda them, _: made(them, "/functions/v1/builds", {"project_id": project(them)}),
    "artifact_id": lambda *_: str(uuid4()),
    "runner_id": lambda them, _: _runner(them),
}
BODIES = {"PUT /functions/v1/projects/{project_id}/secrets/{name}": {"value": "correct horse"}}
ABSENT = ("GET /functions/v1/builds/{build_id}/download/{artifact_id}",)
