"""Uploads in every order, size and state of repair, and first bytes that are music or only claim to be."""

from __future__ import annotations

import asyncio
import io
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import get_args

import av
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage import uploads
from adapters.storage.blobs import BlobsUnavailable, Stored
from adapters.storage.memory import MemoryBlobs
from adapters.storage.uploads import (
    HEAD_BYTES,
    AudioFormat,
    FilePart,
    Limits,
    MalformedUpload,
    NoFile,
    NotAudio,
    Received,
    Room,
    TooManyUploads,
    UploadStalled,
    UploadTooLarge,
    read_upload,
    sniff_audio,
)
from domain.kernel import Refusal

BOUNDARY = "------------------------d74496d66958873e"
FORM = f"multipart/form-data; boundary={BOUNDARY}"

#: A FLAC file as far as anybody can tell from its first bytes.
AUDIO = b"fLaC" + bytes(range(256)) * 4 + b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n\r"


def part(name: str, value: bytes, filename: str | None = None, *headers: bytes) -> bytes:
    said = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{said}\r\n'.encode()
    return head + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def file(data: bytes = AUDIO) -> bytes:
    return part("file", data, "song.mp3", b"Content-Type: audio/mpeg")


class Body:
    """A request body that counts what was asked for."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.given = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self.chunks:
            self.given += len(chunk)
            return chunk
        raise StopAsyncIteration


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


class Shelf:
    """Stores what it is given and notes what it was told to throw away."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.discarded: list[int] = []

    async def store(self, file: FilePart, chunks: AsyncIterator[bytes]) -> int:
        data = b"".join([chunk async for chunk in chunks])
        self.files.append(data)
        return len(self.files) - 1

    async def discard(self, stored: int) -> None:
        self.discarded.append(stored)


async def read(
    body: bytes | Body, shelf: Shelf | None = None, content_type: str | None = FORM, limits: Limits | None = None
) -> Received[int]:
    shelf = shelf or Shelf()
    source = body if isinstance(body, Body) else Body([body])
    return await read_upload(content_type, source, shelf.store, shelf.discard, limits=limits)


# --- the form -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["field first", "file first"])
async def test_a_field_is_read_before_or_after_the_file(first: bool) -> None:
    field = part("webhook_url", "https://example.com/hö".encode())
    shelf = Shelf()
    upload = await read(form(field, file()) if first else form(file(), field), shelf)
    assert upload.fields == {"webhook_url": "https://example.com/hö"}
    assert upload.file == FilePart(filename="song.mp3", content_type="audio/mpeg", format="flac")
    assert shelf.files == [AUDIO]
    assert shelf.discarded == []


async def test_the_form_that_an_ordinary_client_sends_is_read() -> None:
    request = httpx.Request(
        "POST", "http://x/", files={"file": ('a ü".mp3', io.BytesIO(AUDIO))}, data={"webhook_url": "https://e.com/"}
    )
    shelf = Shelf()
    upload = await read(request.read(), shelf, request.headers["Content-Type"])
    assert (upload.file.filename, upload.fields, shelf.files) == (
        'a ü".mp3',
        {"webhook_url": "https://e.com/"},
        [AUDIO],
    )


@given(st.lists(st.integers(1, 200), min_size=1), st.binary(max_size=400), st.text(max_size=40))
async def test_however_a_body_is_cut_up_it_is_the_same_upload(sizes: list[int], tail: bytes, text: str) -> None:
    music = b"fLaC" + tail.replace(b"\r\n--" + BOUNDARY.encode(), b"")
    body = b"\r\n" + form(part("a", text.encode()), file(music), part("b", b"2")) + b"epilogue"
    chunks: list[bytes] = []
    start = 0
    while start < len(body):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(body[start : start + size])
        start += size
    shelf = Shelf()
    upload = await read(Body(chunks), shelf)
    assert upload.fields == {"a": text, "b": "2"}
    assert shelf.files == [music]


async def test_chunks_of_nothing_do_not_end_an_upload() -> None:
    body = form(file())
    shelf = Shelf()
    await read(Body([b"", body[:50], b"", body[50:], b""]), shelf)
    assert shelf.files == [AUDIO]


async def test_a_file_passes_through_without_being_held(tmp_path: Path) -> None:
    """Whoever stores has had every byte but the head before the next one is read."""
    music = b"fLaC" + os.urandom(2_000_000)
    body = Body(cut(form(file(music)), 10_000))
    ahead: list[int] = []

    async def store(file: FilePart, chunks: AsyncIterator[bytes]) -> int:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            ahead.append(body.given - size)
        return size

    async def discard(stored: int) -> None:
        pytest.fail("nothing was wrong")

    upload = await read_upload(FORM, body, store, discard)
    assert upload.stored == len(music)
    assert max(ahead) <= HEAD_BYTES + 20_000
    assert len(ahead) > 150


async def test_whoever_stores_may_have_had_enough_before_the_end() -> None:
    async def store(file: FilePart, chunks: AsyncIterator[bytes]) -> bytes:
        return await anext(aiter(chunks))

    async def discard(stored: bytes) -> None:
        pytest.fail("nothing was wrong")

    body = Body(cut(form(file(b"fLaC" + bytes(200_000)), part("a", b"1")), 5_000))
    upload = await read_upload(FORM, body, store, discard)
    assert upload.fields == {"a": "1"}


# --- limits -------------------------------------------------------------------------------------------------------


async def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    limits = Limits(file_size_max=len(AUDIO))
    await read(form(file(AUDIO)), limits=limits)
    shelf = Shelf()
    with pytest.raises(UploadTooLarge):
        await read(form(file(AUDIO + b"x")), shelf, limits=limits)
    assert shelf.files == []


async def test_a_body_that_announces_too_much_is_refused_by_its_announcement() -> None:
    shelf = Shelf()
    limits = Limits(file_size_max=1000, dropped_size_max=0)
    body = Body(cut(form(file()), 10))
    with pytest.raises(UploadTooLarge):
        await read_upload(FORM, body, shelf.store, shelf.discard, limits=limits, content_length=2_000_000)
    assert body.given == 0


async def test_a_body_without_end_is_refused_in_the_preamble_too() -> None:
    limits = Limits(file_size_max=1000, dropped_size_max=10_000)
    body = Body(b"x" * 10_000 for _ in range(1_000_000))
    with pytest.raises(UploadTooLarge):
        await read(body, limits=limits)
    assert body.given <= limits.body_size_max + 30_000


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([part(f"f{number}", b"") for number in range(17)], "too many parts"),
        ([part("a", b"", None, b"X-Long: " + b"x" * 5000)], "too long headers"),
        ([part("a", b"", None, *(b"X-H%d: x" % number for number in range(20)))], "too long headers"),
        ([part("a", b"x" * 9000)], "a field is too long"),
        ([part("a", b"\xff")], "not UTF-8"),
        ([part("a", b"1"), part("a", b"2")], "there twice"),
        ([part("cover", b"x", "cover.png")], 'only the field "file"'),
        ([file(), file()], "more than one file"),
        ([b"--" + BOUNDARY.encode() + b"\r\nnonsense\r\n\r\nx\r\n"], "damaged"),
        ([b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: attachment\r\n\r\nx\r\n"], "damaged"),
    ],
)
async def test_a_form_that_makes_no_sense_is_refused_with_the_reason(parts: list[bytes], problem: str) -> None:
    with pytest.raises(MalformedUpload, match=problem):
        await read(form(*parts))


@pytest.mark.parametrize("end", [10, 200, 500, -1, -3, -6])
async def test_a_body_that_ends_too_early_is_refused_and_nothing_stays(end: int) -> None:
    shelf = Shelf()
    with pytest.raises(MalformedUpload, match="ends too early"):
        await read(form(file(), part("a", b"1")).rstrip()[:end], shelf)
    assert shelf.discarded == list(range(len(shelf.files)))


async def test_what_was_stored_is_thrown_away_when_the_rest_turns_out_wrong() -> None:
    for wrong in (part("a", b"x" * 9000), file(), part("b", b"\xff")):
        shelf = Shelf()
        with pytest.raises(MalformedUpload):
            await read(form(file(), wrong), shelf)
        assert (shelf.files, shelf.discarded) == ([AUDIO], [0])


async def test_what_was_stored_is_thrown_away_when_the_client_leaves() -> None:
    async def leaving() -> AsyncIterator[bytes]:
        yield form(file())[:-10] + b"\r\n"
        raise ConnectionResetError

    shelf = Shelf()
    with pytest.raises(ConnectionResetError):
        await read_upload(FORM, leaving(), shelf.store, shelf.discard)
    assert shelf.discarded == list(range(len(shelf.files)))


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "text/plain; boundary=x", "multipart/mixed; boundary=x"]
)
async def test_a_body_that_is_no_form_has_no_file(content_type: str | None) -> None:
    with pytest.raises(NoFile):
        await read(form(file()), content_type=content_type)


@pytest.mark.parametrize(
    "boundary", ["", "; boundary=", "; boundary=\u00fc", '; boundary="a\x07"', "; boundary=" + "x" * 201]
)
async def test_a_form_without_a_usable_boundary_is_malformed(boundary: str) -> None:
    with pytest.raises(MalformedUpload, match="boundary"):
        await read(form(file()), content_type="multipart/form-data" + boundary)


async def test_a_form_without_a_file_says_how_to_send_one() -> None:
    with pytest.raises(NoFile, match='"file"'):
        await read(form(part("a", b"1")))


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"just text, whatever its name says", b"\x89PNG\r\n\x1a\n" + bytes(99)]
)
async def test_a_file_that_is_not_audio_is_refused_before_anybody_stores_it(data: bytes) -> None:
    shelf = Shelf()
    with pytest.raises(NotAudio):
        await read(form(file(data)), shelf)
    assert shelf.files == []


async def test_the_rest_of_a_refused_upload_is_read_so_that_the_client_hears_the_answer() -> None:
    body = Body(cut(form(file(b"x" * 1_000_000)), 10_000))
    with pytest.raises(NotAudio):
        await read(body)
    assert body.given == len(form(file(b"x" * 1_000_000)))


async def test_an_upload_that_stops_is_left() -> None:
    async def stopping() -> AsyncIterator[bytes]:
        yield form(file())[:300]
        await asyncio.Event().wait()

    shelf = Shelf()
    async with asyncio.timeout(10):
        with pytest.raises(UploadStalled):
            await read_upload(FORM, stopping(), shelf.store, shelf.discard, limits=Limits(stall_seconds_max=0.05))
    assert shelf.files == []


async def test_an_upload_that_drips_is_left_although_it_never_stops() -> None:
    given = 0

    async def dripping() -> AsyncIterator[bytes]:
        nonlocal given
        yield form(file(AUDIO + bytes(40_000)))[:-1000]
        while True:
            await asyncio.sleep(0.02)
            given += 1
            yield b"x"

    shelf, limits = Shelf(), Limits(stall_seconds_max=5.0, grace_seconds_max=0.2, pace_bytes_min=1_000_000)
    async with asyncio.timeout(10):
        with pytest.raises(UploadStalled):
            await read_upload(FORM, dripping(), shelf.store, shelf.discard, limits=limits)
    assert 0 < given < 20
    assert shelf.files == []


async def test_a_refused_upload_that_drips_is_left_too() -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield form(file(b"this is no audio" * 4096))
        while True:
            await asyncio.sleep(0.02)
            yield b"x"

    shelf, limits = Shelf(), Limits(stall_seconds_max=5.0, grace_seconds_max=0.2, pace_bytes_min=1_000_000)
    async with asyncio.timeout(10):
        with pytest.raises(NotAudio):
            await read_upload(FORM, dripping(), shelf.store, shelf.discard, limits=limits)


class SlowShelf(Shelf):
    """Takes its time over every piece."""

    async def store(self, file: FilePart, chunks: AsyncIterator[bytes]) -> int:
        async def slowly() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                await asyncio.sleep(0.03)
                yield chunk

        return await super().store(file, slowly())


@pytest.mark.parametrize(
    ("shelf", "limits"),
    [
        (Shelf(), Limits(grace_seconds_max=0.1, pace_bytes_min=20_000)),
        (SlowShelf(), Limits(grace_seconds_max=0.9, pace_bytes_min=200_000)),
    ],
    ids=["longer than the grace", "a slow store"],
)
async def test_whoever_keeps_the_pace_is_heard_to_the_end(shelf: Shelf, limits: Limits) -> None:
    async def evenly() -> AsyncIterator[bytes]:
        for chunk in cut(form(file(AUDIO + bytes(60_000))), 1000):
            await asyncio.sleep(0.005)
            yield chunk

    await read_upload(FORM, evenly(), shelf.store, shelf.discard, limits=limits)
    assert [len(each) for each in shelf.files] == [len(AUDIO) + 60_000]


@pytest.mark.parametrize("away", [False, True])
async def test_an_upload_goes_straight_into_the_object_store(away: bool) -> None:
    blobs = MemoryBlobs()
    blobs.away = away

    async def store(file: FilePart, chunks: AsyncIterator[bytes]) -> Stored:
        return await blobs.put_stream("k", chunks, content_type=f"audio/{file.format}", size_max=10**6)

    async def discard(stored: Stored) -> None:
        await blobs.delete(stored.key)

    async def upload(*parts: bytes) -> Received[Stored]:
        return await read_upload(FORM, Body(cut(form(*parts), 100)), store, discard)

    if away:
        with pytest.raises(BlobsUnavailable):
            await upload(file())
        return
    assert (await upload(file())).stored.size == len(AUDIO)
    with pytest.raises(MalformedUpload):
        await upload(file(), file())
    assert not await blobs.exists("k")


@pytest.mark.parametrize(
    "refusal", [UploadTooLarge(size_max=1), MalformedUpload(problem="x"), NoFile(), NotAudio(), UploadStalled()]
)
def test_every_refusal_is_a_sentence(refusal: Refusal) -> None:
    assert refusal.sentence.endswith(".")
    assert "{" not in refusal.sentence


# --- the first bytes ----------------------------------------------------------------------------------------------


def encoded(container: str, codec: str, rate: int = 44_100, **metadata: str) -> bytes:
    """A second of a tone."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        output.metadata.update(metadata)
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo"
        tone = (np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[np.newaxis, :], format="s16", layout="stereo")
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return target.getvalue()


MADE: list[tuple[AudioFormat, str, str, int]] = [
    ("mp3", "mp3", "libmp3lame", 44_100),
    ("mp3", "mp3", "libmp3lame", 22_050),
    ("mp3", "mp3", "libmp3lame", 8_000),
    ("mp3", "mp2", "mp2", 48_000),
    ("wav", "wav", "pcm_s16le", 44_100),
    ("wav", "wav", "pcm_f32le", 96_000),
    ("flac", "flac", "flac", 44_100),
    ("ogg", "ogg", "libopus", 48_000),
    ("aac", "adts", "aac", 44_100),
    ("aac", "adts", "aac", 16_000),
    ("m4a", "ipod", "aac", 44_100),
    ("m4a", "ipod", "alac", 44_100),
    ("aiff", "aiff", "pcm_s16be", 44_100),
]


@pytest.mark.parametrize(("audio", "container", "codec", "rate"), MADE)
def test_every_documented_format_is_known_by_its_content(
    audio: AudioFormat, container: str, codec: str, rate: int
) -> None:
    data = encoded(container, codec, rate)
    assert sniff_audio(data[:HEAD_BYTES]) == audio
    assert sniff_audio(bytes(500) + data[: HEAD_BYTES - 500]) == (audio if audio != "m4a" else None)


def test_no_documented_format_is_forgotten_here() -> None:
    assert {made[0] for made in MADE} == set(get_args(AudioFormat))


def id3(size: int, footer: bool = False) -> bytes:
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + length + b"\xff" * size + (b"3DI" + bytes(7)) * footer


@pytest.mark.parametrize(
    "container_codec", [("mp3", "libmp3lame"), ("adts", "aac"), ("flac", "flac"), ("aiff", "pcm_s16be")]
)
def test_audio_is_known_behind_tags_and_padding(container_codec: tuple[str, str]) -> None:
    data = encoded(*container_codec)
    plain = sniff_audio(data)
    assert plain is not None
    for before in (
        id3(0),
        id3(5000),
        id3(300, footer=True),
        id3(100) + bytes(64),
        id3(10) + id3(20),
        bytes(7) + id3(9),
    ):
        assert sniff_audio((before + data)[:HEAD_BYTES]) == plain


def test_a_tag_larger_than_the_head_is_taken_for_mp3() -> None:
    assert sniff_audio((id3(2_000_000))[:HEAD_BYTES]) == "mp3"


def test_mpeg_frames_are_found_behind_other_rubbish() -> None:
    data = encoded("mp3", "libmp3lame")
    frames = data[data.index(b"\xff\xfb") :]
    assert sniff_audio(b"rubbish \xff\xfb\x90\x00 rubbish" + frames) == "mp3"
    assert sniff_audio(frames[1:]) == "mp3"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xfb\x90\x00",
        b"ID3",
        b"ID3\x04\x00\x00\x00\x00\x00\xff" + bytes(99),
        "UTF-16 text whose mark looks like a frame".encode("utf-16") * 50,
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"FORM\x00\x00\x00\x00ILBMBMHD",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 40,
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\n" + b"x" * 5000,
        b"<!doctype html>" + b"x" * 50_000,
        b"\x7fELF" + b"\xff" * HEAD_BYTES,
        b"\xff\xf1" * (HEAD_BYTES // 2),
        b"\xff\xfb\x90\x00" + b"x" * 413 + b"\xff\xf3\x90\x00" + b"x" * 1000,
    ],
)
def test_other_things_are_not_audio(data: bytes) -> None:
    assert sniff_audio(data) is None


@given(st.binary(max_size=3000))
def test_whatever_comes_sniffing_ends_and_random_bytes_are_hardly_ever_audio(data: bytes) -> None:
    sniff_audio(data)
    if not data.startswith(b"ftyp"):
        assert sniff_audio(b"\x01\x02\x03\x04" + data) is None


def test_a_tower_of_tags_costs_nothing() -> None:
    assert sniff_audio(id3(0) * (HEAD_BYTES // 10)) is None


# --- as many as there is room for ------------------------------------------------------------------------------------


async def test_an_upload_without_a_place_is_heard_out_kept_nowhere_and_told_when_to_come_again() -> None:
    room, heard = Room(2, Limits(dropped_size_max=1000)), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal heard
        while True:
            heard += 100
            yield bytes(100)

    async with room.place(endless(), "ada"), room.place(endless(), "bob"):
        with pytest.raises(TooManyUploads) as refused:
            async with room.place(endless(), "cy"):
                pytest.fail("there was no place")
        assert refused.value.sentence.endswith("Try again in 5 seconds.")
        assert heard == 1000
    with pytest.raises(ZeroDivisionError):
        async with room.place(endless(), "dee"):
            raise ZeroDivisionError
    async with room.place(endless(), "ada"), room.place(endless(), "bob"):
        pass


async def test_one_holder_has_a_quarter_of_the_places_and_leaves_the_others_to_others() -> None:
    room = Room(8, Limits())

    async def short() -> AsyncIterator[bytes]:
        yield b"x"

    async with room.place(short(), "ada"):
        async with room.place(short(), "ada"):
            for _ in range(2):
                with pytest.raises(TooManyUploads):
                    async with room.place(short(), "ada"):
                        pytest.fail("these are two already")
            async with room.place(short(), "bob"), room.place(short(), "bob"):
                pass
        async with room.place(short(), "ada"):
            pass
    async with Room(1, Limits()).place(short(), "ada"):
        pass


#: As much as makes an upload fast for as long as any test lasts.
FAST = bytes(10_000_000)


async def patient(body: bytes = b"") -> AsyncIterator[bytes]:
    """A body that begins and never goes on."""
    yield body
    await asyncio.Event().wait()


class Crowd:
    """Uploads that are under way in a room, by who holds them."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.under_way: list[tuple[str, asyncio.Task[None]]] = []

    async def comes(self, holder: str, body: bytes = b"") -> None:
        """One more upload of a holder, once it is in its place or has none."""
        is_there = asyncio.Event()

        async def upload() -> None:
            async with self.room.place(patient(body), holder) as placed:
                async for _ in placed:
                    is_there.set()

        task = asyncio.create_task(upload())
        task.add_done_callback(lambda _: is_there.set())
        self.under_way.append((holder, task))
        await is_there.wait()
        # Whoever had to go has a turn of the loop to hear of it, and one to leave.
        for _ in range(4):
            await asyncio.sleep(0)

    @property
    def inside(self) -> Counter[str]:
        return Counter(holder for holder, task in self.under_way if not task.done())

    def refused(self) -> list[str]:
        """Who has been sent away so far; whatever else went wrong is raised."""
        found = []
        for holder, task in self.under_way:
            if task.done():
                with pytest.raises(TooManyUploads):
                    task.result()
                found.append(holder)
        return found

    async def go(self) -> None:
        for _, task in self.under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.under_way), return_exceptions=True)


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    made = Crowd(Room(8, Limits(dropped_size_max=0)))
    yield made
    await made.go()


async def test_a_few_who_hold_all_places_give_theirs_up_one_by_one_to_whoever_comes(crowd: Crowd) -> None:
    for holder in "aabbccdd":
        await crowd.comes(holder, b"x" if holder == "c" else FAST)
    assert crowd.inside == {"a": 2, "b": 2, "c": 2, "d": 2}
    await crowd.comes("e")
    assert crowd.refused() == ["c"], "the slowest of those who have most"
    await crowd.comes("e")
    assert crowd.inside == {"a": 2, "b": 2, "c": 1, "d": 2, "e": 1}, "nobody gets more than they take from"
    for holder in "fgh":
        await crowd.comes(holder)
    assert crowd.inside == dict.fromkeys("abcdefgh", 1)
    await crowd.comes("i")
    assert crowd.inside == dict.fromkeys("abcdefgh", 1), "all have the same, and nobody has had their time"


async def test_where_all_hold_the_same_whoever_is_slow_gives_the_place_up_and_whoever_keeps_a_pace_stays(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "CROWDED_SECONDS", 0.0)
    for holder in "abcdefg":
        await crowd.comes(holder, FAST)
    await crowd.comes("h", b"x")
    await crowd.comes("h")
    assert crowd.refused() == ["h"], "nobody takes from who holds as much"
    await crowd.comes("i", FAST)
    assert crowd.inside == dict.fromkeys("abcdefgi", 1)
    await crowd.comes("j")
    assert crowd.inside == dict.fromkeys("abcdefgi", 1)


async def test_time_in_which_nothing_is_read_is_not_the_senders(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CROWDED_SECONDS", 0.05)
    room, body = Room(1, Limits(dropped_size_max=0)), patient(b"x")
    async with room.place(body, "a") as placed:
        await anext(placed)
        await asyncio.sleep(0.1)
        with pytest.raises(TooManyUploads):
            async with room.place(patient(), "b"):
                pytest.fail("it has not waited for them")


async def test_what_goes_wrong_in_a_place_is_not_taken_for_its_loss() -> None:
    with pytest.raises(TimeoutError):
        async with Room(1, Limits()).place(patient(), "a"):
            raise TimeoutError
