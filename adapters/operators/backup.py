"""Backups: the log, what lies beside it, the objects, and the keys under a passphrase; each part goes on from the last.

A backup is a directory:

    objects/ab/ab12...           the bytes of an object, by their SHA-256; the same bytes are there once
    000001-0-4711/               the first part: what was appended after position 0 up to 4711
        log.ndjson.zst           events and seals (see `exporting`); personal fields stay sealed
        objects.ndjson.zst       every object that was there: key, size, sha256, content_type, modified_at
        tables/NAME.copy.zst     tables that are no fold of the log, whole, as Postgres copies them out
        state.json               how far reactions were, and the sequences
        keys.sealed              the server's secret and the data keys, under a passphrase (scrypt, AES-256-GCM)
        manifest.json            SHA-256 of each of these files and of the manifest of the part before

Everything but the objects is one snapshot of the database. A part is written beside its place and moved there when it
is whole and on disk, so one that was interrupted is not there. Parts follow one another: who writes one is alone.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json as plain_json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import DecodeError, json
from psycopg import Connection, IsolationLevel, sql

from adapters.log.recorder import TABLE, WRITING
from adapters.operators.exporting import EventLine, Progress, encode_line, export
from adapters.storage.blobs import Blobs, NoSuchObject
from domain.kernel import Value

FORMAT = "ledgerline.backup.v1"
#: Rows and events that are folded again, added up again by the database as other rows come back, belong to this run of
#: the servers, or are kept in another file.
LEFT_OUT: frozenset[str] = frozenset(
    {
        TABLE, "log_seals", "documents", "tallies", "checkpoints", "parked", "rate_windows", "roles", "migrations",
        "data_keys", "wrapping_keys", "secret_canary", "operator_credentials", "published_streams", "follower_readings",
        "catalogue_day_plays", "catalogue_month_plays",
    }
)  # fmt: skip
#: The sequence of positions is set by the log itself.
LOG_SEQUENCE = f"{TABLE}_notification_id_seq"
_SCRYPT = {"n": 2**16, "r": 8, "p": 1}
_NONCE_BYTES = 12
COPY_BYTES = 1 << 20
PASSPHRASE_LENGTH_MIN = 12
PASSPHRASE_LENGTH_MAX = 1024
#: How the names of what is not whole yet begin.
_BEGUN = ".part-"


class BackupError(Exception):
    """A backup is not what it should be, in a sentence."""


class Manifest(Value):
    """What a part is, and of which bytes."""

    format: str
    after: int
    until: int
    events: int
    objects: int
    made_at: datetime
    files: dict[str, str]
    previous: str


class Named(Value):
    """An object in a backup."""

    key: str
    size: int
    sha256: str
    content_type: str
    modified_at: datetime


class State(Value):
    """How far reactions were, and what sequences had given out: (last value, whether it was given)."""

    jobs: int
    sequences: dict[str, tuple[int, bool]]


class Keys(Value):
    """The server's secret, and the data key of each subject in base64; null: destroyed for good."""

    secret_key: str
    data_keys: dict[str, str | None]


def parts(directory: Path) -> list[tuple[Path, Manifest]]:
    """The parts of a backup, oldest first, each whole and after the one before. Raises BackupError."""
    found: list[tuple[Path, Manifest]] = []
    previous, until = "", 0
    for path in sorted(each for each in directory.glob("[0-9]*-[0-9]*-[0-9]*") if each.is_dir()):
        try:
            text = (path / "manifest.json").read_bytes()
            manifest = json.decode(text, type=Manifest)
        except (OSError, DecodeError) as problem:
            raise BackupError(f"{path} is no part of a backup: its manifest cannot be read.") from problem
        if manifest.format != FORMAT:
            raise BackupError(f"{path} is a {manifest.format}; this version reads {FORMAT}.")
        if manifest.previous != previous or manifest.after != until:
            raise BackupError(f"{path} does not follow the part before it: one is missing or was changed.")
        previous, until = sha256(text).hexdigest(), manifest.until
        found.append((path, manifest))
    return found


def check(directory: Path, progress: Progress = lambda *_: None) -> list[tuple[Path, Manifest]]:
    """The same, with each byte read and compared, and those of the objects of the last part."""
    found = parts(directory)
    for number, (path, manifest) in enumerate(found, 1):
        for name, digest in manifest.files.items():
            file = path / name
            if not file.is_file() or digest_of(file) != digest:
                raise BackupError(f"{file} is missing or was changed.")
        progress("backup", number, len(found))
    for path, manifest in found[-1:]:
        for number, named in enumerate(objects_of(path), 1):
            place = _place(directory, named.sha256)
            if not place.is_file() or digest_of(place) != named.sha256:
                raise _not_as_it_was(named)
            progress("objects read", number, manifest.objects)
    return found


def _not_as_it_was(named: Named) -> BackupError:
    return BackupError(f"The object {named.key} is missing in the backup, or was changed.")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    made = sha256()
    with path.open("rb") as file:
        while piece := file.read(COPY_BYTES):
            made.update(piece)
    return made.hexdigest()


# --- writing ---


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """The only one who writes into this backup; what somebody who was killed has begun there is cleared away.

    Raises BackupError where somebody else writes.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Somebody else is writing a backup into {root}. Wait for that one.") from None
        for begun in root.glob(f"{_BEGUN}*"):
            shutil.rmtree(begun)
        for begun in (root / "objects").glob(f"{_BEGUN}*"):
            begun.unlink()
        yield


@contextmanager
def snapshot(connection: Connection[Any]) -> Iterator[tuple[int, State]]:
    """One snapshot of the database: the position up to which nothing can come in between any more, and the rest."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITING,))
        [(head,)] = connection.execute(f"SELECT coalesce(max(notification_id), 0) FROM {TABLE}").fetchall()
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        rows = connection.execute("SELECT position FROM checkpoints WHERE name = 'jobs' AND live").fetchall()
        jobs = rows[0][0] if rows else 0
        sequences = connection.execute(
            "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema() AND sequencename <> %s",
            (LOG_SEQUENCE,),
        ).fetchall()
        values = {}
        for (name,) in sequences:
            query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(name))
            values[name] = connection.execute(query).fetchall()[0]
        # What reactions have seen is final as well.
        yield max(head, jobs), State(jobs=jobs, sequences=values)


def write_part(
    connection: Connection[Any], part: Path, after: int, until: int, state: State, progress: Progress = lambda *_: None
) -> int:
    """Write the log and the tables of a snapshot; returns how many events there are."""
    events = 0
    with compressed(part / "log.ndjson.zst") as file:
        for line in export(connection, after=after, until=until):
            file.write(encode_line(line) + b"\n")
            if isinstance(line, EventLine):
                events += 1
                if events % 1_000 == 0:
                    progress("events", line.position - after, until - after)
    progress("events", max(until - after, 1), max(until - after, 1))
    (part / "tables").mkdir()
    for name in tables(connection):
        with compressed(part / "tables" / f"{name}.copy.zst") as file, connection.cursor() as cursor:
            query = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(name))
            with cursor.copy(query) as copied:
                for piece in copied:
                    file.write(piece)
    (part / "state.json").write_bytes(json.encode(state))
    return events


def tables(connection: Connection[Any]) -> list[str]:
    """The tables that are no fold of the log, those first that others refer to."""
    rows = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
    ).fetchall()
    names = [name for (name,) in rows if name not in LEFT_OUT]
    refers = connection.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
    ).fetchall()
    ordered: list[str] = []
    while left := [name for name in names if name not in ordered]:
        free = [
            each for each in left if not any(one == each and other in left and other != each for one, other in refers)
        ]
        ordered += free or left
    return ordered


async def write_objects(blobs: Blobs, root: Path, part: Path, progress: Progress = lambda *_: None) -> int:
    """Copy the objects that are not in the backup yet; returns how many there are."""
    known = {each.key: each for path, _ in parts(root)[-1:] for each in objects_of(path)}
    found = 0
    with compressed(part / "objects.ndjson.zst") as file:
        async for listed in blobs.list():
            kept = known.get(listed.key)
            is_same = kept is not None and (kept.size, kept.modified_at) == (listed.size, listed.modified_at)
            if kept is None or not is_same or not _is_there(root, kept):
                try:
                    kept = await _fetch(blobs, await blobs.stat(listed.key), listed.modified_at, root)
                except NoSuchObject:
                    continue  # it has been let go meanwhile
            file.write(json.encode(kept) + b"\n")
            found += 1
            progress("objects", found, max(found, len(known)))
    return found


async def _fetch(blobs: Blobs, stat: Any, modified_at: datetime, root: Path) -> Named:
    made, size = sha256(), 0
    (root / "objects").mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=_BEGUN, dir=root / "objects", delete=False) as file:
        try:
            async for piece in blobs.read(stat):
                made.update(piece)
                size += len(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink()  # noqa: ASYNC240 - a backup waits for its disk
            raise
    place = _place(root, made.hexdigest())
    place.parent.mkdir(exist_ok=True)
    Path(file.name).replace(place)  # noqa: ASYNC240 - a backup waits for its disk
    _flush(place.parent)
    return Named(
        key=stat.key, size=size, sha256=made.hexdigest(), content_type=stat.content_type, modified_at=modified_at
    )


def _is_there(root: Path, named: Named) -> bool:
    return _place(root, named.sha256).exists()


def _place(root: Path, digest: str) -> Path:
    return root / "objects" / digest[:2] / digest


def objects_of(part: Path) -> Iterator[Named]:
    """The objects of a part."""
    with decompressed(part / "objects.ndjson.zst") as file:
        for line in file:
            yield json.decode(line, type=Named)


async def content(root: Path, named: Named) -> AsyncIterator[bytes]:
    """The bytes of an object. Raises BackupError at their end where they are others by now than `check` has read."""
    made = sha256()
    with _place(root, named.sha256).open("rb") as file:
        while piece := file.read(COPY_BYTES):
            made.update(piece)
            yield piece
    if made.hexdigest() != named.sha256:
        raise _not_as_it_was(named)


@contextmanager
def new_part(root: Path, after: int, until: int) -> Iterator[Path]:
    """A directory that takes its place when all of it is written, and on disk."""
    place = root / f"{len(parts(root)) + 1:06d}-{after}-{until}"
    beside = Path(tempfile.mkdtemp(prefix=_BEGUN, dir=root))
    try:
        yield beside
        for each in (*beside.rglob("*"), beside):
            _flush(each)
        if (objects := root / "objects").exists():
            _flush(objects)
        beside.rename(place)
        _flush(root)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def seal_part(root: Path, part: Path, *, after: int, until: int, events: int, objects: int) -> Manifest:
    """Write the manifest over everything that is in a part."""
    before = parts(root)
    previous = sha256((before[-1][0] / "manifest.json").read_bytes()).hexdigest() if before else ""
    files = {str(each.relative_to(part)): digest_of(each) for each in sorted(part.rglob("*")) if each.is_file()}
    manifest = Manifest(
        format=FORMAT,
        after=after,
        until=until,
        events=events,
        objects=objects,
        made_at=datetime.now(UTC),
        files=files,
        previous=previous,
    )
    (part / "manifest.json").write_bytes(json.format(json.encode(manifest), indent=1))
    return manifest


# --- keys ---


def seal_keys(keys: Keys, passphrase: str) -> bytes:
    """The keys under a passphrase: one line of JSON, then nonce and ciphertext."""
    salt, nonce = os.urandom(16), os.urandom(_NONCE_BYTES)
    head = plain_json.dumps({"kdf": "scrypt", **_SCRYPT, "salt": base64.b64encode(salt).decode()}).encode() + b"\n"
    return head + nonce + AESGCM(_derived(passphrase, salt)).encrypt(nonce, json.encode(keys), head)


def open_keys(sealed: bytes, passphrase: str) -> Keys:
    """The keys again. Raises BackupError for another passphrase."""
    head, _, rest = sealed.partition(b"\n")
    salt = base64.b64decode(plain_json.loads(head)["salt"])
    try:
        opened = AESGCM(_derived(passphrase, salt)).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + b"\n")
    except InvalidTag as problem:
        raise BackupError("The passphrase is not the one that this backup was made with.") from problem
    return json.decode(opened, type=Keys)


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode())


# --- files ---


def _flush(path: Path) -> None:
    """Have a file, or the names in a directory, on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def compressed(path: Path) -> Iterator[IO[bytes]]:
    """A file that is compressed while it is written."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with path.open("wb") as file, compressor.stream_writer(file, closefd=False) as writer:
        yield writer


@contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """What was compressed, to be read."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        yield io.BufferedReader(reader, COPY_BYTES)
