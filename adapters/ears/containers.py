"""What a file's own bytes say before any decoder sees them: which kind it is, what it promises, where its sound lies.

Decoders are generous: they clip a promise to what is there, take 24 valid bits in 32 for another coding, end where a
second stream begins, and find nothing behind a foreign tag. So the few headers that matter are read here as their
standards have them (RIFF and WAVEFORMATEXTENSIBLE, RFC 3533 for Ogg, the Xing frame of MP3, ID3v2).
"""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

#: What archives begin with. The decoder would look for music inside and play the first it finds.
ARCHIVES = (b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")

#: How healthy files begin that hold no sound, or sound of a kind for which there is no decoder here.
OTHER_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"MThd", "a MIDI file"),
    (0, b".RMF", "a RealMedia file"),
    (0, b".ra\xfd", "a RealAudio file"),
    (0, b"Creative Voice File", "a Creative Voice file"),
    (0, b"IMPM", "a tracker module"),
    (0, b"Extended Module", "a tracker module"),
    (44, b"SCRM", "a tracker module"),
    (1080, b"M.K.", "a tracker module"),
    (0, b"\x06\x0e\x2b\x34", "an MXF file"),
    (0, b"MPCK", "a Musepack file"),
    (0, b"MP+", "a Musepack file"),
    (0, b"OFR ", "an OptimFROG file"),
    (0, b"\0\0\1\xba", "an MPEG programme stream"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"SQLite format 3", "a database"),
    (0, b"\x7fELF", "a program"),
    (0, b"#EXTM3U", "a list of songs"),
    (0, b"[playlist]", "a list of songs"),
)
HEAD_BYTES = 64 * 1024
CHUNKED = frozenset({b"RIFF", b"RF64", b"FORM", b"OggS"})

#: WAVE format tags: integers, floats, and the extensible form, whose real tag is in its first two bytes.
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
#: Sizes that writers put where they do not know the length yet.
UNKNOWN_SIZES = frozenset({0, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x7FFF_F000, 0xFFFF_F000})

#: Samples in a frame of MPEG audio layer 3, by version (1, or 2 and 2.5), and rates by version and index.
MP3_SAMPLES = {3: 1152, 2: 576, 0: 576}
MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Part(NamedTuple):
    """A stretch of a file that a decoder can read as a file of its own, with bytes that were put right in it."""

    first: int
    last: int
    #: (place in the file, bytes) that are read instead of what is there.
    patches: tuple[tuple[int, bytes], ...] = ()


class Survey(NamedTuple):
    """What the bytes of a file say about themselves."""

    #: What must be shown to the decoder one after the other; empty when it may simply have the file.
    parts: tuple[Part, ...] = ()
    #: Seconds that a header promises; None where none does, or where the decoder's own reading of it is right.
    claimed_seconds: float | None = None
    #: Whether lengths that the decoder names for this file are a header's promise, and no estimate from its size.
    promises: bool = True
    #: What the file is, if it is nothing that can be read here.
    other_kind: str | None = None
    archive: bool = False


class View(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._part, self._at = file, part, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Any place in it can be gone to."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted from the start, from here, or from the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._part.last - self._part.first}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes from here on."""
        start = self._part.first + self._at
        left = max(0, self._part.last - start)
        self._file.seek(start)
        found = self._file.read(left if size < 0 else min(size, left))
        self._at += len(found)
        for place, right in self._part.patches:
            low, high = max(place, start), min(place + len(right), start + len(found))
            if low < high:
                found = found[: low - start] + right[low - place : high - place] + found[high - start :]
        return found


def survey(path: Path) -> Survey:
    """Read the headers of the file at `path`; raises OSError when it cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head.startswith(ARCHIVES):
            return Survey(archive=True)
        tag = _tag_bytes(head)
        if tag:
            file.seek(tag)
            # Where a tag is in front of a file that knows none, what matters begins behind it.
            head = file.read(HEAD_BYTES)
        if head[:4] in CHUNKED:
            return _chunked(file, head, tag, size)
        if (frame := _mp3_frame(head)) is not None:
            claimed = _xing_seconds(head, frame)
            return Survey(claimed_seconds=claimed, promises=False)
        for at, magic, name in OTHER_KINDS:
            if head[at : at + len(magic)] == magic:
                return Survey(other_kind=name)
        # Raw frames without a header of the whole: lengths of these are guessed from the size of the file.
        bare = head[:2] in {b"\x0b\x77", b"\x77\x0b"} or head[:2] in {b"\xff\xf1", b"\xff\xf9"} or head[:5] == b"#!AMR"
        bare = bare or head[:4] in {b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80"} or head[:1] == b"\x47"
        return Survey(promises=not bare)


def _chunked(file: BinaryIO, head: bytes, base: int, size: int) -> Survey:
    """A file that begins at `base` and is made of chunks or pages."""
    found = Survey()
    if head[:4] in {b"RIFF", b"RF64"}:
        found = _wave(file, head, base, size)
    elif head[:4] == b"OggS":
        found = _ogg(file, base, size)
    return found if found.parts or not base else found._replace(parts=(Part(base, size),))


def _tag_bytes(head: bytes) -> int:
    """How long the ID3v2 tags in front are; 0 without one."""
    at = 0
    while head[at : at + 3] == b"ID3" and len(head) >= at + 10:
        length = sum((head[at + 6 + place] & 127) << shift for place, shift in enumerate((21, 14, 7, 0)))
        at += 10 + length + (10 if head[at + 5] & 0x10 else 0)
    return at


def _wave(file: BinaryIO, head: bytes, base: int, size: int) -> Survey:
    """A RIFF or RF64 file whose header begins at `base`: valid bits put right, and the length it promises."""
    if head[8:12] != b"WAVE":
        return Survey()
    patches: tuple[tuple[int, bytes], ...] = ()
    per_second, data, large = 0, None, None
    at = base + 12
    while True:
        file.seek(at)
        name, length = file.read(4), file.read(4)
        if len(length) < 4:
            break
        (length_bytes,) = struct.unpack("<I", length)
        if name == b"ds64":
            large = struct.unpack("<QQ", file.read(16))[1] if length_bytes >= 16 else None
        elif name == b"fmt " and length_bytes >= 16:
            form = file.read(min(length_bytes, 40))
            if len(form) < 16:
                break
            tag, channels, rate, byte_rate, block, bits = struct.unpack("<HHIIHH", form[:16])
            if tag == EXTENSIBLE and len(form) >= 26:
                valid = struct.unpack("<H", form[18:20])[0]
                tag = struct.unpack("<H", form[24:26])[0]
                if tag == PCM and 0 < valid < bits and channels and block == channels * bits // 8:
                    # Valid bits are the upper ones of the container (WAVEFORMATEXTENSIBLE): it reads as if all were.
                    patches = ((at + 8 + 18, struct.pack("<H", bits)),)
            per_second = block * rate if tag in {PCM, FLOAT} else byte_rate
        elif name == b"data":
            data = length_bytes if large is None or length_bytes != 0xFFFF_FFFF else large
            break
        at += 8 + length_bytes + length_bytes % 2
    claimed = data / per_second if data is not None and data not in UNKNOWN_SIZES and per_second else None
    parts = (Part(base, size, patches),) if patches or base else ()
    return Survey(parts=parts, claimed_seconds=claimed, promises=False)


def _ogg(file: BinaryIO, base: int, size: int) -> Survey:
    """An Ogg file that begins at `base`, with each link of a chain as a part of its own (RFC 3533, section 4)."""
    starts, at, begun = [base], base, True
    while at < size:
        file.seek(at)
        page = file.read(27)
        if len(page) < 27 or page[:4] != b"OggS":
            break  # Damage: the decoder finds its way, and what follows belongs to the last link.
        if page[5] & 2 and not begun:
            starts.append(at)
        begun = bool(page[5] & 2)
        lengths = file.read(page[26])
        at += 27 + len(lengths) + sum(lengths)
    if len(starts) == 1 and not base:
        return Survey(promises=False)
    edges = [*starts, size]
    return Survey(parts=tuple(Part(first, last) for first, last in itertools.pairwise(edges)), promises=False)


def _mp3_frame(head: bytes) -> int | None:
    """Where the first frame of MPEG audio begins; None where the file does not begin with one, padding aside."""
    at = len(head) - len(head.lstrip(b"\0"))
    frame = head[at : at + 4]
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate, bits = (frame[1] >> 3) & 3, (frame[1] >> 1) & 3, (frame[2] >> 2) & 3, frame[2] >> 4
    return at if version != 1 and layer != 0 and rate != 3 and bits != 15 else None


def _xing_seconds(head: bytes, at: int) -> float | None:
    """The length that the Xing, Info or VBRI frame of an MP3 promises; None without one."""
    version, rate = (head[at + 1] >> 3) & 3, (head[at + 2] >> 2) & 3
    mono = head[at + 3] >> 6 == 3
    place = at + 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))
    frames = 0
    if head[place : place + 4] in {b"Xing", b"Info"} and len(head) >= place + 12:
        flags = int.from_bytes(head[place + 4 : place + 8], "big")
        frames = int.from_bytes(head[place + 8 : place + 12], "big") if flags & 1 else 0
    elif head[at + 36 : at + 40] == b"VBRI" and len(head) >= at + 54:
        frames = int.from_bytes(head[at + 50 : at + 54], "big")
    return frames * MP3_SAMPLES[version] / MP3_RATES[version][rate] if frames else None
