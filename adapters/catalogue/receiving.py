"""A report on its way in: kept in a file while it is looked at, and stripped of what it says about buyers."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from adapters.catalogue.files import ENCODINGS, Refused, Table, Unreadable, tables
from adapters.catalogue.profiles import PROFILES, Profile, personal
from adapters.catalogue.reading import HEADER_ROWS_MAX, Located, dialects, locate
from adapters.provides import provides
from adapters.storage.settings import Uploads
from adapters.storage.uploads import FilePart, Limits, Room, read_upload, within
from adapters.threads import Turns
from commands.catalogue.settings import Imports
from commands.ports import Blobs, pieces
from domain.kernel import Value

#: Reports that are looked at side by side, each of another workspace: a large one takes a thread for half a minute.
LOOKERS = 4


class Received(Value):
    """A report that has come: its name, what was said beside it, and the file that may be kept of it."""

    filename: str
    fields: dict[str, str]
    path: Path
    size: int
    sha256: str
    #: Of the file that may be kept, where it is not the one that has come.
    kept_size: int | None = None
    kept_sha256: str | None = None
    #: The kind of report that it is.
    source: str = ""
    #: Why it can never be imported, as a word and a sentence; nothing of it may be kept then.
    refused: tuple[Refused, str] | None = None


class Receiving:
    """Takes reports in, so many at once."""

    def __init__(self, blobs: Blobs, *, places: int, size_max: int) -> None:
        self._blobs = blobs
        self._limits = Limits(file_size_max=size_max, dropped_size_max=size_max)
        self._room = Room(places, self._limits)
        self._looking = Turns(LOOKERS, "reports")

    @asynccontextmanager
    async def receive(
        self,
        content_type: str | None,
        length: int | None,
        body: AsyncIterator[bytes],
        holder: str,
        *,
        filename: str,
        encoding: str | None,
        profiles: Callable[[Mapping[str, str]], Sequence[Profile]] = lambda _: PROFILES,
        size_max: int | None = None,
    ) -> AsyncIterator[Received]:
        """A report as it comes, in a form or as the body itself; it is gone after the context.

        `profiles` are what it may be, given what was said beside it in the form.

        Raises what uploads raise: UploadTooLarge, MalformedUpload, NoFile, UploadStalled, TooManyUploads.
        """
        limits = self._limits if size_max is None else Limits(file_size_max=size_max)
        with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
            room = Path(directory)
            to = room / "received"
            digest = hashlib.sha256()
            name = filename

            async def store(file: FilePart, chunks: AsyncIterator[bytes]) -> None:
                nonlocal name
                name = file.filename or name
                with to.open("wb") as target:
                    async for chunk in chunks:
                        digest.update(chunk)
                        target.write(chunk)

            async def discard(_: None) -> None:
                return

            fields: dict[str, str] = {}
            async with self._room.place(body, holder) as placed:
                if (content_type or "").partition(";")[0].strip().lower() == "multipart/form-data":
                    upload = await read_upload(
                        content_type,
                        placed,
                        store,
                        discard,
                        limits=limits,
                        content_length=length,
                        sniff=lambda _: "file",
                    )
                    fields = upload.fields
                else:
                    await store(
                        FilePart(filename=None, content_type=content_type, format="file"), within(limits, placed)
                    )
            encoding = fields.get("encoding") or encoding
            if encoding not in ENCODINGS:
                # Whoever has asked is refused with the names of those that are read.
                encoding = None
            known = profiles(fields)
            looked = (to, name, fields, room, encoding, digest.hexdigest(), known)
            yield await self._looking.run(holder, _looked_at, *looked)

    async def keep(self, received: Received, key: str) -> None:
        """Keep what may be kept of a report."""
        await self._blobs.put_stream(
            key,
            pieces(received.path),
            content_type="application/octet-stream",
            size_max=received.path.stat().st_size + 1,
        )


def _looked_at(
    path: Path,
    name: str,
    fields: dict[str, str],
    room: Path,
    encoding: str | None,
    sha256: str,
    profiles: Sequence[Profile],
) -> Received:
    received = Received(filename=name[-255:], fields=fields, path=path, size=path.stat().st_size, sha256=sha256)
    try:
        found = tables(path, name, room, encoding)
        located = locate(found, profiles)
    except Unreadable as problem:
        return replace(received, refused=(problem.reason, str(problem)))
    received = replace(received, source=located[0].match.profile.name)
    if not any(map(_is_about_buyers, found)):
        return received
    stripped = room / "stripped.csv"
    _strip(located, stripped)
    with stripped.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return replace(received, path=stripped, kept_size=stripped.stat().st_size, kept_sha256=digest)


def _is_about_buyers(table: Table) -> bool:
    """Whether a table has columns about buyers, also one that is not going to be read."""
    return any(
        len(row.cells) > 2 and personal(row.cells)
        for dialect in dialects(table)
        for row in islice(table.rows(dialect), HEADER_ROWS_MAX)
    )


def _strip(located: Sequence[Located], to: Path) -> None:
    """Write what is going to be read once more, without what it says about buyers."""
    with to.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for each in located:
            about = personal(each.header)
            for row in each.table.rows(each.dialect):
                writer.writerow([cell for at, cell in enumerate(row.cells) if at not in about])


@provides
def receiving(blobs: Blobs, imports: Imports, uploads: Uploads) -> Receiving:
    """What takes reports in."""
    return Receiving(blobs, places=uploads.uploads_at_once_max, size_max=imports.import_bytes_max)
