"""What subscribers are sent, whichever way: a published event as CloudEvents 1.0, structured JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import structlog
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json

from adapters.log import codec
from adapters.log.recorder import StoredRow
from adapters.provides import provides
from commands.settings import Service
from domain.keeping import check_values
from domain.published import UNREADABLE, by_stored_name
from domain.vocabulary import events, renamed

log = structlog.get_logger(__name__)

#: As many digits as the last position of a log has, so that positions sort as texts do.
SEQUENCE_DIGITS = 19

_UNREADABLE = json.encode(UNREADABLE)


class CloudEvent(Struct, kw_only=True):
    """A published event as it is sent. What `data` holds depends on the type alone; the rest is the same for all.

    `id` is the same however often and whichever way an event is sent. `sequence` is its position in the log, after
    which one may go on. `subject` and `partitionkey` are the stream of the thing that it is about; events of one stream
    come in their order. Whose request led to it is the `actor`; `correlationid` joins what followed from one request.
    """

    specversion: str = "1.0"
    id: UUID
    source: str
    type: str
    subject: str
    time: Annotated[datetime, Meta(tz=True)]
    datacontenttype: str = "application/json"
    dataschema: str | UnsetType = UNSET
    partitionkey: str
    sequence: str
    actor: str
    correlationid: UUID
    causationid: UUID | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    data: Raw


class Envelopes:
    """Puts published events into their envelopes; `url` is how the service is reached, which has their schemas."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._encode = json.Encoder().encode

    def write(self, row: StoredRow) -> bytes | None:
        """A stored event as its subscribers get it; None where it is not published.

        One that this version cannot read is told in its place all the same, `unreadable` and without a schema.
        """
        type_, schema, data = self._told(row)
        if data is None:
            return None
        return self._encode(
            CloudEvent(
                id=row[3],
                source=source_of(row[7]),
                type=type_,
                subject=row[1],
                time=row[6],
                dataschema=schema,
                partitionkey=row[1],
                sequence=f"{row[0]:0{SEQUENCE_DIGITS}}",
                actor=row[8],
                correlationid=row[9],
                causationid=UNSET if row[10] is None else row[10],
                traceparent=row[12] or UNSET,
                data=Raw(data),
            )
        )

    def _told(self, row: StoredRow) -> tuple[str, str | UnsetType, bytes | None]:
        position, name, schema_version, state = row[0], row[4], row[5], row[11]
        published = by_stored_name().get(name)
        if published is None:
            is_known = name in events() or name in renamed()
            return name, UNSET, None if is_known else _UNREADABLE
        try:
            event = codec.decode(name, schema_version, state)
            # Moments at the ends of the calendar were taken once; there is no way to write them.
            check_values(event)
            data = published.data(event)
        except Exception as problem:  # noqa: BLE001 - that something happened is known even when its facts are not
            log.warning("published.unreadable", position=position, name=name, problem=repr(problem))
            return published.type, UNSET, _UNREADABLE
        return published.type, f"{self._url}{schema_path(published.type, published.version)}", data


def schema_path(type_: str, version: int) -> str:
    """Where the schema of a published type lies."""
    return f"/schemas/{type_}/{version}.json"


def source_of(workspace_id: str) -> str:
    """The `source` of the events of a workspace."""
    return f"urn:ledgerline:workspace:{workspace_id}"


def subject_of(workspace_id: str, type_: str, prefix: str = "ledgerline") -> str:
    """The NATS subject of a published event: `ledgerline.<workspace>.<context>.<event>`."""
    return f"{prefix}.{workspace_id}.{type_}"


@provides
def envelopes(settings: Service) -> Envelopes:
    """Writes what is published of this service."""
    return Envelopes(settings.url)
