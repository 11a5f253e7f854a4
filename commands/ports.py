"""What several contexts need of the outside, in our words. Each has a twin in memory beside the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from domain.kernel import Value


class Fetched(Protocol):
    """What came of fetching an address."""

    @property
    def size(self) -> int:
        """Bytes saved."""

    @property
    def content_type(self) -> str:
        """What the server says it is."""


class HttpResponse(Protocol):
    """What came of posting a message: any HTTP answer at all."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the receiver asks us to wait."""

    @property
    def duration_seconds(self) -> float:
        """How long it took."""


class Web(Protocol):
    """The outside world over HTTP, private addresses excepted."""

    def check_url(self, url: str) -> None:
        """Refuse an address that is not public HTTP(S), as far as can be told without asking anybody."""

    async def fetch(self, url: str, to: Path, *, size_max: int, seconds_max: float) -> Fetched:
        """Save what is at an address."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        """Send a message; what goes wrong says `transient`, and by `duration_seconds` how long it took."""


class Stored(Protocol):
    """An object as stored."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def sha256(self) -> str:
        """Digest of its content, hexadecimal."""

    @property
    def etag(self) -> str:
        """What its content is known by, without quotes."""


class Stat(Protocol):
    """What the store knows about an object."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def etag(self) -> str:
        """What its content is known by, without quotes."""

    @property
    def content_type(self) -> str:
        """What it was stored as."""


class Keyed(Protocol):
    """An object in a list."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def modified_at(self) -> datetime:
        """When it was stored."""


class Blobs(Protocol):
    """Objects too big for events."""

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, size_max: int) -> Stored:
        """Store a stream of chunks."""

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> Stored:
        """Store some bytes."""

    def fetch(self, key: str, *, size_max: int | None = None) -> AbstractAsyncContextManager[Path]:
        """An object as a local file, for a while."""

    async def stat(self, key: str) -> Stat:
        """What is known about an object; raises NotFound."""

    def read(self, found: Stat, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of an object from an offset on, all or so many, piece by piece; NotFound when it is another now."""

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there."""

    def list(self, prefix: str) -> AsyncIterator[Keyed]:
        """The objects whose keys begin like this."""

    async def presigned_put(self, key: str, *, content_type: str, seconds: int, size: int | None = None) -> str:
        """A link that stores an object of this type (and size) for some time."""

    async def presigned_get(
        self, key: str, seconds: int, *, content_type: str | None = None, disposition: str | None = None
    ) -> str:
        """A link that downloads an object for some time, as this type and disposition whatever was stored with it."""


#: A file goes into the store in pieces of this size.
PIECE_BYTES = 1024 * 1024


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """A file piece by piece, as `put_stream` takes it; it is open only while a piece is read."""
    offset = 0
    while piece := await asyncio.to_thread(_piece, path, offset):
        offset += len(piece)
        yield piece


def _piece(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE_BYTES)


class Letter(Value):
    """One message to one person. The same `letter_id` makes the same Message-ID, so that a repeated one can be told."""

    letter_id: str
    to: str
    subject: str
    text: str


class Post(Protocol):
    """What carries mail."""

    async def send(self, letter: Letter) -> None:
        """Hand a plain text message to the mail server; what goes wrong says by `transient` whether to try again."""


class PublishedEvent(Value):
    """A published event in its envelope, as every subscriber gets it; its place in the log, its id and its type."""

    position: int
    event_id: str
    type: str
    body: str


class Published(Protocol):
    """The published events of the log."""

    async def at(self, position: int) -> PublishedEvent | None:
        """The one at a position; None where there is none that is published."""

    async def between(
        self, workspace_id: str, after: int, until: int, types: Sequence[str], limit: int
    ) -> Sequence[PublishedEvent]:
        """The first so many of these types in a workspace, after a position and up to another."""

    async def count(self, workspace_id: str, after: int, until: int, types: Sequence[str], limit: int) -> int:
        """How many there are; `limit` where there are more."""
