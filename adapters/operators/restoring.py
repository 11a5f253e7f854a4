"""A backup into an empty database and bucket: everything that is no fold of the log; the rest is folded again."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import psycopg
from msgspec import json
from psycopg import Connection, sql

from adapters.log.data_keys import Cipher
from adapters.log.recorder import COLUMNS, TABLE
from adapters.log.seals import DIGEST_BYTES, NOTHING, as_sealed, digest, merkle_root, read_statement, rows
from adapters.operators import backup
from adapters.operators.backup import BackupError, Keys
from adapters.operators.exporting import EventLine, Progress, SealLine
from adapters.storage.blobs import Blobs
from domain.kernel import Value

OBJECT_BYTES_MAX = 1 << 40
_BATCH = 1_000


class Restored(Value):
    """What was brought back."""

    position: int
    events: int
    seals: int
    subjects: int
    objects: int


def restore_database(postgres_url: str, directory: Path, keys: Keys, progress: Progress = lambda *_: None) -> Restored:
    """Bring everything but objects into a migrated database that nothing was written into, or nothing at all.

    Raises BackupError. Read models are not in a backup: the next projector folds them from the first event on.
    """
    found = backup.parts(directory)
    if not found:
        raise BackupError(f"{directory} holds no backup.")
    with psycopg.connect(postgres_url) as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {TABLE} IN EXCLUSIVE MODE")
        if connection.execute(f"SELECT FROM {TABLE} LIMIT 1").fetchone() is not None:
            raise BackupError("There are events in this database already. Restore into an empty one.")
        events = seals = 0
        chains: dict[bytes, tuple[int, bytes]] = {}
        for path, manifest in found:
            lines = _load_events(connection, path, lambda done: progress("events", done, found[-1][1].until))
            events += manifest.events
            for line in lines:
                _seal(connection, line, chains)
                seals += 1
        path, manifest = found[-1]
        state = json.decode((path / "state.json").read_bytes(), type=backup.State)
        _load_tables(connection, path)
        _load_keys(connection, keys)
        for name, (value, is_given) in state.sequences.items():
            connection.execute(
                "SELECT setval(%s::regclass, %s, %s)", (sql.Identifier(name).as_string(), value, is_given)
            )
        head = connection.execute(f"SELECT coalesce(max(notification_id), 0) FROM {TABLE}").fetchall()[0][0]
        if head:
            connection.execute("SELECT setval(%s::regclass, %s)", (backup.LOG_SEQUENCE, head))
        # Reactions go on where they were: what they have done once is not done again.
        connection.execute(
            "INSERT INTO checkpoints (name, version, live, position) VALUES ('jobs', 1, true, %s)", (state.jobs,)
        )
        if events != sum(each.events for _, each in found):
            raise BackupError("There are other events in the backup than its manifests say.")
    return Restored(position=head, events=events, seals=seals, subjects=len(keys.data_keys), objects=0)


def _load_events(connection: Connection[Any], part: Path, tell: Any) -> list[SealLine]:
    """Copy the events of a part in; the seals over them."""
    seals: list[SealLine] = []
    copying = f"COPY {TABLE} ({COLUMNS}) FROM STDIN"
    with (
        backup.decompressed(part / "log.ndjson.zst") as file,
        connection.cursor() as cursor,
        cursor.copy(copying.encode()) as copy,
    ):
        for number, text in enumerate(file, 1):
            if text.startswith(b'{"seal"'):
                seals.append(json.decode(text, type=SealLine))
                continue
            line = json.decode(text, type=EventLine)
            copy.write_row(
                (
                    line.position,
                    line.stream,
                    line.version,
                    line.event_id,
                    line.type,
                    line.schema_version,
                    line.recorded_at,
                    line.workspace_id,
                    line.actor,
                    line.correlation_id,
                    line.causation_id,
                    line.octets,
                    line.traceparent or None,
                )
            )
            if number % _BATCH == 0:
                tell(line.position)
    return seals


def _seal(connection: Connection[Any], line: SealLine, chains: dict[bytes, tuple[int, bytes]]) -> None:
    """Bring a seal back, with the digests under it, which are made from the events again."""
    statement = read_statement(line.seal)
    positions, digests = [], []
    found = list(rows(connection, statement.after, until=statement.last))
    for position, stream, version, octets in as_sealed(statement.kind, found):
        last, before = chains.get(stream, (0, NOTHING))
        made = digest(before if last == version - 1 else NOTHING, octets)
        chains[stream] = (version, made)
        positions.append(position)
        digests.append(made)
    if len(digests) != statement.events or merkle_root(digests).hex() != statement.root:
        raise BackupError(f"The events up to {statement.last} are not those that seal {statement.number} is over.")
    assert all(len(each) == DIGEST_BYTES for each in digests)
    connection.execute(
        "INSERT INTO log_seals (number, last, statement, signature, positions, digests) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (statement.number, statement.last, line.seal, bytes.fromhex(line.signature), positions, b"".join(digests)),
    )


def _load_tables(connection: Connection[Any], part: Path) -> None:
    there = backup.tables(connection)
    stored = {path.name.removesuffix(".copy.zst"): path for path in (part / "tables").iterdir()}
    # What is left out now may be in a part of an earlier version.
    if unknown := sorted(set(stored) - set(there) - backup.LEFT_OUT):
        raise BackupError(f"This version does not know the tables {', '.join(unknown)} of the backup.")
    for name in (name for name in there if name in stored):
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
        query = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(name))
        with (
            backup.decompressed(stored[name]) as file,
            connection.cursor() as cursor,
            cursor.copy(query) as copy,
        ):
            while piece := file.read(backup.COPY_BYTES):
                copy.write(piece)


def _load_keys(connection: Connection[Any], keys: Keys) -> None:
    wrapping = Cipher(keys.secret_key.encode(), "data keys")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO data_keys (subject, wrapped, destroyed_at) VALUES (%s, %s, CASE WHEN %s THEN now() END)",
            [
                (subject, None if key is None else wrapping.wrap(base64.b64decode(key), subject), key is None)
                for subject, key in keys.data_keys.items()
            ],
        )


async def restore_objects(blobs: Blobs, directory: Path, progress: Progress = lambda *_: None) -> int:
    """Put the objects of the last part into the store; returns how many. Raises BackupError."""
    path, manifest = backup.parts(directory)[-1]
    await blobs.ensure_bucket()
    done = 0
    for named in backup.objects_of(path):
        await blobs.put_stream(
            named.key, backup.content(directory, named), content_type=named.content_type, size_max=OBJECT_BYTES_MAX
        )
        done += 1
        progress("objects", done, manifest.objects)
    return done
