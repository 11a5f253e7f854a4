"""Where a provider tells of its tasks. Nothing it says is believed: it only makes us look."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal
from uuid import uuid4

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import json

from adapters.beats.sunoapi import PURPOSE, field, subject
from api.beats.ports import Ports
from api.beats.shapes import Shape
from api.kernel import NO_JSON
from commands.beats.tasks import HearTask
from domain.beats.beats import BeatNotFound, beats
from domain.kernel import Invalid
from domain.ledger import Context

PROCESSED = "Callback processed successfully"

Word = Annotated[str, QueryParameter(max_length=200)]


class MalformedCallback(Invalid):
    """Malformed callback. Send a JSON object."""


class Received(Shape):
    """It has come; whether it has changed anything is nobody's business."""

    status: str
    task_id: str | None
    message: str


_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "msg": {"type": "string"},
                    "data": {"type": ["object", "null"]},
                },
            }
        }
    },
}


@post("/api/callbacks/suno", status_code=200, tags=["beats"], opt={"request_body": _BODY})
async def receive_audio(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    beat: Word = "",
    generation: Word = "",
    token: Word = "",
) -> Received:
    """Take a provider's word that something has become of a task, and look it up.

    The address that a provider is given holds a token. Without it, or for a task that is not known, not that one, or
    over already, it is acknowledged and changes nothing.
    """
    said = await _said(request)
    data = said.get("data")
    task_id = field(data, "task_id")
    known = task_id if isinstance(task_id, str) and 1 <= len(task_id) <= 200 and task_id.isprintable() else None
    stage = _stage(said)
    if stage is not None and ports.vault.same(ports.vault.token(PURPOSE, subject(beat, generation)), token):
        workspace_id = (await ports.log.state(beats, beat)).workspace_id
        context = Context(workspace_id=workspace_id, actor="sunoapi", correlation_id=uuid4())
        wish = HearTask(beat_id=beat, generation_id=generation, task_id=known, stage=stage)
        with suppress(BeatNotFound):
            await ports.execute(wish, context)
    return Received(status="received", task_id=known, message=PROCESSED)


@post("/api/callbacks/suno/wav", status_code=200, tags=["beats"], opt={"request_body": _BODY})
async def receive_wav(request: Request[Any, Any, Any]) -> Received:
    """Take a provider's word that a WAV is there. Whoever waits for it asks by themselves, so nothing changes."""
    task_id = field((await _said(request)).get("data"), "task_id")
    known = task_id if isinstance(task_id, str) and 1 <= len(task_id) <= 200 and task_id.isprintable() else None
    return Received(status="received", task_id=known, message=PROCESSED)


async def _said(request: Request[Any, Any, Any]) -> dict[str, Any]:
    try:
        said = json.decode(await request.body())
    except NO_JSON:
        said = None
    if not isinstance(said, dict):
        raise MalformedCallback
    return said


def _stage(said: dict[str, Any]) -> Literal["complete", "error"] | None:
    """What is told: that all is there, or nothing will be; of the stages between, nothing follows."""
    data = said.get("data")
    kind = str(field(data, "callback_type") or field(data, "status") or "").lower()
    if said.get("code") not in (0, 200) or kind == "error" or "fail" in kind:
        return "error"
    return "complete" if kind in ("complete", "success") else None
