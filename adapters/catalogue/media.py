"""Artwork and audio of releases: taken in, looked at, kept, and packed up for delivery."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import struct
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeVar

from adapters.catalogue.ern import Message, duration, written
from adapters.catalogue.words import inert
from adapters.provides import provides
from adapters.storage.settings import Uploads
from adapters.storage.uploads import HEAD_BYTES, Limits, NotAudio, Room, sniff_audio, within
from commands.catalogue.settings import Releases
from commands.ports import Blobs, Stat, pieces
from domain.catalogue.releases import Artwork, Audio, NotAnImage

MEDIA = {"jpeg": "image/jpeg", "png": "image/png"}


Kind = TypeVar("Kind", Artwork, Audio)


class Media:
    """Takes artwork and audio in, so many at once, and packs what was kept."""

    def __init__(self, blobs: Blobs, *, places: int, artwork_size_max: int, audio_size_max: int) -> None:
        self._blobs = blobs
        self._artwork = Limits(file_size_max=artwork_size_max)
        self._audio = Limits(file_size_max=audio_size_max, dropped_size_max=audio_size_max)
        self._room = Room(places, self._audio)

    async def keep_artwork(self, body: AsyncIterator[bytes], holder: str, prefix: str) -> Artwork:
        """Keep a front cover under a prefix and its digest. Raises NotAnImage, and what uploads raise."""
        return await self._keep(Artwork, _image, self._artwork, body, holder, f"{prefix}artwork/")

    async def keep_audio(self, body: AsyncIterator[bytes], holder: str, prefix: str) -> Audio:
        """Keep the audio of a recording under a prefix and its digest. Raises NotAudio, and what uploads raise."""
        return await self._keep(Audio, _sound, self._audio, body, holder, f"{prefix}audio/")

    async def _keep(
        self,
        kind: type[Kind],
        look: Callable[[IO[bytes]], _Image | _Sound],
        limits: Limits,
        body: AsyncIterator[bytes],
        holder: str,
        prefix: str,
    ) -> Kind:
        with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
            path, digest = Path(directory) / "received", hashlib.sha256()
            with path.open("wb") as file:
                async with self._room.place(body, holder) as placed:
                    async for chunk in within(limits, placed):
                        digest.update(chunk)
                        file.write(chunk)
                size, sha256 = file.tell(), digest.hexdigest()
            found = await asyncio.to_thread(_looked_at, path, look)
            key, content_type = f"{prefix}{sha256}", MEDIA.get(found.format, "application/octet-stream")
            await self._blobs.put_stream(key, pieces(path), content_type=content_type, size_max=size + 1)
        return kind(object_key=key, sha256=sha256, size=size, **found._asdict())

    async def package(self, message: Message, folder: str) -> AsyncIterator[bytes]:
        """A delivery as one ZIP, made as it is read: audio, artwork, the metadata as CSV and as ERN.

        Raises NotFound before the first byte where an object is not there any more.
        """
        named: list[tuple[str, Artwork | Audio | None]] = [(message.artwork_filename, message.artwork)]
        named += [(track.filename, track.audio) for track in message.tracks]
        kept = [(name, await self._blobs.stat(each.object_key)) for name, each in named if each is not None]
        return self._packed(message, folder, kept)

    async def _packed(self, message: Message, folder: str, kept: Sequence[tuple[str, Stat]]) -> AsyncIterator[bytes]:
        to = _Ahead()
        # Audio and pictures are as small as they get.
        with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as packed:
            packed.writestr(f"{folder}/{folder}.xml", written(message))
            packed.writestr(f"{folder}/metadata.csv", metadata(message))
            for name, found in kept:
                about = zipfile.ZipInfo(f"{folder}/{name}", message.created_at.timetuple()[:6])
                about.file_size, about.external_attr = found.size, 0o600 << 16
                with packed.open(about, "w") as entry:
                    async for piece in self._blobs.read(found):
                        entry.write(piece)
                        yield to.take()
        yield to.take()


def _looked_at(path: Path, look: Callable[[IO[bytes]], _Image | _Sound]) -> _Image | _Sound:
    with path.open("rb") as file:
        return look(file)


class _Ahead(io.RawIOBase):
    """What was packed and not sent yet: nothing of it can be gone back to."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._packed += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._packed)
        self._packed.clear()
        return taken


COLUMNS = (
    "disc", "track", "isrc", "title", "version", "artist", "duration", "loudness_lufs", "explicit", "credits",
    "file", "release", "release_version", "release_artist", "release_type", "label", "upc", "catalog_number",
    "genre", "language", "release_date", "original_release_date", "copyright_p", "copyright_c", "territories",
)  # fmt: skip


def metadata(message: Message) -> str:
    """The metadata of a delivery, a row for each track."""
    details = message.details
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, track in enumerate(message.tracks, 1):
        said, recording = track.said, track.recording
        row = (
            said.disc, number, said.isrc, recording.title, said.version, recording.artist,
            duration(recording.duration_ms) if recording.duration_ms else None, recording.loudness_lufs,
            said.explicit,
            "; ".join(f"{each.name} ({each.role})" for each in said.credits), track.filename, details.title,
            details.version, details.artist, details.release_type, details.label, details.upc, details.catalog_number,
            details.genre, details.language, message.release_date, details.original_release_date, details.copyright_p,
            details.copyright_c, " ".join(details.territories),
        )  # fmt: skip
        writer.writerow([inert("" if each is None else str(each)) for each in row])
    return file.getvalue()


# --- what a file is, by its first bytes -------------------------------------------------------------------------------


class _Image(NamedTuple):
    format: Literal["jpeg", "png"]
    width: int
    height: int


def _image(file: IO[bytes]) -> _Image:
    head = file.read(24)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) == 24:
        return _sized("png", *struct.unpack(">II", head[16:24]))
    if head[:3] == b"\xff\xd8\xff":
        file.seek(2)
        while True:
            marker = file.read(4)
            if len(marker) < 4 or marker[0] != 0xFF:
                raise NotAnImage
            kind, length = marker[1], int.from_bytes(marker[2:])
            # Frames (SOF0 to SOF15) have the size; DHT, JPG and DAC share their range and are none.
            if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
                frame = file.read(5)
                if len(frame) < 5:
                    raise NotAnImage
                height, width = struct.unpack(">HH", frame[1:5])
                return _sized("jpeg", width, height)
            if kind in (0xD9, 0xDA) or length < 2:
                raise NotAnImage
            file.seek(length - 2, 1)
    raise NotAnImage


def _sized(form: Literal["jpeg", "png"], width: int, height: int) -> _Image:
    if not (0 < width <= 65_535 and 0 < height <= 65_535):
        raise NotAnImage
    return _Image(form, width, height)


class _Sound(NamedTuple):
    format: str
    sample_rate: int | None = None
    bits: int | None = None
    channels: int | None = None


def _sound(file: IO[bytes]) -> _Sound:
    head = file.read(HEAD_BYTES)
    form = sniff_audio(head)
    if form is None:
        raise NotAudio
    if form == "wav" and (at := head.find(b"fmt ")) > 0 and len(head) >= at + 24:
        channels, rate = struct.unpack("<HI", head[at + 10 : at + 16])
        (bits,) = struct.unpack("<H", head[at + 22 : at + 24])
        return _Sound(form, rate, bits, channels)
    if form == "flac" and head[:4] == b"fLaC" and len(head) >= 26:
        # STREAMINFO: 20 bits of sample rate, 3 of channels less one, 5 of bits less one.
        packed = int.from_bytes(head[18:22])
        return _Sound(form, packed >> 12, (packed >> 4 & 0x1F) + 1, (packed >> 9 & 0x7) + 1)
    if form == "aiff" and (at := head.find(b"COMM")) > 0 and len(head) >= at + 26:
        channels, _, bits = struct.unpack(">hIh", head[at + 8 : at + 16])
        exponent, mantissa = struct.unpack(">HQ", head[at + 16 : at + 26])
        rate = mantissa >> max(0, 63 - (exponent - 16_383))
        return _Sound(form, int(rate), bits, channels)
    return _Sound(form)


def filenames(isrcs: Sequence[str], formats: Sequence[str | None]) -> list[str]:
    """What the files of a delivery's tracks are called: their place, their ISRC and their kind."""
    return [
        f"resources/{number:02d}_{isrc}.{form or 'missing'}"
        for number, (isrc, form) in enumerate(zip(isrcs, formats, strict=True), 1)
    ]


@provides
def media(blobs: Blobs, releases: Releases, uploads: Uploads) -> Media:
    """What takes artwork and audio in."""
    return Media(
        blobs,
        places=uploads.uploads_at_once_max,
        artwork_size_max=releases.artwork_bytes_max,
        audio_size_max=releases.release_audio_bytes_max,
    )
