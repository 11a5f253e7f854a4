"""What subscribers are sent, whichever way: a published event as CloudEvents 1.0, structured JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, NamedTuple
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


class CloudEvent(Struct, kw_only=True, gc=False):
    """A published event as it is sent. What `data` holds depends on the type alone; the rest is the same for all.

    `id` is the same however often and whichever way an event is sent. `sequence` is its position in the log, after
    which one may go on. `subject` and `partitionkey` are the stream of the thing that it is about; events of one stream
    come in their order. Whose request led to it is the `actor`; `correlationid` joins what followed from one request.
    """

    specversion: Annotated[str, Meta(description="The version of CloudEvents")] = "1.0"
    id: Annotated[UUID, Meta(description="One event has one, however it is sent: whoever keeps it acts once")]
    source: Annotated[str, Meta(description="The workspace, as a URN")]
    type: Annotated[str, Meta(description="The context and what happened in it")]
    subject: Annotated[str, Meta(description="The stream of the thing that it is about")]
    time: Annotated[datetime, Meta(tz=True, description="When it was recorded")]
    datacontenttype: Annotated[str, Meta(description="The media type of `data`")] = "application/json"
    dataschema: Annotated[str | UnsetType, Meta(description="The URL of the JSON Schema of `data`, if known")] = UNSET
    partitionkey: Annotated[str, Meta(description="The same as `subject`; events with the same one come in order")]
    sequence: Annotated[str, Meta(description="The position in the log, in 19 digits, so that it sorts as text")]
    actor: Annotated[str, Meta(description="Whose request led to it")]
    correlationid: Annotated[UUID, Meta(description="The same for all that followed from one request")]
    causationid: Annotated[UUID | UnsetType, Meta(description="The event that led to it, if one did")] = UNSET
    traceparent: Annotated[str | UnsetType, Meta(description="W3C Trace Context, if it was traced")] = UNSET
    data: Annotated[Raw, Meta(description="What happened, as the schema of its type says")]


class Envelopes:
    """Puts published events into their envelopes; `url` is how the service is reached, which has their schemas."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._encode = json.Encoder().encode

    def write(self, row: StoredRow) -> bytes | None:
        """A stored event as its subscribers get it; None where it is not published.

        One that this version cannot read is told in its place all the same, `unreadable` and without a schema.
        """
        (
            position, subject, _, event_id, name, schema_version, time, workspace_id,
            actor, correlation_id, causation_id, state, traceparent,
        ) = row  # fmt: skip
        told = _told(self._url, name, schema_version)
        schema: str | UnsetType = told.schema
        try:
            data = told.data(state)
        except Exception as problem:  # noqa: BLE001 - that something happened is known even when its facts are not
            log.warning("published.unreadable", position=position, name=name, problem=repr(problem))
            data, schema = _UNREADABLE, UNSET
        if data is None:
            return None
        return self._encode(
            CloudEvent(
                id=event_id,
                source=source_of(workspace_id),
                type=told.type,
                subject=subject,
                time=time,
                dataschema=schema,
                partitionkey=subject,
                sequence=str(position).zfill(SEQUENCE_DIGITS),
                actor=actor,
                correlationid=correlation_id,
                causationid=UNSET if causation_id is None else causation_id,
                traceparent=traceparent or UNSET,
                data=Raw(data),
            )
        )


class _Told(NamedTuple):
    """How events of one stored name and version are told: their type, its schema, and what is told of stored facts."""

    type: str
    schema: str | UnsetType
    data: Callable[[bytes], bytes | None]


@lru_cache(4096)
def _told(url: str, name: str, schema_version: int) -> _Told:
    published = by_stored_name().get(name)
    if published is None:
        is_known = name in events() or name in renamed()
        return _Told(name, UNSET, lambda _: None if is_known else _UNREADABLE)
    is_of_today = schema_version not in published.kind.upcasters
    data_of, data_as = published.data_of, published.data
    try:
        read = codec.reader(name, schema_version)
    except codec.UnknownEvent:
        return _Told(published.type, UNSET, lambda _: _UNREADABLE)

    def data(state: bytes) -> bytes:
        event = read(state)
        # Moments at the ends of the calendar were taken once; there is no way to write them.
        check_values(event)
        return data_of(state) if is_of_today else data_as(event)

    return _Told(published.type, f"{url}{schema_path(published.type, published.version)}", data)


def schema_path(type_: str, version: int) -> str:
    """Where the schema of a published type lies."""
    return f"/schemas/{type_}/{version}.json"


def source_of(workspace_id: str) -> str:
    """The `source` of the events of a workspace."""
    return f"urn:ledgerline:workspace:{workspace_id}"


@provides
def envelopes(settings: Service) -> Envelopes:
    """Writes what is published of this service."""
    return Envelopes(settings.url)
