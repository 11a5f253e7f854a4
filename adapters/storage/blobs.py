"""Audio, archives and pictures: bytes under keys, in one bucket of any S3 store.

The client is a blocking one, so it works in threads of its own and the event loop never waits for a socket. Every call
ends in bounded time, also where the store drips; when it is away, that is said as BlobsUnavailable, never by hanging.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import quote, urlsplit

import certifi
import structlog
import urllib3
from minio import Minio
from minio.datatypes import Part
from minio.error import MinioException, S3Error
from msgspec import Struct
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from adapters.hanging_up import hang_up
from adapters.provides import provides
from adapters.storage.settings import S3
from adapters.threads import run_in
from adapters.trouble import Trouble
from commands import ports
from commands.sweeping import sweeps
from domain.kernel import Invalid, NotFound, TooLarge, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

#: The smallest part that S3 takes, and so the most that one upload holds in memory.
PART_BYTES = 5 * 1024 * 1024
KEY_BYTES_MAX = 1024

READ_BYTES = 1024 * 1024
_PAGE = 1000
#: A download has the time of one call, and a second more for each so many bytes.
PACE_BYTES_MIN = 256 * 1024
#: So much later than whoever waits has given up, the connection is cut.
_CUT_SECONDS = 0.1


class _Retry(urllib3.Retry):
    """Asks again whoever broke off or refused, and not who says nothing: that has taken all the time there is."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """What is left of the attempts."""
        if error is not None and _is_silence(error):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _is_silence(problem: BaseException | None) -> bool:
    # To the library a connection that is refused is one that timed out, too.
    return isinstance(problem, TimeoutError | urllib3.exceptions.TimeoutError) and not isinstance(
        problem, urllib3.exceptions.NewConnectionError
    )


class NoSuchObject(NotFound):
    """There is no such stored object."""


class BlobsUnavailable(Unavailable):
    """The object store is away for the moment. Try again shortly."""


class NoBucketYet(BlobsUnavailable):
    """The object store has no bucket yet; whoever serves makes it. Try again shortly."""


class ObjectTooLarge(TooLarge):
    """This is larger than what may be stored or read here."""


class BadKey(Invalid):
    """An object's key is 1 to 1024 bytes of text with no empty, dot or control-character parts."""


class Stored(Struct, frozen=True, kw_only=True):
    """What has just been stored."""

    key: str
    size: int
    sha256: str
    etag: str


class Stat(Struct, frozen=True, kw_only=True):
    """What the store knows about an object."""

    key: str
    size: int
    etag: str
    content_type: str
    modified_at: datetime


class Listed(Struct, frozen=True, kw_only=True):
    """One line of a listing."""

    key: str
    size: int
    modified_at: datetime


def check_key(key: str) -> str:
    """The key itself, if every S3 store, URL and file system would read it as the same name."""
    parts = key.split("/")
    if not 1 <= len(key.encode()) <= KEY_BYTES_MAX or any(part in {"", ".", ".."} for part in parts):
        raise BadKey(key=key)
    if not key.isprintable():
        raise BadKey(key=key)
    return key


def disposition(name: str, *, inline: bool = True) -> str:
    """The header Content-Disposition for a file of this name."""
    return f"{'inline' if inline else 'attachment'}; filename*=UTF-8''{quote(name, safe='')}"


def check_size(size: int, size_max: int | None) -> None:
    """Refuse what is larger than allowed."""
    if size_max is not None and size > size_max:
        raise ObjectTooLarge(size_max=size_max)


class _Client(Minio):
    """The steps of a multipart upload, which the client has but takes in one go only."""

    def begin(self, bucket: str, key: str, content_type: str) -> str:
        return self._create_multipart_upload(bucket, key, {"Content-Type": content_type})

    def part(self, bucket: str, key: str, upload: str, number: int, data: bytes) -> Part:
        return Part(number, self._upload_part(bucket, key, data, None, upload, number))

    def complete(self, bucket: str, key: str, upload: str, parts: list[Part]) -> str:
        return self._complete_multipart_upload(bucket, key, upload, parts).etag or ""

    def abort(self, bucket: str, key: str, upload: str) -> None:
        self._abort_multipart_upload(bucket, key, upload)

    def unfinished(self, bucket: str) -> list[tuple[str, str, datetime | None]]:
        uploads = self._list_multipart_uploads(bucket).uploads
        return [(one.object_name, one.upload_id or "", one.initiated_time) for one in uploads]

    def url_of(self, bucket: str, key: str, region: str) -> str:
        return self._base_url.build(method="PUT", region=region, bucket_name=bucket, object_name=key).geturl()


class _Line:
    """The connection of a call, to be cut when its time is over: neither a thread nor a dripping answer ends by itself.

    Timeouts of sockets hold for each piece that arrives, however small, and so are kept by whoever drips.
    """

    _here = threading.local()

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.is_cut = False

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in this thread; whatever connection it uses is this line's."""
        self._here.line = self
        try:
            result = function(*args, **kwargs)
        finally:
            del self._here.line
        if self.is_cut and isinstance(result, BaseHTTPResponse):
            result.close()  # nobody waits for it any more
        return result

    def cut(self) -> None:
        """End whatever is waited for, now and by all who try again."""
        self.is_cut = True
        if self.socket is not None:
            hang_up(self.socket.fileno())

    @classmethod
    def goes_over(cls, connection: HTTPConnection) -> None:
        """Called by each connection that is used."""
        line: _Line | None = getattr(cls._here, "line", None)
        if line is not None and connection.sock is not None:
            line.socket = connection.sock
            if line.is_cut:
                line.cut()


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _Line.goes_over(self)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        _Line.goes_over(self)  # one that was kept open
        super().putrequest(*args, **kwargs)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _Line.goes_over(self)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        _Line.goes_over(self)
        super().putrequest(*args, **kwargs)


class _Connections(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecureConnections(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class Blobs(ports.Blobs):
    """One bucket of an S3 store.

    `public_url` is where clients of presigned URLs reach the store, if that is not where we do. One stream holds at
    most PART_BYTES in memory, and reads no further while a part is on its way.
    """

    def __init__(
        self,
        url: str,
        *,
        access_key: str,
        secret_key: str,
        bucket: str,
        region: str = "us-east-1",
        public_url: str | None = None,
        directory: Path | None = None,
        workers: int = 16,
        connect_seconds_max: float = 3.0,
        read_seconds_max: float = 10.0,
        call_seconds_max: float = 30.0,
    ) -> None:
        self._bucket = bucket
        self._region = region
        self._access_key = access_key
        self._secret_key = secret_key
        self._directory = directory
        self._call_seconds_max = call_seconds_max
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="blobs")
        #: That nothing can be stored, as long as that lasts: a full store gives out what it has all the same.
        self.trouble = Trouble("objects")
        self._http = urllib3.PoolManager(
            num_pools=4,
            maxsize=workers,
            timeout=urllib3.Timeout(connect=connect_seconds_max, read=read_seconds_max),
            retries=_Retry(total=2, read=1, redirect=0, backoff_factor=0.1, status_forcelist=[500, 502, 503, 504]),
            cert_reqs="CERT_REQUIRED",
            ca_certs=certifi.where(),
        )
        self._http.pool_classes_by_scheme = {"http": _Connections, "https": _SecureConnections}
        self._client = self._client_of(url)
        self._public = self._client if public_url is None else self._client_of(public_url)

    def _client_of(self, url: str) -> _Client:
        place = urlsplit(url)
        if place.scheme not in {"http", "https"} or not place.netloc or place.path.strip("/"):
            raise ValueError("the URL of an S3 store is http(s)://host[:port]")
        return _Client(
            place.netloc,
            access_key=self._access_key,
            secret_key=self._secret_key,
            secure=place.scheme == "https",
            region=self._region,  # known, so that signing a URL asks nobody
            http_client=self._http,
        )

    async def ensure_bucket(self) -> None:
        """Make the bucket unless it is there."""
        await self._call(self._ensure_bucket)

    def _ensure_bucket(self) -> None:
        if self._client.bucket_exists(self._bucket):
            return
        try:
            self._client.make_bucket(self._bucket)
        except S3Error as refusal:
            if refusal.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:  # somebody was quicker
                raise

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, size_max: int) -> Stored:
        """Store a stream in parts; when it fails, ends in an error or is too large, nothing of it stays.

        What was stored under the key before is there until the whole of this is. Where the store has the whole and its
        last answer is lost, this is there, although it is reported as failed: the key may be somebody else's by then.
        """
        upload = _Upload(self._client, self._call, self._bucket, check_key(key), content_type)
        try:
            async for chunk in chunks:
                check_size(upload.size + len(chunk), size_max)
                with self._storing(is_all=False):
                    await upload.add(chunk)
            with self._storing():
                return await upload.finish()
        except BaseException as problem:
            if _is_silence(problem.__cause__):
                # Who says nothing is not asked to forget either: what it may have taken the sweep finds.
                log.warning("blob.left_unfinished", key=key)
            else:
                await upload.abandon()
            raise

    @contextmanager
    def _storing(self, *, is_all: bool = True) -> Iterator[None]:
        """Remember whether the store takes anything."""
        try:
            yield
        except BlobsUnavailable as refusal:
            self.trouble.note(str(refusal.__cause__ or refusal))
            raise
        if is_all:
            self.trouble.over()

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> Stored:
        """Store these bytes."""
        with self._storing():
            return await self._call(_put, self._client, self._bucket, check_key(key), data, content_type)

    @asynccontextmanager
    async def fetch(self, key: str, *, size_max: int | None = None) -> AsyncIterator[Path]:
        """A local copy that lives as long as the context; raises NoSuchObject, ObjectTooLarge, BlobsUnavailable."""
        check_key(key)
        with tempfile.TemporaryDirectory(prefix="blob-", dir=self._directory) as folder:
            path = Path(folder) / "object"
            try:
                await self._download(key, path, size_max)
            except BlobsUnavailable as refusal:
                if _is_silence(refusal.__cause__):
                    raise
                # Once more, from the beginning: a connection may break while it is read.
                await self._download(key, path, size_max)
            yield path

    async def _download(self, key: str, path: Path, size_max: int | None) -> None:
        line = _Line()
        response = await self._call_over(line, self._call_seconds_max, self._client.get_object, self._bucket, key)
        try:
            check_size(int(response.headers.get("Content-Length", "0")), size_max)
            mode, size = "wb", 0
            clock, longest = asyncio.get_running_loop().time, self._call_seconds_max
            end = clock() + longest
            # As it was stored, whatever whoever uploaded it said about its encoding.
            while piece := await self._call_over(
                line, min(longest, end - clock()), response.read, READ_BYTES, decode_content=False
            ):
                # What is announced is believed only as far as it saves reading: some stores announce nothing.
                size += len(piece)
                end += len(piece) / PACE_BYTES_MIN
                check_size(size, size_max)
                await run_in(self._pool, _append, path, mode, piece)
                mode = "ab"
            if mode == "wb":
                await run_in(self._pool, _append, path, mode, b"")
        finally:
            response.close()

    async def stat(self, key: str) -> Stat:
        """What is known about the object; raises NoSuchObject."""
        found = await self._call(self._client.stat_object, self._bucket, check_key(key))
        return Stat(
            key=key,
            size=found.size or 0,
            etag=found.etag or "",
            content_type=found.content_type or "application/octet-stream",
            modified_at=found.last_modified or datetime.fromtimestamp(0, UTC),
        )

    async def read(self, found: ports.Stat, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from an offset on; raises NoSuchObject when it is gone, or no longer what was found.

        Each piece of up to 1 MiB is a request of its own, so that a slow reader holds neither a thread nor a
        connection, and a connection that breaks costs one piece.
        """
        end = found.size if length is None else min(found.size, offset + length)
        while offset < end:
            size = min(READ_BYTES, end - offset)
            try:
                piece = await self._call(self._piece, found, offset, size)
            except BlobsUnavailable as refusal:
                if _is_silence(refusal.__cause__):
                    raise
                piece = await self._call(self._piece, found, offset, size)
            yield piece
            offset += size

    def _piece(self, found: ports.Stat, offset: int, size: int) -> bytes:
        response = self._client.get_object(self._bucket, check_key(found.key), offset=offset, length=size)
        piece = b""
        try:
            piece = response.read(size, decode_content=False)
        finally:
            if len(piece) == size:
                response.release_conn()
            else:
                response.close()  # with what it still holds it serves nobody else
        if (response.headers.get("ETag") or "").strip('"') != found.etag:
            raise NoSuchObject
        if len(piece) != size:
            raise BlobsUnavailable
        return piece

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            await self.stat(key)
        except NoSuchObject:
            return False
        return True

    async def answers(self, seconds_max: float) -> bool:
        """Whether the store answers within so many seconds, which is known then: whoever cancels a call waits on."""
        try:
            await self._call_over(_Line(), seconds_max, self._client.stat_object, self._bucket, "ready")
        except NoSuchObject:
            return True
        except BlobsUnavailable:
            return False
        return True

    async def delete(self, key: str) -> None:
        """See to it that there is no such object."""
        try:
            await self._call(self._client.remove_object, self._bucket, check_key(key))
        except NoSuchObject:
            return

    async def presigned_get(
        self, key: str, seconds: int, *, content_type: str | None = None, disposition: str | None = None
    ) -> str:
        """A URL with which anybody may read the object for so long, under these headers whatever it was stored with.

        What a client sent with a presigned PUT besides its type is not signed, and kept by the store all the same.
        """
        headers: dict[str, str | list[str] | tuple[str]] = {}
        if content_type is not None:
            headers |= {"response-content-type": content_type, "response-content-encoding": "identity"}
        if disposition is not None:
            headers["response-content-disposition"] = disposition
        headers["response-cache-control"] = "private, no-cache"
        return self._public.presigned_get_object(
            self._bucket, check_key(key), timedelta(seconds=seconds), response_headers=headers
        )

    async def presigned_put(self, key: str, *, content_type: str, seconds: int, size: int | None = None) -> str:
        """A URL with which anybody may write the object, with exactly this Content-Type (and size), for so long.

        The client signs the Host header only, so this is signed here (AWS Signature Version 4, query parameters).
        """
        url = urlsplit(self._public.url_of(self._bucket, check_key(key), self._region))
        now = datetime.now(UTC)
        scope = f"{now:%Y%m%d}/{self._region}/s3/aws4_request"
        # In the order of their names, as the signature wants them. Every client sends these by itself.
        headers = {"content-length": str(size)} if size is not None else {}
        headers |= {"content-type": content_type.strip(), "host": url.netloc}
        signed = ";".join(headers)
        query = "&".join(
            f"{name}={quote(value, safe='')}"
            for name, value in (
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", f"{self._access_key}/{scope}"),
                ("X-Amz-Date", f"{now:%Y%m%dT%H%M%SZ}"),
                ("X-Amz-Expires", str(seconds)),
                ("X-Amz-SignedHeaders", signed),
            )
        )
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"PUT\n{url.path}\n{query}\n{lines}\n{signed}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{now:%Y%m%dT%H%M%SZ}\n{scope}\n{digest}"
        key_bytes = f"AWS4{self._secret_key}".encode()
        for step in scope.split("/"):
            key_bytes = hmac.digest(key_bytes, step.encode(), "sha256")
        signature = hmac.digest(key_bytes, text.encode(), "sha256").hex()
        return f"{url.scheme}://{url.netloc}{url.path}?{query}&X-Amz-Signature={signature}"

    async def list(self, prefix: str = "") -> AsyncIterator[Listed]:
        """The objects whose keys begin like this, by key."""
        found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        while page := await self._call(tuple, islice(found, _PAGE)):
            for entry in page:
                yield Listed(
                    key=str(entry.object_name),
                    size=entry.size or 0,
                    modified_at=entry.last_modified or datetime.fromtimestamp(0, UTC),
                )

    async def sweep(self, begun_before: datetime) -> int:
        """Drop uploads begun before then that nobody finished, such as those of a killed process; says how many."""
        stale = [
            (key, upload)
            for key, upload, begun_at in await self._call(self._client.unfinished, self._bucket)
            if begun_at is not None and begun_at < begun_before
        ]
        for key, upload in stale:
            await self._call(self._client.abort, self._bucket, key, upload)
        return len(stale)

    async def close(self) -> None:
        """Give the connections back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._http.clear()

    async def _call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call_over(_Line(), self._call_seconds_max, function, *args, **kwargs)

    async def _call_over(
        self, line: _Line, seconds: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        # By then whoever waits has been told; a caller that was cancelled waits for the thread, and so for this.
        end = asyncio.get_running_loop().call_later(seconds + _CUT_SECONDS, line.cut)
        try:
            with _named():
                async with asyncio.timeout(seconds):
                    return await run_in(self._pool, line.run, function, *args, **kwargs)
        except TimeoutError as late:  # waiting for a free thread counts too
            raise BlobsUnavailable from late
        finally:
            end.cancel()


class _Call(Protocol):
    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


class _Upload:
    """One stream on its way into the store: in one piece if it is small, else part by part."""

    def __init__(self, client: _Client, call: _Call, bucket: str, key: str, content_type: str) -> None:
        self.size = 0
        self._client = client
        self._call = call
        self._bucket = bucket
        self._key = key
        self._content_type = content_type
        self._digest = hashlib.sha256()
        self._pending = bytearray()
        self._upload: str | None = None
        self._parts: list[Part] = []

    async def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._pending += chunk
        while len(self._pending) >= PART_BYTES:
            part = bytes(memoryview(self._pending)[:PART_BYTES])
            del self._pending[:PART_BYTES]
            await self._call(self._send, part)

    async def finish(self) -> Stored:
        rest = bytes(self._pending)
        if self._upload is None:
            return await self._call(_put, self._client, self._bucket, self._key, rest, self._content_type)
        if rest:
            await self._call(self._send, rest)
        etag = await self._call(self._client.complete, self._bucket, self._key, self._upload, self._parts)
        return Stored(key=self._key, size=self.size, sha256=self._digest.hexdigest(), etag=etag)

    async def abandon(self) -> None:
        """Leave no parts behind. What lies under the key is left alone: the same may have been sent twice."""
        if self._upload is None:
            return
        try:
            with suppress(NoSuchObject):  # finished after all, or gone already
                await self._call(self._client.abort, self._bucket, self._key, self._upload)
        except BlobsUnavailable:
            log.warning("blob.left_unfinished", key=self._key, upload=self._upload)

    def _send(self, part: bytes) -> None:
        # Runs in a thread and keeps the upload's id itself: whoever awaits it may be cancelled before it is told.
        if self._upload is None:
            self._upload = self._client.begin(self._bucket, self._key, self._content_type)
        self._digest.update(part)
        self._parts.append(self._client.part(self._bucket, self._key, self._upload, len(self._parts) + 1, part))


def _put(client: _Client, bucket: str, key: str, data: bytes, content_type: str) -> Stored:
    written = client.put_object(bucket, key, io.BytesIO(data), len(data), content_type)
    return Stored(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), etag=written.etag or "")


def _append(path: Path, mode: str, data: bytes) -> None:
    with path.open(mode) as file:
        file.write(data)


@contextmanager
def _named() -> Iterator[None]:
    """The client's many errors in our two words."""
    try:
        yield
    except S3Error as refusal:
        if refusal.code in {"NoSuchKey", "NoSuchUpload"}:
            raise NoSuchObject from refusal
        if refusal.code == "NoSuchBucket":
            log.info("blobs.no_bucket")
            raise NoBucketYet from refusal
        log.warning("blobs.refused", code=refusal.code, reason=refusal.message)
        raise BlobsUnavailable from refusal
    except (MinioException, HTTPError, ConnectionError) as problem:
        log.warning("blobs.unavailable", reason=type(problem).__name__)
        raise BlobsUnavailable from problem


@provides
def blobs(settings: S3) -> Blobs:
    """The object store."""
    return Blobs(
        settings.s3_url,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.reveal(),
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        public_url=settings.s3_public_url or None,
    )


@sweeps("unfinished-uploads")
async def sweep_uploads(blobs: Blobs, before: datetime) -> int:
    """Drop what nobody finished."""
    return await blobs.sweep(before)
