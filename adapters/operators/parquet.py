"""The log as two Parquet files, for whoever analyses it: events, and the seals over them. Needs the extra `pyarrow`.

`events.parquet` has a row for each event in order of position, with the columns of a line of `exporting` in types of
their own (ids in 16 bytes, times in microseconds UTC, facts as the bytes that are stored, personal fields sealed);
`seals.parquet` the text of each statement and its signature. Both are as the log is, so an export checks as well from
here as from its lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from psycopg import Connection

from adapters.operators.exporting import EventLine, Progress, SealLine, event_line, export
from domain.sections import CannotStart

if TYPE_CHECKING:
    import pyarrow as arrow

#: So many rows are kept until they are written together; a reader looks at as many at a time.
ROWS_TOGETHER = 20_000
EVENTS, SEALS = "events.parquet", "seals.parquet"


class NoParquet(CannotStart):
    """pyarrow, which writes Parquet, is not installed. Install `ledgerline[pyarrow]`, or leave this out."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__))


def write(
    connection: Connection[Any],
    directory: Path,
    *,
    after: int = 0,
    until: int | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[int, int]:
    """Write both files into a directory; how many events and seals there are. Raises NoParquet."""
    if find_spec("pyarrow") is None:
        raise NoParquet
    import pyarrow as arrow
    from pyarrow import parquet

    directory.mkdir(parents=True, exist_ok=True)
    events = seals = 0
    kept: list[dict[str, Any]] = []
    with (
        parquet.ParquetWriter(directory / EVENTS, _events_schema(), compression="zstd") as for_events,
        parquet.ParquetWriter(directory / SEALS, _seals_schema(), compression="zstd") as for_seals,
    ):

        def flush() -> None:
            for_events.write_table(arrow.Table.from_pylist(kept, schema=for_events.schema))
            kept.clear()

        for line in export(connection, after=after, until=until, progress=progress):
            if isinstance(line, SealLine):
                row = {"seal": line.seal, "signature": bytes.fromhex(line.signature)}
                for_seals.write_table(arrow.Table.from_pylist([row], schema=for_seals.schema))
                seals += 1
                continue
            kept.append(_row(line))
            events += 1
            if len(kept) == ROWS_TOGETHER:
                flush()
        flush()
    return events, seals


def read(directory: Path) -> Iterator[EventLine | SealLine]:
    """The lines of an export again: each seal comes after the last event that it covers."""
    from msgspec import json
    from pyarrow import parquet

    seals = [
        SealLine(each["seal"], each["signature"].hex()) for each in parquet.read_table(directory / SEALS).to_pylist()
    ]
    lasts = [int(json.decode(each.seal)["last"]) for each in seals]
    at = 0
    for batch in parquet.ParquetFile(directory / EVENTS).iter_batches(ROWS_TOGETHER):
        for row in batch.to_pylist():
            while at < len(seals) and row["position"] > lasts[at]:
                yield seals[at]
                at += 1
            yield event_line(_values(row))
    yield from seals[at:]


def _row(line: EventLine) -> dict[str, Any]:
    row = {name: getattr(line, name) for name in line.__struct_fields__ if not name.startswith("state")}
    for name in ("event_id", "correlation_id", "causation_id"):
        row[name] = None if row[name] is None else row[name].bytes
    row["traceparent"] = None if line.traceparent is UNSET else line.traceparent
    return row | {"state": line.octets}


def _values(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row in the order of the columns of the log."""
    from datetime import UTC
    from uuid import UUID

    named = dict(row)
    for name in ("event_id", "correlation_id", "causation_id"):
        named[name] = None if named[name] is None else UUID(bytes=named[name])
    named["recorded_at"] = named["recorded_at"].astimezone(UTC)
    names = [each for each in EventLine.__struct_fields__ if not each.startswith("state") and each != "traceparent"]
    return (*(named[each] for each in names), named["state"], named["traceparent"])


def _events_schema() -> arrow.Schema:
    import pyarrow as arrow

    return arrow.schema(
        [
            arrow.field("position", arrow.int64(), nullable=False),
            arrow.field("stream", arrow.string(), nullable=False),
            arrow.field("version", arrow.int64(), nullable=False),
            arrow.field("event_id", arrow.binary(16), nullable=False),
            arrow.field("type", arrow.string(), nullable=False),
            arrow.field("schema_version", arrow.int16(), nullable=False),
            arrow.field("recorded_at", arrow.timestamp("us", tz="UTC"), nullable=False),
            arrow.field("workspace_id", arrow.string(), nullable=False),
            arrow.field("actor", arrow.string(), nullable=False),
            arrow.field("correlation_id", arrow.binary(16), nullable=False),
            arrow.field("causation_id", arrow.binary(16)),
            arrow.field("state", arrow.binary(), nullable=False),
            arrow.field("traceparent", arrow.string()),
        ]
    )


def _seals_schema() -> arrow.Schema:
    import pyarrow as arrow

    return arrow.schema(
        [
            arrow.field("seal", arrow.string(), nullable=False),
            arrow.field("signature", arrow.binary(64), nullable=False),
        ]
    )
