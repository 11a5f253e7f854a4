"""The analysis for those who play it: cue points, a click track to hear it by, collections for rekordbox and Traktor.

rekordbox's XML is the one that Pioneer documents for developers ("rekordbox XML format list", DJ_PLAYLISTS 1.0.0).
Traktor's has no public document; what is written here is what its collections of version 19 hold and Mixxx reads.
"""

from __future__ import annotations

import itertools
import math
import os
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as Xml

import numpy as np
from numpy.typing import NDArray

from adapters.ears.decode import open_audio
from adapters.ears.key import NOTE_NAMES
from adapters.ears.listening import shown
from domain.analyses.findings import Analysis, Cue, Section

Samples = NDArray[np.float32]

#: A section's start is moved to the nearest first beat of a bar within so many seconds.
CUE_SECONDS = 2.5
#: How loud the music is under the clicks, and the clicks themselves.
MUSIC_GAIN, CLICK_GAIN = 0.6, 0.5
CLICK_SECONDS = 0.03
#: Hertz of the click on beats, and of that on the first of a bar.
BEAT_HERTZ, BAR_HERTZ = 1000.0, 1600.0
#: Cue points that players put on pads; more of them become memory cues.
PADS = 8
#: What a marker of Traktor is.
CUE_MARKER, GRID_MARKER = 0, 4


def cue_points(sections: Sequence[Section], downbeats: Sequence[float]) -> tuple[Cue, ...]:
    """Where each section begins, on the first beat of a bar if one is near."""
    bars = np.array(downbeats)
    cues: list[Cue] = []
    for section in sections:
        start = section.start
        if len(bars):
            nearest = float(bars[int(np.argmin(np.abs(bars - start)))])
            start = nearest if abs(nearest - start) <= CUE_SECONDS else start
        if not cues or start > cues[-1].seconds:
            cues.append(Cue(seconds=round(start, 3), label=section.label))
    return tuple(cues)


def write_click(source: Path, analysis: Analysis, target: Path) -> None:
    """A 16-bit WAV of the recording at `source` with a click on every beat, a higher one on the first of each bar.

    Raises `Unreadable` when there is no sound at `source`, OSError when `target` cannot be written. Of more than two
    channels the first two are kept.
    """
    detail = analysis.detail
    bars = {round(time, 3) for time in detail.downbeats}
    with open_audio(source) as audio, wave.open(str(target), "wb") as file:
        rate = audio.sample_rate
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        clicks = {True: _click(rate, BAR_HERTZ), False: _click(rate, BEAT_HERTZ)}
        starts = [(round(time * rate), clicks[round(time, 3) in bars]) for time in detail.beats]
        at, following = 0, 0
        for block in audio:
            count = block.samples.shape[1]
            if not count:
                continue
            pair = MUSIC_GAIN * (block.samples[:2] if len(block.samples) > 1 else np.repeat(block.samples, 2, axis=0))
            while following < len(starts) and starts[following][0] + len(starts[following][1]) <= at:
                following += 1
            for start, click in starts[following:]:
                if start >= at + count:
                    break
                low, high = max(start, at), min(start + len(click), at + count)
                pair[:, low - at : high - at] += click[low - start : high - start]
            file.writeframes((np.clip(pair.T, -1, 1) * 32767).astype("<i2").tobytes())
            at += count


def _click(rate: int, hertz: float) -> Samples:
    time = np.arange(round(CLICK_SECONDS * rate)) / rate
    click: Samples = (CLICK_GAIN * np.sin(2 * np.pi * hertz * time) * np.exp(-time / 0.006)).astype(np.float32)
    return click


def rekordbox(tracks: Iterable[tuple[Path, Analysis]]) -> bytes:
    """The collection of rekordbox as XML: tempo, grid, key and cue points of each track, and where its file lies.

    Where one even grid holds it is one TEMPO; elsewhere there is one for every bar, from first beat to first beat.
    """
    root = Xml.Element("DJ_PLAYLISTS", Version="1.0.0")
    Xml.SubElement(root, "PRODUCT", Name="ledgerline", Version="1", Company="ledgerline")
    collection = Xml.SubElement(root, "COLLECTION")
    for number, (path, analysis) in enumerate(tracks, 1):
        findings, detail = analysis.findings, analysis.detail
        track = Xml.SubElement(
            collection,
            "TRACK",
            TrackID=str(number),
            Name=shown(path.stem),
            TotalTime=str(round(findings.duration_seconds)),
            AverageBpm=f"{findings.bpm:.2f}" if findings.bpm is not None else "0.00",
            Tonality=findings.key_notation or "",
            SampleRate=str(detail.sample_rate),
            Location=f"file://localhost{quote(os.fsencode(path.absolute()))}",
        )
        for start, bpm, place in _anchors(analysis):
            Xml.SubElement(
                track,
                "TEMPO",
                Inizio=f"{start:.3f}",
                Bpm=f"{bpm:.3f}",
                Metro=findings.time_signature_text or "4/4",
                Battito=str(place),
            )
        for index, cue in enumerate(detail.cue_points):
            Xml.SubElement(
                track,
                "POSITION_MARK",
                Name=cue.label,
                Type="0",
                Start=f"{cue.seconds:.3f}",
                Num=str(index if index < PADS else -1),
            )
    collection.set("Entries", str(len(collection)))
    Xml.indent(root)
    written: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def traktor(tracks: Iterable[tuple[Path, Analysis]]) -> bytes:
    """A collection of Traktor (NML): tempo, key, and in milliseconds the grid marker and cue points of each track.

    Traktor's grid is one tempo from one marker on, so there is a marker only where one even grid holds from end to end;
    it lies on the first beat of a bar.
    """
    root = Xml.Element("NML", VERSION="19")
    Xml.SubElement(root, "HEAD", COMPANY="www.native-instruments.com", PROGRAM="Traktor")
    collection = Xml.SubElement(root, "COLLECTION")
    for path, analysis in tracks:
        findings, absolute = analysis.findings, path.absolute()
        entry = Xml.SubElement(collection, "ENTRY", TITLE=shown(path.stem))
        Xml.SubElement(
            entry,
            "LOCATION",
            # Folders are parted by "/:", and a colon in a name is doubled.
            DIR="/:" + "".join(f"{shown(part).replace(':', '::')}/:" for part in absolute.parts[1:-1]),
            FILE=shown(absolute.name).replace(":", "::"),
            VOLUME=absolute.drive,
        )
        Xml.SubElement(
            entry,
            "INFO",
            KEY=findings.key_notation or "",
            PLAYTIME=str(round(findings.duration_seconds)),
            PLAYTIME_FLOAT=f"{findings.duration_seconds:.6f}",
        )
        if findings.bpm is not None:
            sure = f"{100 * findings.bpm_confidence:.6f}"
            Xml.SubElement(entry, "TEMPO", BPM=f"{findings.bpm:.6f}", BPM_QUALITY=sure)
        if findings.key is not None:
            number = NOTE_NAMES.index(findings.key) + (12 if findings.scale == "minor" else 0)
            Xml.SubElement(entry, "MUSICAL_KEY", VALUE=str(number))
        for start, _ in bars_of(analysis) if findings.first_beat_seconds is not None else ():
            _mark(entry, "AutoGrid", GRID_MARKER, start, -1)
        for index, cue in enumerate(analysis.detail.cue_points):
            _mark(entry, cue.label, CUE_MARKER, cue.seconds, index if index < PADS else -1)
    collection.set("ENTRIES", str(len(collection)))
    Xml.indent(root)
    written: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _mark(entry: Xml.Element, name: str, kind: int, seconds: float, pad: int) -> None:
    Xml.SubElement(
        entry,
        "CUE_V2",
        NAME=name,
        DISPL_ORDER="0",
        TYPE=str(kind),
        START=f"{1000 * seconds:.6f}",
        LEN="0.000000",
        REPEATS="-1",
        HOTCUE=str(pad),
    )


def bars_of(analysis: Analysis) -> list[tuple[float, float]]:
    """(seconds, beats per minute) of the anchors of the grid, each on the first beat of a bar."""
    length = _beats_in_bar(analysis)
    return [(start + (length + 1 - place) % length * 60 / bpm, bpm) for start, bpm, place in _anchors(analysis)]


def _anchors(analysis: Analysis) -> list[tuple[float, float, int]]:
    """(seconds, beats per minute, place in the bar from 1) of each anchor of the grid."""
    findings, detail = analysis.findings, analysis.detail
    if findings.bpm is None or not detail.beats:
        return []
    if findings.first_beat_seconds is not None:
        before = [time for time in detail.downbeats if time >= findings.first_beat_seconds - 1e-3]
        beats = round((before[0] - findings.first_beat_seconds) * findings.bpm / 60) if before else 0
        length = _beats_in_bar(analysis)
        return [(findings.first_beat_seconds, findings.bpm, (length - beats) % length + 1)]
    bars = detail.downbeats
    length = _beats_in_bar(analysis)
    return [(start, 60 * length / (end - start), 1) for start, end in itertools.pairwise(bars) if end > start] or [
        (detail.beats[0], findings.bpm, 1)
    ]


def _beats_in_bar(analysis: Analysis) -> int:
    """How many beats lie between first beats of bars, as they were counted."""
    beats, bars = np.array(analysis.detail.beats), np.array(analysis.detail.downbeats)
    if len(bars) < 2 or len(beats) < 2:
        return analysis.findings.time_signature or 4
    return max(1, math.floor(float(np.median(np.diff(bars)) / np.median(np.diff(beats))) + 0.5))
