"""The library's Postgres recorder with our envelope columns and without its table lock.

It owns the table. Anything written through the library's own synchronous path gets the envelope's defaults; the
asynchronous `adapters.log.eventlog` writes the same rows, many commands to a transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier, Literal

TABLE = "ledger_events"

#: Writers share this advisory lock from before they draw a position until they commit. Whoever takes it exclusively
#: therefore knows that every position drawn so far is either committed or gone for ever.
WRITING = 0x1ED6E2


#: The columns of an event, as it is read, copied and sealed.
COLUMNS: LiteralString = (
    "notification_id, originator_id, originator_version, event_id, topic, schema_version, recorded_at, workspace_id, "
    "actor, correlation_id, causation_id, state, traceparent"
)
StoredRow = tuple[int, str, int, UUID, str, int, datetime, str, str, UUID, UUID | None, bytes, str | None]


class LedgerRecorder(PostgresApplicationRecorder):
    """Stored events with event id, schema version, time, workspace, actor, correlation, cause and trace as columns."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = TABLE) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        table = Identifier(self.datastore.schema, events_table_name)
        self.sql_create_statements[self.create_table_statement_index] = SQL(
            "CREATE TABLE IF NOT EXISTS {table} ("
            "originator_id {id_type} NOT NULL, "
            "originator_version bigint NOT NULL, "
            "topic text NOT NULL, "
            "state bytea NOT NULL, "
            "notification_id bigserial, "
            "event_id uuid NOT NULL DEFAULT gen_random_uuid(), "
            "schema_version smallint NOT NULL DEFAULT 1, "
            "recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), "
            "workspace_id text NOT NULL DEFAULT 'public', "
            "actor text NOT NULL DEFAULT 'system', "
            "correlation_id uuid NOT NULL DEFAULT gen_random_uuid(), "
            "causation_id uuid, "
            "traceparent text, "
            "PRIMARY KEY (originator_id, originator_version)) "
            "WITH (autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 0.01)"
        ).format(table=table, id_type=Identifier(self.datastore.originator_id_type))
        self.sql_create_statements.append(
            SQL("CREATE INDEX IF NOT EXISTS {index} ON {table} (workspace_id, notification_id)").format(
                index=Identifier(f"{events_table_name}_workspace_idx"), table=table
            )
        )
        # The library's function-based insert loses events for tailing readers, so it must not even exist.
        del self.sql_create_statements[self.create_insert_function_statement_index]
        self.lock_table_statements = [SQL("SELECT pg_advisory_xact_lock_shared({})").format(Literal(WRITING))]

    def _notify_channel(self, curs: Cursor[DictRow]) -> None:
        # NOTIFY inside the appending transaction serialises all writers; readers are woken after the commit instead.
        pass


def recorder(postgres_url: str, **pool: Any) -> LedgerRecorder:
    """A recorder on this database, as migrations and the library's own tests use it."""
    parts = conninfo_to_dict(postgres_url)
    datastore = PostgresDatastore(
        dbname=str(parts.get("dbname", "postgres")),
        host=str(parts.get("host", "127.0.0.1")),
        port=str(parts.get("port", "5432")),
        user=str(parts.get("user", "postgres")),
        password=str(parts.get("password", "")),
        originator_id_type="text",
        **pool,
    )
    return LedgerRecorder(datastore)
