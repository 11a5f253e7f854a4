"""A user's own Baserow, by its public API (api.baserow.io, and whoever hosts their own): fields, rows, batches.

A database token opens the tables it was made for (`Authorization: Token`). Rows are read by pages and written by
batches of 200, the most that Baserow takes as it is shipped. A row that is gone makes a whole batch fail with 404, a
row that is named twice or a value that a field does not take with 400, and too many requests at once with 429.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, json

from adapters.provides import provides
from adapters.readmodels.views import Views
from adapters.storage.sealed import SealedTexts
from adapters.vault import Vault
from adapters.web.http import Outbound, OutboundFailed
from commands.catalogue.ports import Pushed, TablesFailed, Typed, TypedRow, WorkspaceTables
from commands.ports import Blobs
from domain.catalogue.codes import find_isrc
from domain.catalogue.tables import Kind, Tables, secret_key
from projections.catalogue.releases import release_documents
from projections.catalogue.tracks import track_documents
from projections.kernel import Projection

BATCH = 200
PAGE_DOCUMENTS = 100
ROWS_MAX = 50_000
ANSWER_BYTES_MAX = 8 * 1024 * 1024
SECONDS_MAX = 30.0
#: How often a request is made again that was one too many, and how long is waited at most in between.
TRIES, WAIT_SECONDS_MAX = 6, 30.0
#: The field that says which of our things a row is.
ID = "Ledgerline ID"

NO_BASEROW = "This is no Baserow: its answer is none of its API."

#: What is pushed: the field there, and that of our documents.
FIELDS: Mapping[Kind, Mapping[str, str]] = {
    "tracks": {
        ID: "track_id", "ISRC": "isrc", "Title": "title", "Artist": "artist", "Album": "album", "Label": "label",
        "UPC": "upc", "Release date": "release_date", "Duration (ms)": "duration_ms", "Cover": "cover_url",
    },
    "releases": {
        ID: "release_id", "Title": "title", "Artist": "artist", "Type": "release_type", "Label": "label",
        "UPC": "upc", "Catalog number": "catalog_number", "Genre": "genre", "Release date": "release_date",
        "Version": "version_number",
    },
}  # fmt: skip
DOCUMENTS: Mapping[Kind, Projection[Any]] = {"tracks": track_documents, "releases": release_documents}
#: Types of fields that take a text, a number or a date as it is; into others nothing is written.
_TEXTS, _NUMBERS, _DATES = frozenset({"text", "long_text", "url"}), frozenset({"number"}), frozenset({"date"})


class _Field(Struct):
    name: str
    type: str
    read_only: bool = False


class _Page(Struct):
    results: list[dict[str, Any]]
    next: str | None = None


class _Problem(Struct):
    error: str = ""
    detail: Any = None


class _RowGone(Exception):
    """A row that was there a moment ago is not any more."""


class _Place(NamedTuple):
    url: str
    token: str


class TableSecrets(SealedTexts):
    """Sealed tokens of tables."""


async def _nothing(*_: Any) -> Mapping[str, Any]:
    return {}


class Baserow(WorkspaceTables):
    """Pushes into tables and reads rows of them, over the guarded way out."""

    def __init__(self, web: Outbound, secrets: TableSecrets, views: Views) -> None:
        self._web = web
        self._secrets = secrets
        self._views = views

    async def push(self, tables: Tables, workspace_id: str, typed: Typed = _nothing) -> Pushed:
        """Bring both tables to what the catalogue has, but for what people have typed there; raises TablesFailed."""
        place = await self._place(tables, workspace_id)
        found = Pushed()
        for kind, table in _tables(tables):
            fields = await self._fields(place, table)
            for attempt in (1, 2, 3):
                try:
                    found = found.and_then(await self._push(place, kind, table, fields, tables, workspace_id, typed))
                except _RowGone as gone:
                    # Somebody deletes rows while we write: what is there is looked at anew.
                    if attempt == 3:
                        raise TablesFailed("Rows are being deleted there while we write.", final=False) from gone
                else:
                    break
        return found

    async def rows(self, tables: Tables, workspace_id: str, kind: Kind, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Rows as they are there now, those that are gone left out; raises TablesFailed."""
        place = await self._place(tables, workspace_id)
        found: list[dict[str, Any]] = []
        table = dict(_tables(tables)).get(kind)
        if table is None:
            return found
        for number in numbers:
            try:
                body = await self._ask(
                    place, "GET", f"/api/database/rows/table/{table}/{number}/?user_field_names=true"
                )
            except _RowGone:
                continue
            found.append(_named(kind, _decoded(body, dict[str, Any])))
        return found

    async def check(self, tables: Tables, token: str) -> None:
        """Whether the token opens the tables, and they have the field that rows are known by; raises TablesFailed."""
        for _, table in _tables(tables):
            await self._fields(_Place(tables.url, token), table)

    async def _place(self, tables: Tables, workspace_id: str) -> _Place:
        about = f"tables-{tables.connection_id}"
        token = (await self._secrets.texts(workspace_id, about, {"token": tables.secret_id})).get("token")
        if token is None:
            raise TablesFailed("The token is not here any more. Connect the tables again.", final=True)
        return _Place(tables.url, token)

    async def _fields(self, place: _Place, table: int) -> dict[str, _Field]:
        body = await self._ask(place, "GET", f"/api/database/fields/table/{table}/")
        fields = {each.name: each for each in _decoded(body, list[_Field]) if not each.read_only}
        if ID not in fields or fields[ID].type not in _TEXTS:
            raise TablesFailed(f"Table {table} needs a text field called {ID!r}, by which rows are known.", final=True)
        return fields

    async def _push(
        self,
        place: _Place,
        kind: Kind,
        table: int,
        fields: Mapping[str, _Field],
        tables: Tables,
        workspace_id: str,
        typed: Typed,
    ) -> Pushed:
        there, unnamed = await self._there(place, table)
        new, changed, same = [], [], 0
        people: list[TypedRow] = []
        seen: set[str] = set()
        async for document in self._documents(kind, workspace_id):
            cells = dict(_cells(kind, document, fields))
            if cells[ID] in seen:
                continue  # what is added meanwhile moves the last of a page to the next one
            seen.add(cells[ID])
            # Somebody has typed a row of it, which has no id yet, or it would be there twice.
            before = there.get(cells[ID]) or unnamed.pop(str(document.get("isrc") or ""), None)
            if before is None:
                new.append(cells)
                continue
            differing = {name: each for name, each in cells.items() if _shown(before.get(name), fields[name]) != each}
            if differing and ID not in differing:
                written = {FIELDS[kind][name] for name in differing}
                told = await typed(kind, cells[ID], _named(kind, before))
                if theirs := {name: value for name, value in told.items() if name in written}:
                    people.append(TypedRow(kind, {FIELDS[kind][ID]: cells[ID], **theirs}))
                    differing = {name: each for name, each in differing.items() if FIELDS[kind][name] not in theirs}
            if differing:
                changed.append({"id": before["id"], **differing})
            else:
                same += 1
        people += (TypedRow(kind, _named(kind, row)) for row in unnamed.values() if (kind, row["id"]) in tables.reading)
        at = f"/api/database/rows/table/{table}/batch/?user_field_names=true&send_webhook_events=false"
        for method, items in (("POST", new), ("PATCH", changed)):
            for start in range(0, len(items), BATCH):
                await self._ask(place, method, at, {"items": items[start : start + BATCH]})
        return Pushed(len(new), len(changed), same, tuple(people))

    async def _there(self, place: _Place, table: int) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """The rows of a table by our ids, and those without one by their ISRC."""
        there: dict[str, dict[str, Any]] = {}
        unnamed: dict[str, dict[str, Any]] = {}
        async for row in self._rows(place, table):
            if identity := str(row.get(ID) or "").strip():
                there.setdefault(identity, row)
            elif isrc := find_isrc(str(row.get("ISRC") or "")):
                unnamed.setdefault(isrc, row)
        return there, unnamed

    async def _rows(self, place: _Place, table: int) -> AsyncIterator[dict[str, Any]]:
        for page in range(1, ROWS_MAX // BATCH + 2):
            asked = f"/api/database/rows/table/{table}/?user_field_names=true&size={BATCH}&page={page}"
            found = _decoded(await self._ask(place, "GET", asked), _Page)
            for row in found.results:
                if not isinstance(row.get("id"), int):
                    raise TablesFailed(NO_BASEROW, final=True)
                yield row
            if found.next is None:
                return
        raise TablesFailed(f"Table {table} has more than {ROWS_MAX} rows.", final=True)

    async def _documents(self, kind: Kind, workspace_id: str) -> AsyncIterator[Mapping[str, Any]]:
        offset = 0
        while page := await self._views.page(DOCUMENTS[kind], workspace_id, limit=PAGE_DOCUMENTS, offset=offset):
            for each in page:
                yield json.decode(each.body)
            offset += len(page)

    async def _ask(self, place: _Place, method: str, path: str, body: Any = None) -> bytes:
        """Ask once, and again a few times where that was one too many; raises TablesFailed, _RowGone."""
        headers = {"Authorization": f"Token {place.token}", "Accept": "application/json"}
        sent = None if body is None else json.encode(body)
        if sent is not None:
            headers["Content-Type"] = "application/json"
        url = f"{place.url.rstrip('/')}{path}"
        for attempt in range(TRIES):
            try:
                answer = await self._web.ask(
                    method, url, headers=headers, body=sent, seconds_max=SECONDS_MAX, size_max=ANSWER_BYTES_MAX
                )
            except OutboundFailed as problem:
                setting: str | None = getattr(problem, "setting", None)
                final = not problem.transient and setting is None
                raise TablesFailed(
                    f"Baserow cannot be used: {problem.sentence}", final=final, setting=setting
                ) from problem
            if answer.status < 300:
                return answer.body
            if answer.status in (502, 504) and method == "POST":
                # Rows may have been made; whoever looks again will see.
                raise TablesFailed("Baserow has lost an answer on its way.", final=False)
            if answer.status not in (429, 502, 503, 504):
                raise _refused(answer.status, answer.body)
            wait = answer.retry_after_seconds
            await asyncio.sleep(min(WAIT_SECONDS_MAX, 0.5 * 2**attempt if wait is None else wait))
        raise TablesFailed("Baserow takes no more requests for the moment.", final=False)


def _named(kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row by the names of our fields."""
    return {ours: row.get(theirs) for theirs, ours in FIELDS[kind].items()}


def _tables(tables: Tables) -> Iterator[tuple[Kind, int]]:
    if tables.tracks_table is not None:
        yield "tracks", tables.tracks_table
    if tables.releases_table is not None:
        yield "releases", tables.releases_table


def _cells(kind: Kind, document: Mapping[str, Any], fields: Mapping[str, _Field]) -> Iterator[tuple[str, Any]]:
    """What a document says, in those fields that are there and take it."""
    for theirs, ours in FIELDS[kind].items():
        field, value = fields.get(theirs), document.get(ours)
        if field is None:
            continue
        if field.type in _TEXTS:
            yield theirs, "" if value is None else str(value)
        elif field.type in _NUMBERS and (value is None or isinstance(value, int)):
            yield theirs, None if value is None else str(value)
        elif field.type in _DATES and (value is None or re.fullmatch(r"\d{4}-\d\d-\d\d", str(value))):
            yield theirs, value


def _shown(value: Any, field: _Field) -> Any:
    """A value as it was written: numbers are shown with as many decimals as their field has, days with their time."""
    if isinstance(value, str) and field.type in _NUMBERS:
        return re.sub(r"\.0+$", "", value)
    return value[:10] if isinstance(value, str) and field.type in _DATES else value


def _refused(status: int, body: bytes) -> Exception:
    try:
        said = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = _Problem()
    if said.error == "ERROR_ROW_DOES_NOT_EXIST":
        return _RowGone()
    detail = said.detail if isinstance(said.detail, str) else json.encode(said.detail).decode()
    told = f"{said.error}: {detail}"[:500] if said.error else f"status {status}"
    # Whoever connected the tables has to mend what Baserow refuses; what is its own mistake may pass.
    return TablesFailed(f"Baserow says {told}", final=status < 500)


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise TablesFailed(NO_BASEROW, final=True) from problem


@provides
def table_secrets(vault: Vault, blobs: Blobs) -> TableSecrets:
    """Where tokens of tables are."""
    return TableSecrets(vault, blobs, secret_key)


@provides
def baserow(web: Outbound, secrets: TableSecrets, views: Views) -> Baserow:
    """The way to tables of workspaces."""
    return Baserow(web, secrets, views)
