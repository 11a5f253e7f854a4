"""`/admin/*`: what the command line shows and does, over HTTP, for the operator's credential alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from adapters.log.seals import seal_key
from adapters.log.settings import Sealing
from adapters.operators import explaining, given_up, log, parked
from adapters.operators.apart import done_apart
from adapters.operators.backup import PASSPHRASE_LENGTH_MAX, PASSPHRASE_LENGTH_MIN
from adapters.operators.credentials import new_token, rotate
from adapters.operators.metrics import CONTENT_TYPE, exposition
from adapters.operators.settings import Backups
from adapters.operators.status import Status, status
from adapters.postgres.retrying import Pool, asking
from adapters.readmodels.projector import cancel_rebuild, request_rebuild
from adapters.readmodels.views import ReadsUnavailable
from adapters.storage.blobs import Blobs
from adapters.stream.bus import Bus
from api.answers import Answer
from api.auth import Connection, NotAnOperator, correlation_id, operator_only, presented_key
from commands.kernel import Execute
from domain.kernel import Conflict, Invalid, NotFound
from domain.sections import Sections
from projections.kernel import PROJECTIONS, TALLIES, Projection, Tally

PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
Word = Annotated[str | None, QueryParameter(min_length=1, max_length=500, pattern=PRINTABLE)]
Position = Annotated[int | None, QueryParameter(ge=0, le=2**62)]
GRACE_HOURS_MAX = 24 * 7
#: A line of JSON for each thing that is told.
LINES = "application/x-ndjson"


class NoSuchEvent(NotFound):
    """There is no event at this position."""


class NoSuchReadModel(NotFound):
    """No read model is called {name}."""


class BeingFolded(Conflict):
    """Somebody else has just asked for {name}; it is being folded again."""


class NoBackupDirectory(Conflict):
    """LEDGERLINE_BACKUP_DIR says no place for backups here. Set it, or type `ledgerline backup`."""


class NothingNamed(Invalid):
    """Say what to skip: name, stream, position, or another filter."""


@dataclass(frozen=True)
class Ports:
    """What operators look at, and ask for."""

    pool: Pool
    execute: Execute
    bus: Bus
    blobs: Blobs
    sealing: Sealing
    settings: Sections

    @property
    def connections(self) -> given_up.Connections:
        """Connections for one look each."""
        return partial(asking, self.pool, ReadsUnavailable)

    async def in_name_of_operators(self) -> given_up.Ask:
        """What asks for something of workspaces, under the correlation of this request."""
        return given_up.in_name_of_operators(self.execute, correlation_id())


class Filter(Struct, forbid_unknown_fields=True):
    """What of the given-up is meant; what is left out does not matter."""

    kind: Annotated[str, Meta(max_length=500, pattern=PRINTABLE)] | None = None
    name: Annotated[str, Meta(max_length=500, pattern=PRINTABLE)] | None = None
    stream: Annotated[str, Meta(max_length=500, pattern=PRINTABLE)] | None = None
    workspace_id: Annotated[str, Meta(max_length=500, pattern=PRINTABLE)] | None = None
    position: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    problem: Annotated[str, Meta(max_length=500, pattern=PRINTABLE)] | None = None
    code_version: Annotated[str, Meta(max_length=500, pattern=PRINTABLE)] | None = None

    @property
    def meant(self) -> parked.Filter:
        """The same in the words of what looks for it; raises NoSuchKind."""
        given_up.check_kind(self.kind, ("body", "kind"))
        return parked.Filter(**{name: getattr(self, name) for name in self.__struct_fields__})


class Rotation(Struct, forbid_unknown_fields=True):
    """For how long the credential before is good still."""

    grace_hours: Annotated[float, Meta(ge=0, le=GRACE_HOURS_MAX)] = 0


@get("/admin/status", opt=operator_only(), include_in_schema=False)
async def get_status(ports: NamedDependency[Ports]) -> Response[Status]:
    """How everything is that runs: `ledgerline status`."""
    async with asking(ports.pool, ReadsUnavailable) as connection:
        return Answer(await status(connection, ports.bus, ports.blobs))


@get("/admin/log", opt=operator_only(), include_in_schema=False)
async def search_log(
    ports: NamedDependency[Ports],
    stream: Word = None,
    name: Annotated[str | None, QueryParameter(name="type", min_length=1, max_length=500, pattern=PRINTABLE)] = None,
    workspace_id: Word = None,
    actor: Word = None,
    correlation_id: FromQuery[UUID | None] = None,
    trace_id: Word = None,
    text: Word = None,
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
    after: Position = None,
    before: Position = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
    newest: FromQuery[bool] = False,
) -> Response[list[dict[str, Any]]]:
    """Events that match, oldest first: the first ones, or with `newest` the last ones; personal texts stay sealed."""
    search = log.Search(
        stream=stream,
        name=name,
        workspace_id=workspace_id,
        actor=actor,
        correlation_id=correlation_id,
        trace_id=trace_id,
        text=text,
        since=since,
        until=until,
        after=after,
        before=before,
    )
    find = log.newest if newest else log.oldest
    async with asking(ports.pool, ReadsUnavailable) as connection:
        return Answer([each.plain for each in await find(connection, search, limit)])


@get("/admin/log/{position:int}", opt=operator_only(), include_in_schema=False)
async def show_event(ports: NamedDependency[Ports], position: FromPath[int]) -> Response[dict[str, Any]]:
    """One event with everything that it says."""
    if not 0 < position < 2**62:
        raise NoSuchEvent
    async with asking(ports.pool, ReadsUnavailable) as connection:
        found = await log.oldest(connection, log.Search(after=position - 1, before=position + 1), 1)
    if not found:
        raise NoSuchEvent
    return Answer(found[0].plain)


@get("/admin/explain/{name:str}", opt=operator_only(), include_in_schema=False)
async def explain(ports: NamedDependency[Ports], name: FromPath[str]) -> Response[dict[str, Any]]:
    """What one request, event or correlation has led to."""
    if not name.isprintable():
        raise explaining.NothingToExplain(name="this")
    async with asking(ports.pool, ReadsUnavailable) as connection:
        return Answer(explaining.plain(await explaining.explain(connection, name)))


@get("/admin/parked", opt=operator_only(), include_in_schema=False)
async def list_parked(
    ports: NamedDependency[Ports],
    kind: Word = None,
    name: Word = None,
    stream: Word = None,
    workspace_id: Word = None,
    position: Position = None,
    problem: Word = None,
    code_version: Word = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
) -> Response[list[parked.Parked]]:
    """What was given up: jobs, streams with an event that could not be folded, and things of contexts."""
    meant = parked.Filter(
        kind=given_up.check_kind(kind, ("query", "kind")),
        name=name,
        stream=stream,
        workspace_id=workspace_id,
        position=position,
        problem=problem,
        code_version=code_version,
    )
    async with asking(ports.pool, ReadsUnavailable) as connection:
        return Answer(await given_up.look(connection, meant, limit))


@post("/admin/parked/retry", opt=operator_only(), include_in_schema=False, status_code=200)
async def retry_parked(ports: NamedDependency[Ports], data: JSONBody[Filter]) -> Response[dict[str, Any]]:
    """Give what was given up another set of attempts."""
    done = await given_up.retry(ports.connections, data.meant, ports.in_name_of_operators)
    return Answer(done.plain)


@post("/admin/parked/skip", opt=operator_only(), include_in_schema=False, status_code=200)
async def skip_parked(ports: NamedDependency[Ports], data: JSONBody[Filter]) -> Response[dict[str, Any]]:
    """Leave out for good what was given up."""
    if data == Filter():
        raise NothingNamed
    done = await given_up.skip(ports.connections, data.meant, ports.in_name_of_operators)
    return Answer(done.plain)


@post("/admin/replay/{name:str}", opt=operator_only(), include_in_schema=False, status_code=202)
async def replay(ports: NamedDependency[Ports], name: FromPath[str]) -> Response[dict[str, Any]]:
    """Ask for a read model to be folded again beside the live one; `status` shows how far it is."""
    found = _read_model(name)
    async with asking(ports.pool, ReadsUnavailable) as connection:
        version = await request_rebuild(connection, found.name, found.version)
    if not version:
        raise BeingFolded(name=found.name)
    return Answer({"name": found.name, "version": version}, status_code=202)


@delete("/admin/replay/{name:str}", opt=operator_only(), include_in_schema=False, status_code=200)
async def cancel_replay(ports: NamedDependency[Ports], name: FromPath[str]) -> Response[dict[str, Any]]:
    """Let go of what is being folded of a read model; the live one stays."""
    found = _read_model(name)
    async with asking(ports.pool, ReadsUnavailable) as connection:
        count = await cancel_rebuild(connection, found.name)
    return Answer({"name": found.name, "cancelled": count})


def _read_model(name: str) -> Projection[Any] | Tally:
    found = PROJECTIONS.get(name) or TALLIES.get(name)
    if found is None:
        raise NoSuchReadModel(name=name if name.isprintable() else "this")
    return found


@get("/admin/seals", opt=operator_only(), include_in_schema=False)
async def list_seals(
    ports: NamedDependency[Ports], limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 10
) -> Response[dict[str, Any]]:
    """The newest seals over the log, newest first, and the key that they are signed with."""
    async with asking(ports.pool, ReadsUnavailable) as connection:
        cursor = await connection.execute(
            "SELECT statement, encode(signature, 'hex'), encode(sha256(convert_to(statement, 'UTF8')), 'hex') "
            "FROM log_seals ORDER BY number DESC LIMIT %s",
            (limit,),
        )
        found = [dict(zip(("seal", "signature", "digest"), row, strict=True)) for row in await cursor.fetchall()]
    key = seal_key(ports.sealing.secret_key.reveal().encode()).public_key().public_bytes_raw().hex()
    return Answer({"public_key": key, "seals": found})


class Look(Struct, forbid_unknown_fields=True):
    """What is to be verified: everything, or these parts."""

    parts: Annotated[list[Literal["log", "read-models", "objects", "stream", "published"]], Meta(max_length=5)] = []


class Mend(Struct, forbid_unknown_fields=True):
    """What is to be mended: everything that can be, or these parts."""

    parts: Annotated[list[Literal["read-models", "stream", "published"]], Meta(max_length=3)] = []


class Between(Struct, forbid_unknown_fields=True):
    """Which documents are compared: those whose newest event came after one position, and not after another."""

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0
    until: Annotated[int, Meta(ge=0, le=2**62)] | None = None


@post("/admin/verify", opt=operator_only(), include_in_schema=False, status_code=200, media_type=LINES)
async def verify(ports: NamedDependency[Ports], data: JSONBody[Look]) -> Stream:
    """Verify what is kept, in a process apart: a line of JSON for each finding, and for each part when it is done."""
    return await _told(ports, "verify", *_only(data.parts))


@post("/admin/repair", opt=operator_only(), include_in_schema=False, status_code=200, media_type=LINES)
async def repair(ports: NamedDependency[Ports], data: JSONBody[Mend]) -> Stream:
    """Verify and mend, in a process apart, line by line; hanging up between two lines leaves the rest to the next."""
    return await _told(ports, "repair", *_only(data.parts))


@post(
    "/admin/replay/{name:str}/dry-run", opt=operator_only(), include_in_schema=False, status_code=200, media_type=LINES
)
async def dry_run(ports: NamedDependency[Ports], name: FromPath[str], data: JSONBody[Between]) -> Stream:
    """What a read model would be that is folded again, in a process apart: a line for each difference, and one for all.

    Nothing is changed.
    """
    found = _read_model(name)
    until = () if data.until is None else ("--to", str(data.until))
    return await _told(ports, "replay", found.name, "--dry-run", "--from", str(data.after), *until)


def _only(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        yield from ("--only", part)


async def _told(ports: Ports, *words: str, said: str = "") -> Stream:
    """What a command says; refused before the first line where another one is at work."""
    lines = done_apart(ports.settings, *words, said=said)
    first = await anext(lines)

    async def told() -> AsyncIterator[bytes]:
        async with aclosing(lines):
            yield first
            async for line in lines:
                yield line

    return Stream(told(), media_type=LINES)


class BackUp(Struct, forbid_unknown_fields=True):
    """What opens the keys of the backup."""

    passphrase: Annotated[
        str, Meta(min_length=PASSPHRASE_LENGTH_MIN, max_length=PASSPHRASE_LENGTH_MAX, pattern=PRINTABLE)
    ]


@post("/admin/backup", opt=operator_only(), include_in_schema=False, status_code=200, media_type=LINES)
async def back_up(ports: NamedDependency[Ports], data: JSONBody[BackUp]) -> Stream:
    """Write what is new since the last backup, or everything, in a process apart: one line of JSON when it is done.

    Hanging up ends it, and what was written is let go.
    """
    place = ports.settings[Backups].place
    if place is None:
        raise NoBackupDirectory
    return await _told(ports, "backup", str(place), "--passphrase-file", "-", said=data.passphrase)


@post("/admin/credential/rotate", opt=operator_only(), include_in_schema=False, status_code=200)
async def rotate_credential(
    request: Connection, ports: NamedDependency[Ports], data: JSONBody[Rotation]
) -> Response[dict[str, str]]:
    """Make another operator's credential, shown once; the one before ends now, or after some hours."""
    token = new_token()
    async with asking(ports.pool, ReadsUnavailable) as connection:
        grace = timedelta(hours=data.grace_hours)
        if not await rotate(connection, token, grace=grace, asked_with=presented_key(request)):
            raise NotAnOperator
    return Answer({"token": token})


@get("/metrics", opt=operator_only(), include_in_schema=False, media_type="text/plain")
async def get_metrics() -> Response[bytes]:
    """What this process has counted, as Prometheus reads it."""
    # The framework says itself that a text is UTF-8.
    return Response(exposition(), media_type=CONTENT_TYPE.removesuffix("; charset=utf-8"))
