"""The analysis in the tags of an MP3 file, where DJ programs look: tempo, key, beat grid and cue points.

Tempo and key are ID3's TBPM and TKEY (id3.org, "ID3 tag version 2.4.0 - Native Frames", 2000). Grid and cues have no
frame in the standard; Serato's GEOB objects "Serato BeatGrid" and "Serato Markers2" are what Mixxx, Serato and others
read (as described by Jan Holthaus, "Reversing Serato's GEOB tags", 2019).
"""

from __future__ import annotations

import base64
import itertools
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from adapters.ears.players import PADS, bars_of
from domain.analyses.findings import Analysis

#: Frames that are replaced: these, and objects of these descriptions.
OURS = (b"TBPM", b"TKEY")
GRID, MARKERS = b"Serato BeatGrid", b"Serato Markers2"
#: Colours of the pads, in turn, as red, green, blue.
PAD_COLOURS = ("cc0000", "cc8800", "cccc00", "00cc00", "00cccc", "0000cc", "8800cc", "cc00cc")
#: Serato breaks its base64 into lines of so many characters, and keeps room for later.
LINE, ROOM = 72, 470


class Untaggable(Exception):
    """The file cannot be given tags. The message is one sentence for the person who asked."""


def tagged(source: Path, analysis: Analysis, target: Path) -> None:
    """Copy the MP3 file at `source` to `target`, with the analysis in its ID3 tag beside all that was in it before.

    What could not be said with any certainty (no tempo, no key) is not written, and what an earlier program wrote of it
    stays. Raises `Untaggable` where `source` is no MP3 file, or has a tag that cannot be kept as it is; OSError when
    `target` cannot be written.
    """
    if source.suffix.lower() != ".mp3":
        raise Untaggable("Only MP3 files are given tags.")
    with source.open("rb") as file:
        head = file.read(10)
        version, kept = 4, []
        if head[:3] == b"ID3":
            version, flags, size = head[3], head[5], _number(head[6:10])
            if version not in {3, 4} or flags:
                raise Untaggable("The ID3 tag of this file is of a kind that cannot be added to.")
            kept = list(_frames(file.read(size), version))
        else:
            file.seek(0)
        new = _new_frames(analysis)
        replaced = {_name(name, body) for name, _, body in new}
        frames = [frame for frame in kept if _name(frame[0], frame[2]) not in replaced] + new
        tag = b"".join(_frame(name, marks, body, version) for name, marks, body in frames)
        with target.open("xb") as out:
            out.write(b"ID3" + bytes([version, 0, 0]) + _spread(len(tag)) + tag)
            shutil.copyfileobj(file, out)


Frame = tuple[bytes, bytes, bytes]


def _frames(tag: bytes, version: int) -> Iterator[Frame]:
    """(name, flags, body) of the frames of a tag, up to its padding."""
    at = 0
    while at + 10 <= len(tag) and tag[at] != 0:
        name, marks = tag[at : at + 4], tag[at + 8 : at + 10]
        size = _number(tag[at + 4 : at + 8]) if version == 4 else int.from_bytes(tag[at + 4 : at + 8], "big")
        if not name.isalnum() or at + 10 + size > len(tag):
            raise Untaggable("The ID3 tag of this file is broken.")
        yield name, marks, tag[at + 10 : at + 10 + size]
        at += 10 + size


def _frame(name: bytes, marks: bytes, body: bytes, version: int) -> bytes:
    size = _spread(len(body)) if version == 4 else len(body).to_bytes(4, "big")
    return name + size + marks + body


def _name(name: bytes, body: bytes) -> bytes:
    """What a frame is known by: its name, and of an object of Serato its description."""
    if name == b"GEOB":
        return next((ours for ours in (GRID, MARKERS) if ours + b"\0" in body[:80]), b"")
    return name if name in OURS else b""


def _new_frames(analysis: Analysis) -> list[Frame]:
    findings, detail = analysis.findings, analysis.detail
    frames: list[Frame] = []
    if findings.bpm is not None:
        # The standard asks for whole numbers; DJ programs write and read decimals.
        frames.append((b"TBPM", b"\0\0", b"\0" + f"{findings.bpm:.2f}".encode()))
    if findings.key_notation is not None:
        frames.append((b"TKEY", b"\0\0", b"\0" + findings.key_notation.encode()))
    grid = bars_of(analysis)
    if grid:
        frames.append((b"GEOB", b"\0\0", _object(GRID, _grid(grid))))
    if detail.cue_points:
        frames.append((b"GEOB", b"\0\0", _object(MARKERS, _markers(analysis))))
    return frames


def _object(description: bytes, data: bytes) -> bytes:
    return b"\0application/octet-stream\0\0" + description + b"\0" + data


def _grid(grid: list[tuple[float, float]]) -> bytes:
    """Markers with the beats until the next one, and the last with its tempo; all numbers are big-endian."""
    out = struct.pack(">HI", 0x0100, len(grid))
    for (start, bpm), (following, _) in itertools.pairwise(grid):
        out += struct.pack(">fI", start, max(1, round((following - start) * bpm / 60)))
    return out + struct.pack(">ff", *grid[-1]) + b"\0"


def _markers(analysis: Analysis) -> bytes:
    entries = b""
    for index, cue in enumerate(analysis.detail.cue_points[:PADS]):
        colour = bytes.fromhex(PAD_COLOURS[index])
        body = (
            struct.pack(">BBIB", 0, index, round(1000 * cue.seconds), 0) + colour + b"\0\0" + cue.label.encode() + b"\0"
        )
        entries += b"CUE\0" + struct.pack(">I", len(body)) + body
    encoded = base64.b64encode(b"\x01\x01" + entries + b"\0").rstrip(b"=")
    lines = b"\n".join(encoded[at : at + LINE] for at in range(0, len(encoded), LINE))
    return (b"\x01\x01" + lines).ljust(ROOM, b"\0")


def _number(four: bytes) -> int:
    """A number of seven bits to the byte."""
    return four[0] << 21 | four[1] << 14 | four[2] << 7 | four[3]


def _spread(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
