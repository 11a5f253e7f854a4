"""Imports: files of sellers and stores taken in, looked after, asked back about."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType, json
from msgspec.structs import asdict, replace

from adapters.catalogue.books import OddRow
from adapters.catalogue.files import ENCODINGS
from adapters.catalogue.words import inert
from api.answers import Answer
from api.auth import Asker
from api.catalogue.mappings import profiles, saved
from api.catalogue.ports import Ports
from api.catalogue.tracks import LIMIT, READ, WRITE, Limit, Offset, Pagination, paged, under_data
from api.past import looks_back
from api.uploads import form
from commands.catalogue.imports import AnswerImport, RequestImport
from domain.catalogue.codes import find_isrc
from domain.catalogue.imports import BadOption, Options, imports, object_key
from domain.catalogue.mappings import DateOrder
from domain.keeping import check_text
from domain.kernel import Invalid, Unavailable
from projections.catalogue.imports import ImportDocument, import_counts, import_documents

ROWS, ROWS_MAX = 100, 10_000
#: How long whoever waits for an import does so, and how often it is looked.
WAIT_SECONDS, LOOK_SECONDS = 30.0, 0.03


class NotImported(Invalid):
    """{detail}"""


class StillWaiting(Unavailable):
    """The file was taken in, and others that were sent before are still being read. What comes of it is told at
    /api/v1/imports/{import_id}; what is sent again is read again and changes nothing.
    """

    import_id: str


class ImportAnswer(Struct):
    """One import."""

    data: ImportDocument


class ImportList(Struct):
    """A page of imports, newest first."""

    data: list[ImportDocument]
    pagination: Pagination


class ImportedRow(Struct):
    """A row that was rejected, waits for a person, or was left alone."""

    line: int
    kind: str
    reason: str
    cells: dict[str, str]


class ImportedRows(Struct):
    """Rows in the order of the file; `next` is the line after which the next page begins."""

    data: list[ImportedRow]
    next: int | None


class Answers(Struct, forbid_unknown_fields=True):
    """What was asked."""

    currency: Annotated[str, Meta(pattern=r"^[A-Za-z]{3}\Z")] | UnsetType = UNSET
    date_order: DateOrder | UnsetType = UNSET
    period_start: date | UnsetType = UNSET
    period_end: date | UnsetType = UNSET
    isrc: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    artist: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType = UNSET


_document = json.Decoder(ImportDocument).decode
_SAID = {
    "source": "The kind of report, where it should not be found out: a known one, or a saved mapping",
    "currency": "What it counts in, where it does not say (EUR)",
    "date_order": "How dates such as 03/04/2026 are read: dmy, mdy or ymd",
    "period_start": "The first day of what it sums up, where it does not say",
    "period_end": "The last day of it",
    "isrc": "The one track that it is about, where it does not say",
    "artist": "Whose titles it has, where it does not say",
    "replace": "Whether rows that a statement had before and has no more are taken out",
    "strict": "Whether one bad row keeps all others out",
    "encoding": "What its text is encoded as, where it should not be found out",
    "filename": "The name of the file, where the body is the file itself",
}
_FORM = form("CSV, TSV, XLSX; plain, gz or zip", {name: said for name, said in _SAID.items() if name != "filename"})
_FILE = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "required": True,
    "content": {"multipart/form-data": {"schema": _FORM}, "text/csv": _FILE, "application/octet-stream": _FILE},
}
ONE = ResponseSpec(ImportAnswer, generate_examples=False, description="The import as it stands")

Said = Annotated[str | None, QueryParameter(max_length=500)]


@post(
    "/api/v1/imports",
    status_code=202,
    tags=["catalogue"],
    opt={**WRITE, "request_body": BODY},
    request_max_body_size=None,
    responses={202: ONE},
)
async def import_report(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    source: Said = None,
    currency: Said = None,
    date_order: Said = None,
    period_start: Said = None,
    period_end: Said = None,
    isrc: Said = None,
    artist: Said = None,
    replace: Said = None,
    strict: Said = None,
    encoding: Said = None,
    filename: Said = None,
) -> Response[bytes]:
    """Import a report of a seller or a store, as it was downloaded: as the field `file` of a form, or as the body.

    Which report it is, is found out by its headers. What the file does not say may be said beside it, in the form or in
    the query. The answer comes at once; `outcome` tells later what came of it.
    """
    asked = {
        "source": source,
        "currency": currency,
        "date_order": date_order,
        "period_start": period_start,
        "period_end": period_end,
        "isrc": isrc,
        "artist": artist,
        "replace": replace,
        "strict": strict,
        "encoding": encoding,
    }
    options(asked, {})  # what is wrong in the query is said before the file is here
    import_id = await _take(request, ports, asker, asked, filename or "report.csv", None)
    return await _import(ports, asker, import_id, 202)


@post(
    "/api/v1/analytics/import",
    status_code=200,
    tags=["catalogue"],
    opt={**WRITE, "request_body": BODY},
    request_max_body_size=None,
    responses={200: ONE},
)
async def import_plays(
    request: Request[Any, Any, Any], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Import daily plays from our own CSV, `isrc,date,spotify_streams,apple_streams`, and wait for it.

    An empty cell is not known and changes nothing; 0 is what nobody played.
    """
    import_id = await _take(
        request, ports, asker, {"source": "own.daily"}, "plays.csv", ports.settings.import_at_once_bytes_max
    )
    found = await _over(ports, asker, import_id)
    if found.outcome != "imported":
        raise NotImported(detail=found.detail or "The file cannot be imported.")
    return await _import(ports, asker, import_id)


async def _take(
    request: Request[Any, Any, Any],
    ports: Ports,
    asker: Asker,
    asked: Mapping[str, str | None],
    filename: str,
    size_max: int | None,
) -> str:
    """Take a file in and ask for its import: the id."""
    length = request.headers.get("content-length", "")
    mappings = await saved(ports, asker.workspace_id)
    async with ports.receiving.receive(
        request.headers.get("content-type"),
        int(length) if length.isdigit() else None,
        request.stream(),
        asker.workspace_id,
        filename=check_text(filename),
        encoding=asked.get("encoding"),
        profiles=lambda fields: profiles(mappings, fields.get("source") or asked.get("source")),
        size_max=size_max,
    ) as received:
        said = options(asked, received.fields)
        if received.source in mappings:
            said = replace(said, source=received.source, mapping=mappings[received.source])
        import_id = ports.vault.new_id()
        key = "" if received.refused else object_key(asker.workspace_id, import_id)
        if key:
            await ports.receiving.keep(received, key)
        wish = RequestImport(
            import_id=import_id,
            workspace_id=asker.workspace_id,
            filename=check_text(received.filename),
            object_key=key,
            size=received.size,
            sha256=received.sha256,
            options=said,
            kept_size=received.kept_size,
            kept_sha256=received.kept_sha256,
        )
        if received.refused:
            reason, detail = received.refused
            wish = replace(wish, refused=reason, detail=detail)
        await ports.execute(wish, asker.context)
    return import_id


async def _over(ports: Ports, asker: Asker, import_id: str) -> ImportDocument:
    """An import when it is over, or something is asked; it is read in its turn, as all of its workspace are."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = _document(await ports.views.get(import_documents, import_id, asker.workspace_id))
                if found.outcome is not None:
                    return found
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as slow:
        raise StillWaiting(import_id=import_id) from slow


def options(asked: Mapping[str, str | None], fields: Mapping[str, str]) -> Options:
    """What was said beside a file, in the query and in the form; raises BadOption."""
    unknown = fields.keys() - _SAID.keys()
    if unknown:
        raise BadOption(problem=f"There is no field {min(unknown)[:64]!r} here.", loc=("body", min(unknown)[:64]))
    said: dict[str, Any] = {name: text for name, text in {**asked, **fields}.items() if text and name in _SAID}
    said.pop("filename", None)
    for name, text in said.items():
        check_text(text)
        if name in ("replace", "strict"):
            if text.lower() not in ("true", "false", "1", "0"):
                raise BadOption(problem=f"{name} is true or false.", loc=("query", name))
            said[name] = text.lower() in ("true", "1")
        elif name == "currency":
            said[name] = text.upper()
    if said.get("encoding", "utf-8") not in ENCODINGS:
        raise BadOption(problem=f"Encodings are {', '.join(ENCODINGS)}.", loc=("query", "encoding"))
    if len(said.get("currency", "EUR")) != 3 or not said.get("currency", "EUR").isalpha():
        raise BadOption(problem="A currency has three letters, as in EUR.", loc=("query", "currency"))
    try:
        found = msgspec.convert(said, Options, strict=False)
    except msgspec.ValidationError as problem:
        raise BadOption(problem=f"This is not an option: {problem}.", loc=("query",)) from problem
    return _sound(found)


def _sound(found: Options) -> Options:
    if found.isrc is not None:
        isrc = find_isrc(found.isrc)
        if isrc is None:
            raise BadOption(problem="This is no ISRC.", loc=("query", "isrc"))
        found = replace(found, isrc=isrc)
    if found.period_start and found.period_end and found.period_end < found.period_start:
        raise BadOption(problem="The period ends before it begins.", loc=("query", "period_end"))
    return found


@get("/api/v1/imports", tags=["catalogue"], opt=READ)
async def list_imports(
    ports: NamedDependency[Ports], asker: NamedDependency[Asker], limit: Limit = LIMIT, offset: Offset = 0
) -> ImportList:
    """List the imports of the workspace, newest first."""
    found, page = await paged(ports, import_documents, import_counts, asker.workspace_id, limit, offset)
    return ImportList([_document(each) for each in found], page)


@get("/api/v1/imports/{import_id:str}", tags=["catalogue"], opt=READ, responses={200: ONE})
async def get_import(
    import_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read an import: its outcome, the question or the reason, counts, warnings, totals by currency, and periods.

    While it runs, `progress` says how far it is.
    """
    return await _import(ports, asker, import_id)


@post(
    "/api/v1/imports/{import_id:str}/answers",
    status_code=202,
    tags=["catalogue"],
    opt={**WRITE, "statuses": ("409",)},
    responses={202: ONE},
)
async def answer_import(
    import_id: FromPath[str],
    data: JSONBody[Answers],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Say what was asked about an import; it goes on then."""
    known = await ports.reading.log.state(imports, import_id)
    said = {name: value for name, value in asdict(data).items() if value is not UNSET}
    if "currency" in said:
        said["currency"] = said["currency"].upper()
    wish = AnswerImport(
        import_id=import_id, workspace_id=asker.workspace_id, options=_sound(replace(known.options, **said))
    )
    await ports.execute(wish, asker.context)
    return await _import(ports, asker, import_id, 202)


@get(
    "/api/v1/imports/{import_id:str}/rows",
    tags=["catalogue"],
    responses={200: ResponseSpec(ImportedRows, generate_examples=False, description="The rows")},
    opt={**READ, "also": ("text/csv",)},
)
async def list_import_rows(
    import_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    kind: Annotated[Literal["rejected", "queued", "ignored"], QueryParameter(description="Which rows")] = "rejected",
    format: Annotated[  # noqa: A002 - the name that it has outside
        Literal["json", "csv"], QueryParameter(description="csv can be corrected and imported again")
    ] = "json",
    after: Annotated[int, QueryParameter(ge=0, le=2**31 - 1, description="Only rows after this line")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=ROWS_MAX, description="Maximum number of rows")] = ROWS,
) -> Response[Any]:
    """Read the rows of an import that were rejected, wait for a person, or were left alone, each with its line."""
    await ports.views.get(import_documents, import_id, asker.workspace_id)
    header, rows = await ports.books.odd_rows(asker.workspace_id, import_id, [kind], after=after, limit=limit)
    if format == "csv":
        return Response(_csv(header, rows).encode(), media_type="text/csv")
    shown = [ImportedRow(row.line, row.kind, row.reason, _named(header, row.cells)) for row in rows]
    return Answer(ImportedRows(shown, rows[-1].line if len(rows) >= limit else None))


def _named(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    names = [*header, *(f"column {at + 1}" for at in range(len(header), len(cells)))]
    return dict(zip(names, cells, strict=False))


def _csv(header: Sequence[str], rows: Sequence[OddRow]) -> str:
    """Rows to be corrected, under the header of their file; what a spreadsheet would compute is made plain text."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([inert(each) for each in header])
    for row in rows:
        writer.writerow([inert(each) for each in row.cells])
    return file.getvalue()


async def _import(ports: Ports, asker: Asker, import_id: str, status: int = 200) -> Response[bytes]:
    body = await ports.views.get(import_documents, import_id, asker.workspace_id)
    found = _document(body)
    if found.outcome is None and not looks_back() and (running := await ports.books.progress(import_id)) is not None:
        rows, done, size = running
        progress = {"rows_read": rows, "bytes_read": done, "bytes_total": size}
        body = json.encode(replace(found, progress=progress))
    return under_data(body, status)
