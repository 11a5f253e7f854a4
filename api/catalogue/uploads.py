"""Upload sessions: a release handed in at a distributor, every step reported by whoever does it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter
from msgspec import Meta, Struct, json

from api.auth import Asker
from api.catalogue.ports import Ports
from api.catalogue.releases import WRITE, deliverable
from api.catalogue.tracks import LIMIT, READ, Limit, Offset, Pagination, one, paged
from commands.catalogue.uploads import AbandonUpload, CompleteUpload, ReportStep, StartUpload
from commands.kernel import Command
from domain.catalogue.accounts import NoSuchAccount
from domain.catalogue.uploads import STEPS, STEPS_MAX
from domain.keeping import check_text
from projections.catalogue.uploads import UploadSessionDocument, upload_session_counts, upload_session_documents

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Note = Annotated[str, Meta(max_length=2000)]


class NewUploadSession(Struct, forbid_unknown_fields=True):
    """Which release is handed in, under which account (its own, where none is named), and in which steps."""

    release_id: Id
    account_id: Id | None = None
    steps: Annotated[tuple[str, ...], Meta(min_length=1, max_length=STEPS_MAX)] = STEPS


class StepReport(Struct, forbid_unknown_fields=True):
    """How far a step is, and what there is to say about it."""

    status: Literal["running", "done", "failed"]
    note: Note = ""


class Completion(Struct, forbid_unknown_fields=True):
    """What the distributor calls what was handed in: its number there, or an address."""

    reference: Annotated[str, Meta(max_length=500)] = ""


class Abandonment(Struct, forbid_unknown_fields=True):
    """Why it is given up."""

    reason: Note = ""


class UploadSessionAnswer(Struct):
    """One session."""

    data: UploadSessionDocument


class UploadSessionList(Struct):
    """A page of sessions, newest first."""

    data: list[UploadSessionDocument]
    pagination: Pagination


_document = json.Decoder(UploadSessionDocument).decode
ONE = ResponseSpec(UploadSessionAnswer, generate_examples=False, description="The session as it stands.")
CHANGES = {**WRITE, "statuses": ("409",)}

StepName = Annotated[str, PathParameter(description="Name of the step", examples=[Example(value="upload_audio")])]


@post("/api/v1/upload-sessions", status_code=201, tags=["distribution"], opt=CHANGES, responses={201: ONE})
async def start_upload_session(
    data: JSONBody[NewUploadSession], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Begin to hand in a release that is `ready`, by hand or by an agent; nothing is uploaded by this service itself.

    A release has one open session under an account. One of which nothing is heard for long is over (`expires_at`).
    """
    release, _ = await deliverable(ports, asker, check_text(data.release_id))
    account_id = data.account_id or release.account_id
    if account_id is None:
        raise NoSuchAccount
    session_id = ports.vault.new_id()
    wish = StartUpload(
        session_id=session_id,
        workspace_id=asker.workspace_id,
        release_id=data.release_id,
        account_id=check_text(account_id),
        steps=data.steps,
        timeout=_timeout(ports),
    )
    return await _session(ports, asker, session_id, wish, status=201)


@get("/api/v1/upload-sessions", tags=["distribution"], opt=READ)
async def list_upload_sessions(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    release_id: Annotated[str | None, QueryParameter(max_length=64, description="Only those of one release")] = None,
    limit: Limit = LIMIT,
    offset: Offset = 0,
) -> UploadSessionList:
    """List upload sessions, newest first."""
    if release_id is not None:
        check_text(release_id)
    found, page = await paged(
        ports, upload_session_documents, upload_session_counts, asker.workspace_id, limit, offset, release_id
    )
    return UploadSessionList([_document(each) for each in found], page)


@get("/api/v1/upload-sessions/{session_id:str}", tags=["distribution"], opt=READ, responses={200: ONE})
async def get_upload_session(
    session_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read a session: which step is where, what was last said about each, and how it ended."""
    return await _session(ports, asker, session_id)


@put(
    "/api/v1/upload-sessions/{session_id:str}/steps/{step:str}",
    status_code=200,
    tags=["distribution"],
    opt=CHANGES,
    responses={200: ONE},
)
async def report_upload_step(
    session_id: FromPath[str],
    step: StepName,
    data: JSONBody[StepReport],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Report a step: it is running, done, or has failed. A step that has failed may be tried again."""
    wish = ReportStep(
        session_id=session_id,
        workspace_id=asker.workspace_id,
        step=step,
        status=data.status,
        note=data.note,
        timeout=_timeout(ports),
    )
    return await _session(ports, asker, session_id, wish)


@post(
    "/api/v1/upload-sessions/{session_id:str}/complete",
    status_code=200,
    tags=["distribution"],
    opt=CHANGES,
    responses={200: ONE},
)
async def complete_upload_session(
    session_id: FromPath[str],
    data: JSONBody[Completion],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Say that the release has been handed in. Every step must be done."""
    wish = CompleteUpload(session_id=session_id, workspace_id=asker.workspace_id, reference=data.reference)
    return await _session(ports, asker, session_id, wish)


@post(
    "/api/v1/upload-sessions/{session_id:str}/abandon",
    status_code=200,
    tags=["distribution"],
    opt=CHANGES,
    responses={200: ONE},
)
async def abandon_upload_session(
    session_id: FromPath[str],
    data: JSONBody[Abandonment],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Give up handing a release in, so that another session may."""
    wish = AbandonUpload(session_id=session_id, workspace_id=asker.workspace_id, reason=data.reason)
    return await _session(ports, asker, session_id, wish)


def _timeout(ports: Ports) -> timedelta:
    return timedelta(hours=ports.releases.upload_session_hours)


async def _session(
    ports: Ports, asker: Asker, session_id: str, wish: Command | None = None, status: int = 200
) -> Response[bytes]:
    return await one(ports, asker, upload_session_documents, session_id, wish, status=status)
