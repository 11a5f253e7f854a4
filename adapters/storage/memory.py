"""The object store's twin in memory: the same behaviour for tests that need no store."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from msgspec import Struct

from adapters.storage.blobs import (
    READ_BYTES,
    BlobsUnavailable,
    Listed,
    NoSuchObject,
    Stat,
    Stored,
    check_key,
    check_size,
)
from commands import ports


class _Object(Struct, frozen=True, kw_only=True):
    data: bytes
    content_type: str
    modified_at: datetime


class MemoryBlobs:
    """Objects in a dictionary; set `away` to see what happens when the store is."""

    def __init__(self) -> None:
        self.away = False
        self._objects: dict[str, _Object] = {}

    async def ensure_bucket(self) -> None:
        """Be there."""
        await self._reach()

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, size_max: int) -> Stored:
        """Store a stream whole or not at all."""
        check_key(key)
        data = bytearray()
        async for chunk in chunks:
            check_size(len(data) + len(chunk), size_max)
            data += chunk
        return await self.put_bytes(key, bytes(data), content_type=content_type)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> Stored:
        """Store these bytes."""
        check_key(key)
        await self._reach()
        self._objects[key] = _Object(data=bytes(data), content_type=content_type, modified_at=datetime.now(UTC))
        return Stored(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), etag=_etag(data))

    @asynccontextmanager
    async def fetch(self, key: str, *, size_max: int | None = None) -> AsyncIterator[Path]:
        """A local copy that lives as long as the context."""
        found = await self._find(key)
        check_size(len(found.data), size_max)
        with tempfile.TemporaryDirectory(prefix="blob-") as folder:
            path = Path(folder) / "object"
            await asyncio.to_thread(path.write_bytes, found.data)
            yield path

    async def stat(self, key: str) -> Stat:
        """What is known about the object; raises NoSuchObject."""
        found = await self._find(key)
        return Stat(
            key=key,
            size=len(found.data),
            etag=_etag(found.data),
            content_type=found.content_type,
            modified_at=found.modified_at,
        )

    async def read(self, found: ports.Stat, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from an offset on; raises NoSuchObject when it is gone, or no longer what was found."""
        end = found.size if length is None else min(found.size, offset + length)
        while offset < end:
            data = (await self._find(found.key)).data
            if _etag(data) != found.etag:
                raise NoSuchObject
            piece = data[offset : min(end, offset + READ_BYTES)]
            yield piece
            offset += len(piece)

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            await self._find(key)
        except NoSuchObject:
            return False
        return True

    async def delete(self, key: str) -> None:
        """See to it that there is no such object."""
        check_key(key)
        await self._reach()
        self._objects.pop(key, None)

    async def presigned_get(
        self, key: str, seconds: int, *, content_type: str | None = None, disposition: str | None = None
    ) -> str:
        """A URL that says what it would be for; nobody serves it."""
        said = {"content_type": content_type or "", "disposition": disposition or ""}
        return _url(key, method="GET", seconds=str(seconds), **said)

    async def presigned_put(self, key: str, *, content_type: str, seconds: int, size: int | None = None) -> str:
        """A URL that says what it would be for; nobody serves it."""
        bound = {} if size is None else {"size": str(size)}
        return _url(key, method="PUT", seconds=str(seconds), content_type=content_type, **bound)

    async def list(self, prefix: str = "") -> AsyncIterator[Listed]:
        """The objects whose keys begin like this, by key."""
        await self._reach()
        # S3 orders keys by their bytes, not by their letters.
        for key in sorted(self._objects, key=str.encode):
            if key.startswith(prefix):
                found = self._objects[key]
                yield Listed(key=key, size=len(found.data), modified_at=found.modified_at)

    async def close(self) -> None:
        """Forget nothing; a test may look afterwards."""

    async def _find(self, key: str) -> _Object:
        check_key(key)
        await self._reach()
        if key not in self._objects:
            raise NoSuchObject
        return self._objects[key]

    async def _reach(self) -> None:
        await asyncio.sleep(0)  # the real store yields to others, so this one does too
        if self.away:
            raise BlobsUnavailable


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _url(key: str, **facts: str) -> str:
    return f"memory://blobs/{quote(check_key(key))}?{urlencode(facts)}"
