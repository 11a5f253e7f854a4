"""Tables of a workspace's people elsewhere: a Baserow that tracks and releases are pushed into."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.catalogue.ports import Ports
from api.catalogue.settings import CatalogueRates
from api.catalogue.tracks import READ, Done, one
from api.kernel import NO_JSON, check_url
from api.rates import MINUTE_SECONDS, by_address, rate
from commands.catalogue.ports import TablesFailed
from commands.catalogue.tables import AskPush, ConnectTables, DisconnectTables, TellOfRows
from domain.catalogue.tables import BadTables, Kind, NoTables, Tables, TablesRefused, tables_of
from domain.keeping import check_text
from domain.ledger import Context
from projections.catalogue.tables import TablesDocument, tables_documents

#: Whoever decides where the catalogue is pushed gives it away.
ADMIN = needs("catalogue:write", "admin")
WRITE = needs("catalogue:write", "member")
TOLD = by_address("tables told", CatalogueRates, lambda rates: rates.catalogue_writes_per_minute, MINUTE_SECONDS)
#: What secrets of webhooks are made for, and the header in which they come.
PURPOSE, HEADER = "workspace tables", "X-Ledgerline-Secret"
ROWS_MAX = 200

TableId = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class NewTables(Struct, forbid_unknown_fields=True):
    """A Baserow and a database token of it; the tables need a text field `Ledgerline ID`, and whichever others."""

    url: Annotated[str, Meta(min_length=1, max_length=2048, examples=["https://baserow.example"])]
    token: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+\Z", examples=["wpYrt7Ujh"])]
    tracks_table: Annotated[TableId, Meta(examples=[731])] | None = None
    releases_table: Annotated[TableId, Meta(examples=[732])] | None = None


class Webhook(Struct):
    """What to enter there as a webhook for rows that are created and updated."""

    path: str
    header: str
    secret: str


class Connected(Struct):
    """The tables, and how they tell of changes; the secret is shown this once."""

    data: TablesDocument
    webhook: Webhook


class TablesAnswer(Struct):
    """The tables, and what came of the last push."""

    data: TablesDocument


ONE = ResponseSpec(TablesAnswer, generate_examples=False, description="The tables, and how far the last push is.")


@put("/api/v1/workspace-tables", status_code=200, tags=["catalogue"], opt={**ADMIN, "statuses": ("409",)})
async def connect_workspace_tables(
    data: JSONBody[NewTables], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Connected:
    """Push tracks and releases into tables of a Baserow of your own from now on, in place of those before.

    The token is tried now, sealed, and shown to nobody. Fields are found by their names: those that are there and
    take it are written, all others are yours.
    """
    url = check_url(ports.web, check_text(data.url), ("body", "url"))
    if data.tracks_table is None and data.releases_table is None:
        raise BadTables(problem="Name a table for tracks, for releases, or both.", loc=("body", "tracks_table"))
    if data.tracks_table == data.releases_table:
        raise BadTables(problem="Tracks and releases need tables of their own.", loc=("body", "releases_table"))
    connection_id, secret_id = ports.vault.new_id(), ports.vault.new_id()
    wish = ConnectTables(
        workspace_id=asker.workspace_id,
        connection_id=connection_id,
        url=url,
        secret_id=secret_id,
        tracks_table=data.tracks_table,
        releases_table=data.releases_table,
    )
    try:
        await ports.tables.check(
            Tables(url=url, tracks_table=data.tracks_table, releases_table=data.releases_table), data.token
        )
    except TablesFailed as problem:
        raise TablesRefused(problem=str(problem)) from problem
    await ports.secrets.put(asker.workspace_id, f"tables-{connection_id}", secret_id, data.token)
    await ports.execute(wish, asker.context)
    body = await ports.views.get(tables_documents, asker.workspace_id, asker.workspace_id)
    path = f"/api/v1/workspace-tables/{asker.workspace_id}/webhook"
    secret = _secret(ports, asker.workspace_id, connection_id)
    return Connected(json.decode(body, type=TablesDocument), Webhook(path, HEADER, secret))


@get("/api/v1/workspace-tables", tags=["catalogue"], opt={**READ, "statuses": ("404",)}, responses={200: ONE})
async def get_workspace_tables(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Response[bytes]:
    """Read where tracks and releases are pushed, and what came of the last push."""
    return await one(ports, asker, tables_documents, asker.workspace_id)


@post(
    "/api/v1/workspace-tables/push",
    status_code=202,
    tags=["catalogue"],
    opt={**WRITE, "statuses": ("404",)},
    responses={202: ONE},
)
async def push_workspace_tables(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Response[bytes]:
    """Push what the catalogue has into the tables now. Changes are pushed by themselves, ten seconds later."""
    await ports.views.get(tables_documents, asker.workspace_id, asker.workspace_id)
    wish = AskPush(workspace_id=asker.workspace_id, push_id=ports.vault.new_id())
    return await one(ports, asker, tables_documents, asker.workspace_id, wish, status=202)


@delete("/api/v1/workspace-tables", status_code=200, tags=["catalogue"], opt={**ADMIN, "statuses": ("404",)})
async def disconnect_workspace_tables(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Done:
    """Push nothing any more, and delete the token. What is in the tables stays there."""
    await ports.execute(DisconnectTables(workspace_id=asker.workspace_id), asker.context)
    return Done()


_DELIVERY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "table_id": {"type": "integer"},
                    "event_id": {"type": "string"},
                    "event_type": {"type": "string"},
                    "batch_id": {"type": "integer"},
                    "items": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}


@post(
    "/api/v1/workspace-tables/{workspace_id:str}/webhook",
    status_code=200,
    tags=["catalogue"],
    opt={**rate(TOLD), "request_body": _DELIVERY},
)
async def hear_workspace_tables(
    workspace_id: FromPath[str], request: Request[Any, Any, Any], ports: NamedDependency[Ports]
) -> Done:
    """Take the word of a Baserow that rows were made or changed there. It is looked up there before it is believed.

    `X-Ledgerline-Secret` has the secret that was shown when the tables were connected; with another one
    there is nothing here.
    """
    tables = await ports.reading.log.state(tables_of, check_text(workspace_id))
    secret = request.headers.get(HEADER, "")
    if not tables.connection_id or not ports.vault.same(secret, _secret(ports, workspace_id, tables.connection_id)):
        raise NoTables  # as where there are none: whoever lacks the secret learns nothing
    told = _told(await request.body(), tables)
    if told is not None:
        kind, delivery_id, rows = told
        wish = TellOfRows(
            workspace_id=workspace_id,
            connection_id=tables.connection_id,
            delivery_id=delivery_id,
            kind=kind,
            rows=rows,
        )
        await ports.execute(wish, Context(workspace_id=workspace_id, actor="baserow", correlation_id=uuid4()))
    return Done()


def _told(body: bytes, tables: Tables) -> tuple[Kind, str, tuple[int, ...]] | None:
    """Which rows of which table a delivery is about; None for what nothing follows from."""
    try:
        said = json.decode(body)
    except NO_JSON as odd:
        raise BadTables(problem="The body is not valid JSON.", loc=("body",)) from odd
    if not isinstance(said, dict) or said.get("event_type") not in ("rows.created", "rows.updated"):
        return None
    table, items, delivery = said.get("table_id"), said.get("items"), said.get("event_id")
    if not isinstance(table, int) or not isinstance(items, list) or not isinstance(delivery, str):
        return None
    kinds: dict[int | None, Kind] = {tables.tracks_table: "tracks", tables.releases_table: "releases"}
    rows = [each.get("id") for each in items[:ROWS_MAX] if isinstance(each, dict)]
    numbers = tuple(each for each in rows if isinstance(each, int) and 0 < each < 2**31)
    known = kinds.get(table)
    # What is too much for one delivery comes in several, all of one event.
    batch = said.get("batch_id")
    told = f"{delivery[:64]}-{batch}" if isinstance(batch, int) and 0 < batch < 2**31 else delivery[:64]
    return None if known is None or not numbers else (known, check_text(told), numbers)


def _secret(ports: Ports, workspace_id: str, connection_id: str) -> str:
    return ports.vault.token(PURPOSE, f"{workspace_id}/{connection_id}")
