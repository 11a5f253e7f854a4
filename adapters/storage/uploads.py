"""A file on its way in: multipart/form-data read piece by piece, and a look at its first bytes to see if it is audio.

Nothing here opens a socket or a file: bytes come from an iterator, and the one file goes to whoever stores it, in the
pieces in which it arrived. What is read is never more than what has been stored, but for the first few kilobytes.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import islice
from typing import Generic, Literal, TypeAlias, TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace
from multipart import (  # type: ignore[import-untyped]  # it ships no types; what we take from it is typed below
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from adapters.provides import provides
from adapters.storage import settings
from commands.ports import Blobs, Stored
from commands.settings import Files
from domain.kernel import Forbidden, Invalid, Refusal, TooLarge, Unavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)

AudioFormat: TypeAlias = Literal["mp3", "wav", "flac", "ogg", "aac", "m4a", "aiff"]
#: What browsers are told that each of them is.
MEDIA_TYPES: dict[str, str] = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "aiff": "audio/aiff",
}

#: And how names of what is of such a type end.
AUDIO_ENDINGS = {media_type: ending for ending, media_type in MEDIA_TYPES.items()}

#: How much of a file `sniff_audio` should see, if there is so much.
HEAD_BYTES = 32 * 1024

FILE_FIELD = "file"


class UploadTooLarge(TooLarge):
    """The file is larger than what may be uploaded."""


class MalformedUpload(Invalid):
    """The upload is not proper multipart/form-data: {problem}."""


class NoFile(Invalid):
    """There is no file. Send it as the field "file" of multipart/form-data."""


class NotAudio(Invalid):
    """The file is not audio of a kind we know. Send MP3, WAV, FLAC, OGG, AAC, M4A or AIFF."""


class UploadStalled(Invalid):
    """The upload stopped before its end, or came too slowly."""


class NotAsAnnounced(Forbidden):
    """This link takes a recording of {announced}. Ask for another link for this one."""


class TooManyUploads(Unavailable):
    """Too many recordings are being uploaded at once, by all or by you. Try again in {retry_after_seconds} seconds."""


#: What a client is told to wait when there is no room: most uploads take no longer.
ROOM_AGAIN_SECONDS = 5
#: Who sends less than so many bytes in a second of our waiting gives the place up when none is left, but not before
#: so many seconds: half a megabit in a second, twice the least pace.
CROWDED_PACE_BYTES = 64 * 1024
CROWDED_SECONDS = 15.0


class Room:
    """So many uploads at once in one process, because each holds memory, a connection to the store and its threads.

    One holder has a quarter of the places at most. When all are taken, whoever comes with fewer than others hold gets
    one of theirs, by max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2): an upload keeps its place for
    half an hour if it likes, so places that are only not given away would be nobody's for as long. Where all hold the
    same, the slowest goes, if it is slow. An upload that has lost its place is told to come again.
    """

    def __init__(self, places: int, limits: Limits) -> None:
        self._places = places
        self._each = max(1, places // 4)
        self._limits = limits
        self._held: Counter[str] = Counter()
        self._uploads: set[_Upload] = set()

    @asynccontextmanager
    async def place(self, body: AsyncIterator[bytes], holder: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """A place for one upload, and its body to be read in it.

        TooManyUploads is raised without a place, after the body was dropped, and when somebody else is given it.
        """
        if self._held[holder] >= self._each or not (len(self._uploads) < self._places or self._make_room(holder)):
            await drop(body, self._limits)
            raise TooManyUploads(retry_after_seconds=ROOM_AGAIN_SECONDS)
        try:
            async with asyncio.timeout(None) as clock:
                upload = _Upload(body, holder, clock)
                self._uploads.add(upload)
                self._held[holder] += 1
                try:
                    yield upload.chunks()
                finally:
                    self._leave(upload)
        except TimeoutError:
            if clock.expired():
                raise TooManyUploads(retry_after_seconds=ROOM_AGAIN_SECONDS) from None
            raise

    def _make_room(self, holder: str) -> bool:
        """Take a place from somebody for this holder; False where nobody has one too many."""
        mine = self._held[holder]
        others = [each for each in self._uploads if self._held[each.holder] > mine]
        most = max((self._held[each.holder] for each in others), default=0)
        if most > mine + 1:
            others = [each for each in others if self._held[each.holder] == most]
        else:
            others = [each for each in others if each.is_slow]
        if not others:
            return False
        slowest = min(others, key=lambda each: each.pace)
        log.info("upload.displaced", holder=slowest.holder, received=slowest.received)
        slowest.clock.reschedule(asyncio.get_running_loop().time())
        self._leave(slowest)
        return True

    def _leave(self, upload: _Upload) -> None:
        if upload not in self._uploads:
            return
        self._uploads.remove(upload)
        self._held[upload.holder] -= 1
        if not self._held[upload.holder]:
            del self._held[upload.holder]


class _Upload:
    """One upload in its place: who holds it, how fast it comes, and the clock that ends it."""

    def __init__(self, body: AsyncIterator[bytes], holder: str, clock: asyncio.Timeout) -> None:
        self.holder = holder
        self.clock = clock
        self.received = 0
        self._body = body
        self._now = asyncio.get_running_loop().time
        self._waited = 0.0
        self._waits_since: float | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; only while we wait for it its sender's time goes by, and not while it is stored."""
        while True:
            self._waits_since = self._now()
            try:
                chunk = await anext(self._body, None)
            finally:
                self._waited, self._waits_since = self._seconds_waited, None
            if chunk is None:
                return
            self.received += len(chunk)
            yield chunk

    @property
    def _seconds_waited(self) -> float:
        return self._waited + (0.0 if self._waits_since is None else self._now() - self._waits_since)

    @property
    def pace(self) -> float:
        """Bytes in each second that we have waited."""
        return self.received / max(self._seconds_waited, 0.001)

    @property
    def is_slow(self) -> bool:
        """Whether it has had its time and made too little of it."""
        return self._seconds_waited >= CROWDED_SECONDS and self.pace < CROWDED_PACE_BYTES


class Limits(Struct, frozen=True, kw_only=True):
    """What an upload may cost us."""

    file_size_max: int = 50 * 1024 * 1024
    parts_max: int = 16
    field_size_max: int = 8 * 1024
    header_size_max: int = 4 * 1024
    #: How long we wait for the next bytes.
    stall_seconds_max: float = 30.0
    #: How long we wait in all, and for how many bytes one second more: whoever sends a byte now and then is left, too.
    #: At this least pace, a quarter of a megabit in a second, the largest file comes within half an hour.
    grace_seconds_max: float = 60.0
    pace_bytes_min: int = 32 * 1024
    #: Of a refused upload, so much is still read and dropped, because most clients listen only after they have spoken.
    dropped_size_max: int = 64 * 1024 * 1024

    @property
    def body_size_max(self) -> int:
        """What the whole body may measure: the file, and everything else at its largest."""
        return self.file_size_max + self.parts_max * (self.field_size_max + 8 * self.header_size_max)


class FilePart(Struct, frozen=True, kw_only=True):
    """What an upload says about its file, and what its first bytes say."""

    filename: str | None
    content_type: str | None
    format: str


class Received(Struct, Generic[T], frozen=True, kw_only=True):
    """A whole upload: its text fields, its file, and what storing the file gave."""

    fields: dict[str, str]
    file: FilePart
    stored: T


async def read_upload(
    content_type: str | None,
    body: AsyncIterator[bytes],
    store: Callable[[FilePart, AsyncIterator[bytes]], Awaitable[T]],
    discard: Callable[[T], Awaitable[None]],
    *,
    limits: Limits | None = None,
    content_length: int | None = None,
    sniff: Callable[[bytes], str | None] | None = None,
) -> Received[T]:
    """Read a form with one audio file in the field `file`, handing the file on while it arrives.

    `sniff` says of its first bytes what it is, or None when it is nothing that is taken: audio of a kind, if not told
    otherwise.

    Fields may come before or after the file. When the upload turns out to be wrong after the file has been stored,
    `discard` is given what `store` returned. Raises UploadTooLarge, MalformedUpload, NoFile, NotAudio, UploadStalled,
    and whatever `store` raises.
    """
    reading = _Reading(body, limits or Limits(), store, discard, sniff or sniff_audio)
    try:
        return await reading.whole(content_type, content_length)
    except Refusal as refusal:
        if not isinstance(refusal, UploadStalled):
            await reading.drop_rest()
        raise


class Uploads:
    """Takes uploads of recordings into the object store, so many at once."""

    def __init__(self, blobs: Blobs, *, places: int, size_max: int) -> None:
        self._blobs = blobs
        self._limits = Limits(file_size_max=size_max)
        self._room = Room(places, self._limits)

    async def receive(
        self, content_type: str | None, length: int | None, body: AsyncIterator[bytes], key: str, holder: str
    ) -> Received[Stored]:
        """Read an upload of a holder and store its file under a key; raises what `read_upload` does."""

        async def store(file: FilePart, chunks: AsyncIterator[bytes]) -> Stored:
            return await self._blobs.put_stream(
                key, chunks, content_type=MEDIA_TYPES[file.format], size_max=self._limits.file_size_max
            )

        async def discard(_: Stored) -> None:
            await self._blobs.delete(key)

        async with self._room.place(body, holder) as placed:
            return await read_upload(content_type, placed, store, discard, limits=self._limits, content_length=length)

    async def take(
        self,
        body: AsyncIterator[bytes],
        key: str,
        holder: str,
        *,
        content_type: str,
        size: int | None,
        still_wanted: Callable[[], Awaitable[None]],
    ) -> Stored:
        """Store a body of a holder as it comes, of exactly this size if one is given, under a key.

        `still_wanted` is asked when the body is here, which may be long after it was announced; what it raises is
        raised, and nothing stays. Raises UploadTooLarge, NotAsAnnounced, UploadStalled, TooManyUploads, and what the
        store does.
        """

        async def chunks(placed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            incoming = _Incoming(placed, self._limits)
            received = 0
            while (chunk := await incoming.next_chunk()) is not None:
                received += len(chunk)
                self.check_announced(received, size, so_far=True)
                yield chunk
            self.check_announced(received, size)
            await still_wanted()

        async with self._room.place(body, holder) as placed:
            return await self._blobs.put_stream(
                key, chunks(placed), content_type=content_type, size_max=self._limits.file_size_max
            )

    @asynccontextmanager
    async def place(self, body: AsyncIterator[bytes], holder: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """A place for a body of any size that somebody else stores, and the body at no less than the least pace.

        Raises TooManyUploads; reading it, UploadStalled.
        """
        async with self._room.place(body, holder) as placed:
            yield within(replace(self._limits, file_size_max=sys.maxsize), placed)

    def check_announced(self, received: int, size: int | None, *, so_far: bool = False) -> None:
        """Refuse a body of so many bytes, or one that has so many so far: NotAsAnnounced, UploadTooLarge."""
        if size is not None and (received > size if so_far else received != size):
            raise NotAsAnnounced(announced=f"{size} bytes")
        if received > self._limits.file_size_max:
            raise UploadTooLarge(size_max=self._limits.file_size_max)


@provides
def uploads(blobs: Blobs, files: Files, settings: settings.Uploads) -> Uploads:
    """What takes uploads."""
    return Uploads(blobs, places=settings.uploads_at_once_max, size_max=files.upload_bytes_max)


class _Part(Struct, frozen=True):
    """The head of one part of the form."""

    name: str
    filename: str | None
    content_type: str | None


#: A part begins, some of its bytes, it ends.
_Event: TypeAlias = _Part | bytes | None


class _Reading(Generic[T]):
    """One upload being read."""

    def __init__(
        self,
        body: AsyncIterator[bytes],
        limits: Limits,
        store: Callable[[FilePart, AsyncIterator[bytes]], Awaitable[T]],
        discard: Callable[[T], Awaitable[None]],
        sniff: Callable[[bytes], str | None],
    ) -> None:
        self._body = _Incoming(body, limits)
        self._sniff = sniff
        self._limits = limits
        self._store = store
        self._discard = discard
        self._file: tuple[FilePart, T] | None = None
        self._fields: dict[str, str] = {}

    async def whole(self, content_type: str | None, content_length: int | None) -> Received[T]:
        parser = PushMultipartParser(
            _boundary(content_type),
            max_header_size=self._limits.header_size_max,
            max_segment_count=self._limits.parts_max,
        )
        if (content_length or 0) > self._limits.body_size_max:
            raise UploadTooLarge(size_max=self._limits.file_size_max)
        try:
            async with aclosing(self._events(parser)) as events:
                await self._parts(events)
        except BaseException:
            if self._file is not None:
                await self._discard(self._file[1])
            raise
        if self._file is None:
            raise NoFile(loc=("body", FILE_FIELD))
        return Received(fields=self._fields, file=self._file[0], stored=self._file[1])

    async def _parts(self, events: AsyncIterator[_Event]) -> None:
        async for part in events:
            assert isinstance(part, _Part)
            if part.name != FILE_FIELD:
                await self._take_field(part, events)
            elif self._file is None:
                await self._take_file(part, events)
            else:
                raise MalformedUpload(problem="it has more than one file")

    async def _take_field(self, part: _Part, events: AsyncIterator[_Event]) -> None:
        if part.filename is not None:
            raise MalformedUpload(problem='only the field "file" may be a file')
        if part.name in self._fields:
            raise MalformedUpload(problem="a field is there twice")
        value = bytearray()
        async for chunk in _content(events):
            value += chunk
            if len(value) > self._limits.field_size_max:
                raise MalformedUpload(problem="a field is too long")
        try:
            self._fields[part.name] = value.decode()
        except UnicodeDecodeError:
            raise MalformedUpload(problem="a field is not UTF-8 text") from None

    async def _take_file(self, part: _Part, events: AsyncIterator[_Event]) -> None:
        content = self._sized(_content(events))
        head: list[bytes] = []
        while sum(map(len, head)) < HEAD_BYTES and (chunk := await anext(content, None)) is not None:
            head.append(chunk)
        kind = self._sniff(b"".join(head))
        if kind is None:
            raise NotAudio(loc=("body", FILE_FIELD))
        file = FilePart(filename=part.filename, content_type=part.content_type, format=kind)
        self._file = (file, await self._store(file, _chained(head, content)))
        async for _ in content:  # whoever stores may have had enough before the end
            pass

    async def _sized(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._limits.file_size_max:
                raise UploadTooLarge(size_max=self._limits.file_size_max)
            yield chunk

    async def _events(self, parser: PushMultipartParser) -> AsyncGenerator[_Event, None]:
        received = 0
        try:
            while (chunk := await self._body.next_chunk()) is not None:
                received += len(chunk)
                if received > self._limits.body_size_max:
                    raise UploadTooLarge(size_max=self._limits.file_size_max)
                if chunk:  # an empty one would mean the end to the parser
                    for event in parser.parse(chunk):
                        yield _event(event)
            parser.close()
        except ParserLimitReached:
            raise MalformedUpload(problem="it has too many parts, or too long headers") from None
        except MultipartError:
            raise MalformedUpload(problem="its parts are damaged or it ends too early") from None

    async def drop_rest(self) -> None:
        await self._body.drop()


async def within(limits: Limits, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body that is a file itself, as it comes; raises UploadTooLarge, UploadStalled."""
    incoming = _Incoming(body, limits)
    size = 0
    while (chunk := await incoming.next_chunk()) is not None:
        size += len(chunk)
        if size > limits.file_size_max:
            raise UploadTooLarge(size_max=limits.file_size_max)
        yield chunk


async def drop(body: AsyncIterator[bytes], limits: Limits) -> None:
    """Read what comes and keep none of it, within limits."""
    await _Incoming(body, limits).drop()


class _Incoming:
    """A body as it comes, and how long its sender has kept us waiting; the store's time is not counted."""

    def __init__(self, body: AsyncIterator[bytes], limits: Limits) -> None:
        self._body = body
        self._limits = limits
        self._received = 0
        self._waited = 0.0

    async def next_chunk(self) -> bytes | None:
        """The next bytes, or None at the end; UploadStalled when they take too long."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._timeout):
                chunk = await anext(self._body, None)
        except TimeoutError:
            raise UploadStalled from None
        self._waited += clock() - began
        self._received += len(chunk or b"")
        return chunk

    @property
    def _timeout(self) -> float:
        earned = self._limits.grace_seconds_max + self._received / self._limits.pace_bytes_min
        return max(0.0, min(self._limits.stall_seconds_max, earned - self._waited))

    async def drop(self) -> None:
        """Read what is left and keep none of it, within limits."""
        dropped = 0
        with suppress(UploadStalled):
            while dropped < self._limits.dropped_size_max and (chunk := await self.next_chunk()) is not None:
                dropped += len(chunk)


def _event(event: object) -> _Event:
    match event:
        case MultipartSegment():
            return _Part(str(event.name or ""), event.filename, event.content_type)
        case bytes() | bytearray():
            return bytes(event)
        case _:
            return None


async def _content(events: AsyncIterator[_Event]) -> AsyncIterator[bytes]:
    """The bytes of the part whose headers have just been read."""
    async for event in events:
        if event is None:
            return
        assert isinstance(event, bytes)
        yield event


async def _chained(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while head:
        yield head.pop(0)
    async for chunk in rest:
        yield chunk


def _boundary(content_type: str | None) -> str:
    kind, options = parse_options_header(content_type or "")
    boundary = str(options.get("boundary", ""))
    if kind != "multipart/form-data":
        raise NoFile(loc=("body", FILE_FIELD))
    if not 1 <= len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise MalformedUpload(problem="its boundary is missing or unusable")
    return boundary


# --- what the first bytes say -----------------------------------------------------------------------------------------

_ISO_IMAGES = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"crx ", b"jp2 ", b"jxl "})

_MAGIC: dict[bytes, AudioFormat] = {b"fLaC": "flac", b"OggS": "ogg", b"ADIF": "aac"}
_SYNC = re.compile(rb"(?=\xff[\xe0-\xff])")

# What a hostile file may make us try.
_ID3_TAGS_MAX = 8
_SYNCS_MAX = 2000

#: kbit/s by MPEG version (1, else 2 and 2.5) and layer, for the bit rate indices 1 to 14 (ISO 11172-3, 13818-3).
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44_100, 48_000, 32_000)


def sniff_audio(head: bytes) -> AudioFormat | None:
    """What kind of audio begins like this, by content and not by name; wants the first HEAD_BYTES.

    Zero bytes and ID3 tags in front are passed over, and MPEG frames are also found behind other rubbish. MPEG audio
    and ADTS have no magic number worth the name, so a run of frames that fit together is asked for; free-format MPEG
    audio, which does not tell its frame length, is not recognised.
    """
    found = _by_magic(head)  # before the zero bytes are stripped, because an MP4 box begins with some
    if found is not None:
        return found
    rest = head.lstrip(b"\0")
    tags = 0
    while tags < _ID3_TAGS_MAX and (size := _id3_bytes(rest)):
        rest = rest[size:].lstrip(b"\0")
        tags += 1
    # Hardly anything but MP3 wears a tag so long that its audio is out of sight.
    return _by_magic(rest) or _by_frames(rest) or ("mp3" if tags and len(rest) < 4096 else None)


def _by_magic(head: bytes) -> AudioFormat | None:
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _ISO_IMAGES else "m4a"
    match head[:4], head[8:12]:
        case ((b"RIFF" | b"RF64" | b"BW64" | b"RIFX"), b"WAVE"):
            return "wav"
        case b"FORM", (b"AIFF" | b"AIFC"):
            return "aiff"
    return _MAGIC.get(head[:4])


def _id3_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that begins here: ten bytes, with the size in four seven-bit ones, and a footer."""
    if len(head) < 10 or not head.startswith(b"ID3") or 0xFF in head[3:5] or any(byte & 0x80 for byte in head[6:10]):
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)


def _by_frames(head: bytes) -> AudioFormat | None:
    for match in islice(_SYNC.finditer(head), _SYNCS_MAX):
        # Two frames that fit together at the beginning, three anywhere else, where chance has more tries.
        found = _run_of_frames(head, match.start(), 2 if match.start() == 0 else 3)
        if found is not None:
            return found
    return None


def _run_of_frames(head: bytes, position: int, count: int) -> AudioFormat | None:
    first = _frame(head[position : position + 7])
    this = first
    for _ in range(count - 1):
        if first is None or this is None:
            return None
        position += this.size
        this = _frame(head[position : position + 7])
        if this is None or this.kind != first.kind:
            return None
    return None if first is None else first.format


class _Frame(Struct, frozen=True):
    format: AudioFormat
    kind: tuple[int, ...]
    size: int


def _frame(header: bytes) -> _Frame | None:
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    if header[1] & 0xF6 == 0xF0:
        return _adts_frame(header)
    return _mpeg_frame(header)


def _adts_frame(header: bytes) -> _Frame | None:
    """ISO 13818-7: twelve bits of sync, layer zero, the sample rate index, thirteen bits of frame length."""
    rate = header[2] >> 2 & 0xF
    size = (header[3] & 0x3) << 11 | header[4] << 3 | header[5] >> 5
    if rate > 12 or size < 8:
        return None
    return _Frame("aac", (header[1] & 0x8, header[2] >> 6, rate), size)


def _mpeg_frame(header: bytes) -> _Frame | None:
    """ISO 11172-3: eleven bits of sync, version, layer, bit rate and sample rate indices, padding."""
    version, layer = header[1] >> 3 & 0x3, 4 - (header[1] >> 1 & 0x3)
    bit_rate, sample_rate, padding = header[2] >> 4, header[2] >> 2 & 0x3, header[2] >> 1 & 0x1
    if version == 1 or layer == 4 or bit_rate in {0, 15} or sample_rate == 3:
        return None
    first = version == 3
    bits = _BIT_RATES[1 if first else 2, layer][bit_rate - 1] * 1000
    samples = _SAMPLE_RATES[sample_rate] >> (0 if first else 1 if version == 2 else 2)
    if layer == 1:
        size = (12 * bits // samples + padding) * 4
    else:
        size = (144 if first or layer == 2 else 72) * bits // samples + padding
    return _Frame("mp3", (version, layer, sample_rate), size)
