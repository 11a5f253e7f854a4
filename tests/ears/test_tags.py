"""What DJ programs find: tags in copies of MP3 files, read back with a library that is not ours, and Traktor's NML."""

from __future__ import annotations

import base64
import importlib
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from msgspec.structs import replace

from adapters.ears.engine import analyse
from adapters.ears.players import traktor
from adapters.ears.tags import Untaggable, tagged
from domain.analyses.findings import Analysis
from infra import analyze
from tests.ears.grooves import ROCK, played
from tests.ears.sounds import encode
from tests.ears.test_library import said

# mutagen's functions have no types of their own.
id3: Any = importlib.import_module("mutagen.id3")
mp3: Any = importlib.import_module("mutagen.mp3")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of rock at 120 beats a minute, as MP3, with tags that its owner put there."""
    path = encode(tmp_path_factory.mktemp("song") / "song.mp3", played(ROCK, 120, 12), "libmp3lame", rate=22_050)
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=3, text="Zwölf Sekunden"))
    tags.add(id3.TBPM(encoding=0, text="99"))
    tags.add(id3.GEOB(encoding=0, mime="application/octet-stream", desc="Serato Analysis", data=b"\2\1"))
    tags.save(path)
    return path


@pytest.fixture(scope="module")
def analysis(song: Path) -> Analysis:
    return analyse(song)


def objects(tags: Any) -> dict[str, bytes]:
    return {frame.desc: frame.data for frame in tags.getall("GEOB")}


@pytest.mark.parametrize("version", [3, 4])
def test_tags_hold_tempo_and_key_beside_what_was_there(
    song: Path, analysis: Analysis, tmp_path: Path, version: int
) -> None:
    source = tmp_path / "source.mp3"
    source.write_bytes(song.read_bytes())
    id3.ID3(source).save(source, v2_version=version)
    before = source.read_bytes()
    keyed = replace(analysis, findings=replace(analysis.findings, key="C#", scale="minor", key_notation="C#m"))
    tagged(source, keyed, tmp_path / "copy.mp3")
    copy = mp3.MP3(tmp_path / "copy.mp3")
    assert copy.tags.version[1] == version
    assert float(copy.tags["TBPM"].text[0]) == pytest.approx(120, abs=0.02)
    assert copy.tags["TKEY"].text == ["C#m"]
    assert copy.tags["TIT2"].text == ["Zwölf Sekunden"]
    assert objects(copy.tags)["Serato Analysis"] == b"\2\1"
    assert len(copy.tags.getall("TBPM")) == 1, "the old tempo is gone"
    assert source.read_bytes() == before, "the file itself is as it was"
    assert copy.info.length == pytest.approx(mp3.MP3(source).info.length, abs=1e-6)


def test_a_grid_in_a_tag_begins_on_a_bar_and_has_the_tempo(song: Path, analysis: Analysis, tmp_path: Path) -> None:
    tagged(song, analysis, tmp_path / "copy.mp3")
    data = objects(id3.ID3(tmp_path / "copy.mp3"))["Serato BeatGrid"]
    head, count, start, bpm = struct.unpack(">HIff", data[:14])
    assert (head, count, len(data)) == (0x0100, 1, 15)
    assert bpm == pytest.approx(120, abs=0.02)
    assert min(abs(start - bar) for bar in analysis.detail.downbeats) < 0.01


def test_a_grid_that_moves_has_a_marker_on_every_bar(song: Path, analysis: Analysis, tmp_path: Path) -> None:
    moving = replace(analysis, findings=replace(analysis.findings, first_beat_seconds=None))
    tagged(song, moving, tmp_path / "copy.mp3")
    data = objects(id3.ID3(tmp_path / "copy.mp3"))["Serato BeatGrid"]
    (count,) = struct.unpack(">I", data[2:6])
    markers = [struct.unpack(">fI", data[at : at + 8]) for at in range(6, 6 + 8 * (count - 1), 8)]
    bars = analysis.detail.downbeats
    assert count == len(bars) - 1
    assert [start for start, _ in markers] == pytest.approx(bars[: count - 1], abs=0.01)
    assert {beats for _, beats in markers} == {4}


def test_cues_in_a_tag_are_those_of_the_analysis(song: Path, analysis: Analysis, tmp_path: Path) -> None:
    tagged(song, analysis, tmp_path / "copy.mp3")
    data = objects(id3.ID3(tmp_path / "copy.mp3"))["Serato Markers2"]
    assert data[:2] == b"\1\1"
    text = data[2:].split(b"\0")[0].replace(b"\n", b"")
    entries = base64.b64decode(text + b"=" * (-len(text) % 4))
    assert entries[:2] == b"\1\1"
    found, at = [], 2
    while entries[at : at + 4] == b"CUE\0":
        (size,) = struct.unpack(">I", entries[at + 4 : at + 8])
        body = entries[at + 8 : at + 8 + size]
        found.append((body[1], struct.unpack(">I", body[2:6])[0] / 1000, body[12:].rstrip(b"\0").decode()))
        at += 8 + size
    cues = analysis.detail.cue_points
    assert found == [(index, pytest.approx(cue.seconds, abs=0.001), cue.label) for index, cue in enumerate(cues)]


def test_what_cannot_be_tagged_is_said_and_left(analysis: Analysis, song: Path, tmp_path: Path) -> None:
    wave = tmp_path / "a.wav"
    wave.write_bytes(b"RIFF")
    with pytest.raises(Untaggable, match="Only MP3"):
        tagged(wave, analysis, tmp_path / "b.wav")
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"ID3\4\0\0\0\0\0\x20TIT2\0\0\x7f\x7f\0\0" + bytes(18))
    odd = tmp_path / "odd.mp3"
    odd.write_bytes(b"ID3\2\0\0\0\0\0\x00" + song.read_bytes())
    for path in (broken, odd):
        with pytest.raises(Untaggable, match="ID3 tag"):
            tagged(path, analysis, tmp_path / "copy.mp3")
    assert not (tmp_path / "copy.mp3").exists()


def test_tags_go_into_copies_that_replace_nothing(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tagged"
    assert analyze.run(said(song, "--tags", folder)) == 2
    folder.mkdir()
    before = song.read_bytes()
    assert analyze.run(said(song, "--tags", folder, "--traktor", tmp_path / "out.nml")) == 0
    first = (folder / "song.mp3").read_bytes()
    assert float(id3.ID3(folder / "song.mp3")["TBPM"].text[0]) == pytest.approx(120, abs=0.02)
    assert Xml.parse(tmp_path / "out.nml").getroot().tag == "NML"
    capsys.readouterr()
    assert analyze.run(said(song, "--tags", song.parent)) == 0
    assert "exists already" in " ".join(capsys.readouterr().err.split())
    assert (song.read_bytes(), (folder / "song.mp3").read_bytes()) == (before, first)


def test_traktor_gets_a_grid_marker_on_a_bar_and_the_cues_in_milliseconds(song: Path, analysis: Analysis) -> None:
    keyed = replace(analysis, findings=replace(analysis.findings, key="A", scale="minor", key_notation="Am"))
    (entry,) = Xml.fromstring(traktor([(song, keyed)])).findall("COLLECTION/ENTRY")
    place = entry.find("LOCATION")
    assert place is not None
    assert Path(place.get("DIR", "").replace("/:", "/")) / place.get("FILE", "") == song
    assert [float(one.get("BPM", "")) for one in entry.findall("TEMPO")] == [pytest.approx(120, abs=0.02)]
    assert [one.get("VALUE") for one in entry.findall("MUSICAL_KEY")] == ["21"]
    marks = [(one.get("TYPE"), float(one.get("START", ""))) for one in entry.findall("CUE_V2")]
    (grid,) = [start for kind, start in marks if kind == "4"]
    assert min(abs(grid / 1000 - bar) for bar in analysis.detail.downbeats) < 0.01
    assert [start for kind, start in marks if kind == "0"] == [1000 * cue.seconds for cue in analysis.detail.cue_points]


def test_traktor_gets_no_grid_where_none_holds(song: Path, analysis: Analysis) -> None:
    moving = replace(analysis, findings=replace(analysis.findings, first_beat_seconds=None))
    (entry,) = Xml.fromstring(traktor([(song, moving)])).findall("COLLECTION/ENTRY")
    assert not [one for one in entry.findall("CUE_V2") if one.get("TYPE") == "4"]
