"""A workspace's tables elsewhere as its people see them, and what came of the last push."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from domain.catalogue.tables import (
    NoTables,
    TablesConnected,
    TablesDisconnected,
    TablesNotPushed,
    TablesPushAsked,
    TablesPushBegun,
    TablesPushed,
)
from domain.kernel import Event
from projections.kernel import Document, Projection, milliseconds, projection


class TablesDocument(Document):
    """Where the tables are, how far the last push is, and what came of the last one that ended."""

    connection_id: str
    url: str
    tracks_table: int | None
    releases_table: int | None
    connected_at: str
    status: Literal["idle", "waiting", "pushing", "failed"] = "idle"
    pushed_at: str | None = None
    created: int | None = None
    updated: int | None = None
    unchanged: int | None = None
    reason: str | None = None


def evolve(tables: TablesDocument | None, event: Event) -> TablesDocument | None:  # noqa: PLR0911 - one for each event
    """The tables after one more event."""
    match tables, event:
        case _, TablesConnected():
            return TablesDocument(
                connection_id=event.connection_id,
                url=event.url,
                tracks_table=event.tracks_table,
                releases_table=event.releases_table,
                connected_at=milliseconds(event.connected_at),
            )
        case TablesDocument(), TablesPushAsked():
            return replace(tables, status="waiting")
        case TablesDocument(), TablesPushBegun():
            return replace(tables, status="pushing")
        case TablesDocument(), TablesPushed():
            return replace(
                tables,
                status="idle",
                pushed_at=milliseconds(event.pushed_at),
                created=event.created,
                updated=event.updated,
                unchanged=event.unchanged,
                reason=None,
            )
        case TablesDocument(), TablesNotPushed():
            return replace(tables, status="failed", reason=event.reason)
        case TablesDocument(), TablesDisconnected():
            return None
    return tables


tables_documents: Projection[TablesDocument] = projection(
    "workspace_tables",
    TablesDocument,
    on=dict.fromkeys(
        (TablesConnected, TablesPushAsked, TablesPushBegun, TablesPushed, TablesNotPushed, TablesDisconnected),
        "workspace_id",
    ),
    evolve=evolve,
    begins=(TablesConnected,),
    absent=NoTables,
    stream="workspacetables",
)
