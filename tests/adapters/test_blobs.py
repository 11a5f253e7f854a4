"""The contract of an object store, kept alike by the real one and by its twin in memory."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from adapters.storage.blobs import (
    PART_BYTES,
    BadKey,
    Blobs,
    BlobsUnavailable,
    NoBucketYet,
    NoSuchObject,
    ObjectTooLarge,
    Stat,
    disposition,
)
from adapters.storage.memory import MemoryBlobs
from tests.conftest import Bucket

#: The real one, and its twin for tests: what is true of one is true of the other.
BlobStore = Blobs | MemoryBlobs
MIB = 1024 * 1024


@pytest.fixture
async def real(bucket: Bucket) -> AsyncIterator[Blobs]:
    blobs = Blobs(bucket.url, access_key=bucket.access_key, secret_key=bucket.secret_key, bucket=bucket.name)
    yield blobs
    await blobs.close()


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> BlobStore:
    if request.param == "memory":
        return MemoryBlobs()
    store: BlobStore = request.getfixturevalue("real")
    return store


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def breaking_off(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    raise ConnectionResetError("the client went away")


async def keys(store: BlobStore, prefix: str = "") -> list[str]:
    return [entry.key async for entry in store.list(prefix)]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def content(store: BlobStore, key: str) -> bytes:
    async with store.fetch(key) as path:
        return await asyncio.to_thread(path.read_bytes)


# --- what both promise ------------------------------------------------------------------------------------------------


async def test_what_was_stored_is_fetched_byte_for_byte(store: BlobStore) -> None:
    stored = await store.put_bytes("a/b c/ü+%&.mp3", b"music", content_type="audio/mpeg")
    assert (stored.key, stored.size, stored.sha256) == ("a/b c/ü+%&.mp3", 5, sha256(b"music"))
    assert await content(store, "a/b c/ü+%&.mp3") == b"music"


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12345])
async def test_a_stream_of_any_size_arrives_whole(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    chunks = [data[start : start + 300_001] for start in range(0, size, 300_001)]
    stored = await store.put_stream("k", pieces(*chunks), content_type="audio/wav", size_max=size)
    assert (stored.size, stored.sha256) == (size, sha256(data))
    assert sha256(await content(store, "k")) == sha256(data)
    stat = await store.stat("k")
    assert (stat.size, stat.content_type, stat.etag) == (size, "audio/wav", stored.etag)
    assert abs(stat.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_one_chunk_larger_than_a_part_arrives_whole(store: BlobStore) -> None:
    data = os.urandom(3 * PART_BYTES)
    await store.put_stream("k", pieces(data), content_type="audio/wav", size_max=len(data))
    assert sha256(await content(store, "k")) == sha256(data)


@pytest.mark.parametrize("size", [10, PART_BYTES * 2])
async def test_a_stream_that_breaks_off_leaves_nothing(store: BlobStore, size: int) -> None:
    with pytest.raises(ConnectionResetError):
        await store.put_stream("k", breaking_off(b"x" * size), content_type="audio/wav", size_max=size)
    assert not await store.exists("k")
    assert await keys(store) == []


@pytest.mark.parametrize("size", [10, PART_BYTES * 2])
async def test_a_stream_that_is_too_large_leaves_nothing(store: BlobStore, size: int) -> None:
    with pytest.raises(ObjectTooLarge) as refusal:
        await store.put_stream("k", pieces(b"x" * size, b"y"), content_type="audio/wav", size_max=size)
    assert refusal.value.facts == {"size_max": size}
    assert await keys(store) == []


async def test_a_stream_that_is_cancelled_leaves_nothing(store: BlobStore) -> None:
    waiting = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * (PART_BYTES + 1)
        waiting.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(store.put_stream("k", endless(), content_type="audio/wav", size_max=10**9))
    await waiting.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await keys(store) == []


async def test_storing_again_under_a_key_replaces_what_was_there(store: BlobStore) -> None:
    await store.put_bytes("k", b"old", content_type="audio/mpeg")
    await store.put_stream("k", pieces(b"n", b"ew"), content_type="audio/flac", size_max=9)
    assert await content(store, "k") == b"new"
    assert (await store.stat("k")).content_type == "audio/flac"


async def test_an_object_that_is_not_there_is_named_as_such(store: BlobStore) -> None:
    assert not await store.exists("nothing")
    with pytest.raises(NoSuchObject):
        await store.stat("nothing")
    with pytest.raises(NoSuchObject):
        async with store.fetch("nothing"):
            pytest.fail("there is nothing to fetch")


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (0, 1), (1, 3 * MIB), (MIB, MIB), (3 * MIB, 100), (3 * MIB + 4, None), (9, 0)]
)
async def test_any_part_of_an_object_is_read_piece_by_piece(store: BlobStore, offset: int, length: int | None) -> None:
    data = os.urandom(3 * MIB + 5)
    await store.put_bytes("a b/ü", data, content_type="audio/wav")
    read = [piece async for piece in store.read(await store.stat("a b/ü"), offset=offset, length=length)]
    assert sha256(b"".join(read)) == sha256(data[offset:] if length is None else data[offset : offset + length])
    assert all(len(piece) <= MIB for piece in read)


async def test_an_empty_object_has_nothing_to_read(store: BlobStore) -> None:
    await store.put_bytes("k", b"", content_type="audio/wav")
    assert [piece async for piece in store.read(await store.stat("k"))] == []


async def test_what_is_replaced_or_deleted_while_it_is_read_is_never_mixed(store: BlobStore) -> None:
    await store.put_bytes("k", bytes(2 * MIB), content_type="audio/wav")
    found = await store.stat("k")
    replaced, deleted = store.read(found), store.read(found)
    assert await anext(replaced) == await anext(deleted) == bytes(MIB)
    await store.put_bytes("k", b"x" * 2 * MIB, content_type="audio/wav")
    with pytest.raises(NoSuchObject):
        await anext(replaced)
    await store.delete("k")
    with pytest.raises(NoSuchObject):
        await anext(deleted)


async def test_deleting_twice_is_as_good_as_once(store: BlobStore) -> None:
    await store.put_bytes("k", b"x", content_type="audio/mpeg")
    await store.delete("k")
    await store.delete("k")
    assert not await store.exists("k")


async def test_a_fetched_copy_is_gone_afterwards_also_after_an_error(store: BlobStore) -> None:
    await store.put_bytes("k", b"x", content_type="audio/mpeg")
    left: list[Path] = []

    async def stumble() -> None:
        async with store.fetch("k") as path:
            left.append(path)
            assert path.exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    assert not left[0].parent.exists()


async def test_more_than_was_asked_for_is_not_fetched(store: BlobStore) -> None:
    await store.put_bytes("k", b"12345", content_type="audio/mpeg")
    with pytest.raises(ObjectTooLarge):
        async with store.fetch("k", size_max=4):
            pytest.fail("it is larger than 4 bytes")
    async with store.fetch("k", size_max=5) as path:
        assert path.stat().st_size == 5


async def test_a_listing_has_the_keys_with_the_prefix_in_order(store: BlobStore) -> None:
    for key in ("b/2", "a/1", "b/1/x", "b/10", "bb", "b/é", "b/a", "b/Z"):
        await store.put_bytes(key, b"12", content_type="audio/mpeg")
    assert await keys(store, "b/") == ["b/1/x", "b/10", "b/2", "b/Z", "b/a", "b/é"]
    assert await keys(store, "c") == []
    assert [(entry.key, entry.size) async for entry in store.list("a")] == [("a/1", 2)]


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", ".", "a\n", "x" * 1025, "é" * 513])
async def test_a_key_that_could_be_read_as_another_is_refused(store: BlobStore, key: str) -> None:
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: store.put_bytes(key, b"", content_type="audio/mpeg"),
        lambda: store.put_stream(key, pieces(b""), content_type="audio/mpeg", size_max=1),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.presigned_get(key, 60),
        lambda: store.presigned_put(key, content_type="audio/mpeg", seconds=60),
    ]
    for operation in operations:
        with pytest.raises(BadKey):
            await operation()


async def test_the_bucket_may_be_asked_for_twice(store: BlobStore) -> None:
    await store.ensure_bucket()
    await store.ensure_bucket()
    assert await keys(store) == []


# --- what only the real one can show ----------------------------------------------------------------------------------


async def test_a_missing_bucket_is_made_even_by_two_at_once(bucket: Bucket) -> None:
    def one() -> Blobs:
        return Blobs(bucket.url, access_key=bucket.access_key, secret_key=bucket.secret_key, bucket=bucket.name + "new")

    first, second = one(), one()
    with capture_logs() as said, pytest.raises(NoBucketYet):
        await first.sweep(datetime.now(UTC))
    with capture_logs() as listed, pytest.raises(NoBucketYet):
        await anext(first.list())
    assert {each["log_level"] for each in said + listed} == {"info"}, "a first start warns of nothing"
    await asyncio.gather(first.ensure_bucket(), second.ensure_bucket())
    await first.put_bytes("k", b"x", content_type="audio/mpeg")
    assert await content(second, "k") == b"x"
    await first.delete("k")
    bucket.client.remove_bucket(bucket.name + "new")
    await asyncio.gather(first.close(), second.close())


async def test_a_failed_stream_leaves_no_unfinished_upload_behind(real: Blobs) -> None:
    with pytest.raises(ConnectionResetError):
        await real.put_stream("k", breaking_off(b"x" * 2 * PART_BYTES), content_type="audio/wav", size_max=10**9)
    assert real._client.unfinished(real._bucket) == []


@pytest.mark.parametrize(("last", "size"), [("put_object", 9), ("complete", PART_BYTES + 1)])
async def test_what_is_sent_twice_is_there_also_when_the_second_answer_is_lost(
    real: Blobs, monkeypatch: pytest.MonkeyPatch, last: str, size: int
) -> None:
    await real.put_stream("k", pieces(b"x" * size), content_type="audio/wav", size_max=size)
    said = getattr(real._client, last)

    def unheard(*arguments: object) -> None:
        said(*arguments)
        raise ConnectionResetError

    monkeypatch.setattr(real._client, last, unheard)
    with pytest.raises(BlobsUnavailable):
        await real.put_stream("k", pieces(b"x" * size), content_type="audio/wav", size_max=size)
    assert await content(real, "k") == b"x" * size
    assert real._client.unfinished(real._bucket) == []


async def test_uploads_of_a_killed_process_are_swept_away_once_they_are_old(real: Blobs) -> None:
    real._client.begin(real._bucket, "k", "audio/wav")
    assert await real.sweep(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert await real.sweep(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert real._client.unfinished(real._bucket) == []


async def test_a_stream_is_read_no_faster_than_it_is_stored(real: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a part is held up on its way, the source is not asked for more."""
    let_go, held_up = threading.Event(), threading.Event()
    send = real._client.part

    def slowly(*arguments: object) -> object:
        held_up.set()
        let_go.wait(10)
        return send(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(real._client, "part", slowly)
    given = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(24):
            given += MIB
            yield bytes(MIB)

    upload = asyncio.create_task(real.put_stream("k", source(), content_type="audio/wav", size_max=10**9))
    assert await asyncio.to_thread(held_up.wait, 10)
    for _ in range(100):
        await asyncio.sleep(0)
    assert given == PART_BYTES
    let_go.set()
    assert (await upload).size == 24 * MIB


async def test_the_event_loop_does_not_wait_for_the_store(real: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    stat = real._client.stat_object

    def slowly(*arguments: object) -> object:
        let_go.wait(10)
        return stat(*arguments)  # type: ignore[arg-type]  # passed on as they came

    await real.put_bytes("k", b"x", content_type="audio/mpeg")
    monkeypatch.setattr(real._client, "stat_object", slowly)
    asked = asyncio.create_task(real.stat("k"))
    turns = 0
    while turns < 1000:
        await asyncio.sleep(0)
        turns += 1
    assert not asked.done()
    let_go.set()
    assert (await asked).size == 1


async def test_a_presigned_get_serves_anybody_under_the_name_it_was_given(real: Blobs) -> None:
    await real.put_bytes("a b/ü.mp3", b"music", content_type="audio/mpeg")
    url = await real.presigned_get(
        "a b/ü.mp3", 60, content_type="audio/mpeg", disposition=disposition("Süß; 1.mp3", inline=False)
    )
    async with httpx.AsyncClient() as anybody:
        answer = await anybody.get(url)
        assert (answer.status_code, answer.content) == (200, b"music")
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''S%C3%BC%C3%9F%3B%201.mp3"
        assert (await anybody.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))).status_code == 403


async def test_what_was_said_with_an_upload_besides_its_type_changes_nothing(real: Blobs) -> None:
    packed = gzip.compress(b"<script>")
    said = {
        "Content-Type": "audio/mpeg",
        "Content-Encoding": "gzip",
        "Content-Disposition": "inline; filename=evil.html",
        "Cache-Control": "public, max-age=99999",
    }
    async with httpx.AsyncClient() as anybody:
        url = await real.presigned_put("k", content_type="audio/mpeg", seconds=60)
        assert (await anybody.put(url, content=packed, headers=said)).status_code == 200
        shown = await real.presigned_get("k", 60, content_type="audio/mpeg", disposition=disposition("a.mp3"))
        answer = await anybody.get(shown)
    assert answer.content == packed
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''a.mp3"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert await content(real, "k") == packed
    assert b"".join([piece async for piece in real.read(await real.stat("k"))]) == packed


async def test_a_presigned_put_takes_the_declared_type_and_no_other(real: Blobs) -> None:
    url = await real.presigned_put("a b/ü.mp3", content_type="audio/mpeg", seconds=60)
    async with httpx.AsyncClient() as anybody:
        other = await anybody.put(url, content=b"<html>", headers={"Content-Type": "text/html"})
        assert other.status_code == 403
        assert not await real.exists("a b/ü.mp3")
        answer = await anybody.put(url, content=b"music", headers={"Content-Type": "audio/mpeg"})
        assert answer.status_code == 200
    assert (await real.stat("a b/ü.mp3")).content_type == "audio/mpeg"


async def test_a_presigned_put_for_a_size_takes_that_size_and_no_other(real: Blobs) -> None:
    url = await real.presigned_put("k", content_type="audio/mpeg", seconds=60, size=5)
    headers = {"Content-Type": "audio/mpeg"}
    async with httpx.AsyncClient() as client:
        for other in (b"", b"four", b"longer than that"):
            assert (await client.put(url, content=other, headers=headers)).status_code == 403
        in_chunks = await client.put(url, content=pieces(b"longer ", b"than that"), headers=headers)
        assert in_chunks.status_code in (403, 411)
        assert not await real.exists("k")
        assert (await client.put(url, content=b"music", headers=headers)).status_code == 200
    assert (await real.stat("k")).size == 5


async def test_an_expired_url_opens_nothing(real: Blobs) -> None:
    await real.put_bytes("k", b"x", content_type="audio/mpeg")
    url = await real.presigned_put("k", content_type="audio/mpeg", seconds=1)
    answer = 200
    async with asyncio.timeout(10), httpx.AsyncClient() as anybody:
        while answer == 200:
            answer = (await anybody.put(url, content=b"y", headers={"Content-Type": "audio/mpeg"})).status_code
    assert answer == 403


async def test_presigned_urls_name_the_public_address_of_the_store(bucket: Bucket) -> None:
    blobs = Blobs(
        "http://127.0.0.1:1",
        access_key=bucket.access_key,
        secret_key=bucket.secret_key,
        bucket=bucket.name,
        public_url="https://files.example",
    )
    for url in (await blobs.presigned_get("k", 60), await blobs.presigned_put("k", content_type="a/b", seconds=60)):
        assert urlsplit(url)[:3] == ("https", "files.example", f"/{bucket.name}/k")
    await blobs.close()


@pytest.mark.parametrize("url", ["s3://x", "x:9000", "http://x/bucket", ""])
def test_a_store_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="S3 store"):
        Blobs(url, access_key="a", secret_key="b", bucket="ccc")


# --- when it is away --------------------------------------------------------------------------------------------------


def everything_that_reaches_the_store(store: BlobStore) -> list[Callable[[], Awaitable[object]]]:
    async def fetch() -> None:
        async with store.fetch("k"):
            pytest.fail("nothing can be fetched")

    async def read() -> None:
        found = Stat(key="k", size=1, etag="", content_type="audio/mpeg", modified_at=datetime.now(UTC))
        async for _ in store.read(found):
            pytest.fail("nothing can be read")

    return [
        store.ensure_bucket,
        lambda: store.put_bytes("k", b"x", content_type="audio/mpeg"),
        lambda: store.put_stream("k", pieces(b"x"), content_type="audio/mpeg", size_max=1),
        lambda: store.put_stream("k", pieces(b"x" * PART_BYTES), content_type="audio/mpeg", size_max=PART_BYTES),
        fetch,
        lambda: store.stat("k"),
        read,
        lambda: store.exists("k"),
        lambda: store.delete("k"),
        lambda: keys(store),
    ]


async def test_a_store_where_nobody_listens_is_away_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        blobs = Blobs(f"http://127.0.0.1:{taken.getsockname()[1]}", access_key="a", secret_key="b" * 8, bucket="bucket")
        for operation in everything_that_reaches_the_store(blobs):
            began = time.monotonic()
            with pytest.raises(BlobsUnavailable):
                await operation()
            assert time.monotonic() - began < 10
        await blobs.close()


async def test_a_store_that_announces_no_size_cannot_send_more_than_was_asked_for() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while sent < 256 * MIB:
                writer.write(b"100000\r\n" + bytes(MIB) + b"\r\n")
                await writer.drain()
                sent += MIB
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        blobs = Blobs(f"http://127.0.0.1:{port}", access_key="a", secret_key="b" * 8, bucket="bucket")
        with pytest.raises(ObjectTooLarge):
            async with blobs.fetch("k", size_max=2 * MIB):
                pytest.fail("more than was asked for")
        await blobs.close()
    assert sent < 64 * MIB


async def test_a_store_that_takes_calls_and_never_answers_is_away_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        blobs = Blobs(
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            access_key="a",
            secret_key="b" * 8,
            bucket="bucket",
            read_seconds_max=0.05,
            call_seconds_max=1,
        )
        for operation in everything_that_reaches_the_store(blobs):
            began = time.monotonic()
            with pytest.raises(BlobsUnavailable):
                await operation()
            assert time.monotonic() - began < 10
        await blobs.close()


async def test_a_queue_of_stuck_calls_makes_nobody_wait_longer_than_one_call_may_take() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        blobs = Blobs(
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            access_key="a",
            secret_key="b" * 8,
            bucket="bucket",
            workers=1,
            read_seconds_max=0.2,
            call_seconds_max=0.3,
        )
        began = time.monotonic()
        outcomes = await asyncio.gather(*(blobs.stat("k") for _ in range(20)), return_exceptions=True)
        assert all(isinstance(outcome, BlobsUnavailable) for outcome in outcomes)
        assert time.monotonic() - began < 5
        await blobs.close()


async def test_a_wrong_key_pair_is_a_store_that_is_away(bucket: Bucket) -> None:
    blobs = Blobs(bucket.url, access_key=bucket.access_key, secret_key="wrong" * 8, bucket=bucket.name)
    with pytest.raises(BlobsUnavailable):
        await blobs.put_bytes("k", b"x", content_type="audio/mpeg")
    await blobs.close()


async def test_the_twin_can_be_away_too() -> None:
    store = MemoryBlobs()
    store.away = True
    for operation in everything_that_reaches_the_store(store):
        with pytest.raises(BlobsUnavailable):
            await operation()


def test_neither_key_shows_in_a_representation() -> None:
    assert "hush" not in repr(Blobs("http://127.0.0.1:1", access_key="hush", secret_key="hush-hush", bucket="ccc"))
