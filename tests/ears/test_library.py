"""What the command line writes beside its tables: JSON lines, CSV that goes on, click tracks, rekordbox's XML."""

from __future__ import annotations

import argparse
import csv
import json
import os
import wave
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from adapters.ears import listening
from adapters.ears.engine import analyse
from adapters.ears.pictures import _named
from adapters.ears.players import cue_points, rekordbox, write_click
from adapters.ears.worker import Stumbled
from domain.analyses.findings import Chord, Section
from infra import analyze, cli, evaluate
from infra.cli import listening as commands
from infra.cli.listening import wishes
from tests.ears.grooves import ROCK, played
from tests.ears.sounds import chords, write_wav


def said(*words: str | Path) -> argparse.Namespace:
    """What `ledgerline analyze WORDS` asks for."""
    return wishes(**commands.analyze.make_context("analyze", [str(word) for word in words]).params)


@pytest.fixture(scope="module")
def beat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of rock at 120 beats a minute."""
    return write_wav(tmp_path_factory.mktemp("beat") / "beat.wav", played(ROCK, 120, 20), rate=22_050)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "inner").mkdir(parents=True)
    for name, names in (("a.wav", "C F"), ("b.wav", "Am Dm"), ("inner/c.wav", "G C")):
        write_wav(folder / name, chords(names, 1.0))
    (folder / "notes.txt").write_text("no music")
    (folder / "broken.mp3").write_text("no music either")
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_a_folder_becomes_a_table_with_a_row_for_every_recording(library: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    assert analyze.run(said(library, "-r", "--csv", table)) == 1, "one of them is no recording"
    found = {Path(row["path"]).name: row for row in rows(table)}
    assert set(found) == {"a.wav", "b.wav", "c.wav", "broken.mp3"}
    assert found["a.wav"]["duration_seconds"] == "2.0"
    assert float(found["a.wav"]["loudness_lufs"]) < 0
    assert found["broken.mp3"]["error"].startswith("This is not an audio file")


def test_all_that_may_be_written_is_asked_for_at_the_command_line(
    beat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {"--csv": "a.csv", "--plot": "a.png", "--click": "a.wav", "--rekordbox": "a.xml", "--traktor": "a.nml"}
    words = [word for option, name in wanted.items() for word in (option, str(tmp_path / name))]
    assert cli.main(["analyze", str(beat), "-r", "--tags", str(tmp_path), *words]) == 0
    assert all((tmp_path / name).stat().st_size for name in wanted.values())
    assert "Only MP3 files" in " ".join(capsys.readouterr().err.split())


def test_a_name_that_is_no_text_ends_no_library(
    library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = Path(os.fsdecode(os.fsencode(library / "inner") + b"/M\xfcller.wav"))
    (library / "inner" / "c.wav").rename(old)
    table, grids = tmp_path / "out.csv", [tmp_path / "out.xml", tmp_path / "out.nml"]
    options = ("--csv", table, "--rekordbox", grids[0], "--traktor", grids[1], "--json")
    assert analyze.run(said(old.parent, *options)) == 0
    [row] = rows(table)
    assert row["path"].endswith("M\\xfcller.wav")
    assert (row["error"], row["duration_seconds"]) == ("", "2.0")
    assert "inner/M%FCller.wav" in grids[0].read_text()
    assert "M\\xfcller.wav" in grids[1].read_text()
    assert json.loads(capfd.readouterr().out)["path"] == row["path"]
    before = table.read_bytes()
    assert analyze.run(said(old.parent, "--csv", table)) == 0
    assert table.read_bytes() == before


def test_without_r_only_the_folder_itself_is_looked_at(library: Path, tmp_path: Path) -> None:
    analyze.run(said(library, "--csv", tmp_path / "out.csv"))
    assert {Path(row["path"]).name for row in rows(tmp_path / "out.csv")} == {"a.wav", "b.wav", "broken.mp3"}


def test_a_table_that_was_stopped_goes_on_where_it_was(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "out.csv"
    analyze.run(said(library, "--csv", table))
    whole = table.read_text()
    # As if the power had gone in the middle of the last row.
    table.write_text(whole[: whole.rstrip("\n").rfind("\n") + 20])
    asked: list[str] = []
    listen = listening.Ears.listen

    async def noted(ears: listening.Ears, path: Path, **options: object) -> object:
        asked.append(path.name)
        return await listen(ears, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(listening.Ears, "listen", noted)
    analyze.run(said(library, "--csv", table))
    assert len(asked) == 1
    assert sorted(table.read_text().splitlines()) == sorted(whole.splitlines())


@pytest.mark.parametrize(
    ("option", "target"),
    [
        ("--plot", "x.foo"),
        ("--plot", "nowhere/x.png"),
        ("--click", "x.mp3"),
        ("--csv", "x.txt"),
        ("--rekordbox", "n/x.xml"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_heard(
    beat: Path,
    tmp_path: Path,
    option: str,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def heard(*_: object, **__: object) -> None:
        raise AssertionError("it listened first")

    monkeypatch.setattr(listening.Ears, "listen", heard)
    assert analyze.run(said(beat, option, tmp_path / target)) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "must end in" in told or "there is no folder" in told


def test_a_child_that_stumbles_leaves_standard_output_to_the_results(
    beat: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    async def stumble(*_: object, **__: object) -> object:
        return Stumbled("Traceback: something of ours")

    monkeypatch.setattr(listening._Child, "work", stumble)
    assert analyze.run(said(beat, "--json")) == 1
    printed = capfdbinary.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [set(line) for line in lines] == [{"path", "error"}]
    assert b"ears.stumbled" in printed.err


def test_a_click_falls_on_every_beat(beat: Path, tmp_path: Path) -> None:
    analysis = analyse(beat)
    write_click(beat, analysis, tmp_path / "click.wav")
    with wave.open(str(tmp_path / "click.wav"), "rb") as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 22_050, 20 * 22_050)
        mixed = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 0] / 32767
    with wave.open(str(beat), "rb") as file:
        plain = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    added = np.abs(mixed - 0.6 * plain) > 0.05
    starts = np.flatnonzero(added & ~np.concatenate([[False], np.logical_or.reduce([added[:-1]])])) / 22_050
    firsts = starts[np.concatenate([[True], np.diff(starts) > 0.1])]
    np.testing.assert_allclose(firsts, analysis.detail.beats[: len(firsts)], atol=0.002)
    assert len(firsts) == len(analysis.detail.beats)


def test_rekordbox_gets_one_grid_with_the_place_in_the_bar_and_the_cues(beat: Path) -> None:
    analysis = analyse(beat)
    root = Xml.fromstring(rekordbox([(beat, analysis)]))
    assert (root.tag, root.get("Version")) == ("DJ_PLAYLISTS", "1.0.0")
    (track,) = root.findall("COLLECTION/TRACK")
    assert unquote(track.get("Location", "")) == f"file://localhost{beat}"
    assert float(track.get("AverageBpm", "0")) == pytest.approx(120, abs=0.02)
    (tempo,) = track.findall("TEMPO")
    start, bpm, place = float(tempo.get("Inizio", "")), float(tempo.get("Bpm", "")), int(tempo.get("Battito", ""))
    assert bpm == pytest.approx(120, abs=0.02)
    first_bar = start + ((5 - place) % 4) * 60 / bpm
    assert min(abs(first_bar - bar) for bar in analysis.detail.downbeats) < 0.02
    marks = track.findall("POSITION_MARK")
    assert [float(mark.get("Start", "")) for mark in marks] == [cue.seconds for cue in analysis.detail.cue_points]


def test_cues_are_first_beats_of_bars_where_sections_begin() -> None:
    sections = (
        Section(start=0.0, end=7.9, duration=7.9, label="A"),
        Section(start=7.9, end=20.0, duration=12.1, label="B"),
    )
    cues = cue_points(sections, [0.5, 2.5, 4.5, 6.5, 8.5])
    assert [(cue.seconds, cue.label) for cue in cues] == [(0.5, "A"), (8.5, "B")]


def test_the_names_of_long_chords_are_not_dropped_for_those_of_short_ones() -> None:
    short, long = Chord(start=0.0, end=0.4, name="F"), Chord(start=0.4, end=8.0, name="C")
    assert [chord.name for chord in _named((short, long), 1.0)] == ["C"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a.wav,fast,,,", "'fast'"),
        ("a.wav,,H minor,,", "'H minor'"),
        ("a.wav,,,x/4,", "'x/4'"),
        ("a.wav,,,,loud", "'loud'"),
    ],
)
def test_a_bad_value_in_a_manifest_is_named_with_its_line(
    tmp_path: Path, row: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"path,bpm,key,time_signature,lufs\nb.wav,,,,\n{row}\n")
    assert evaluate.evaluate(manifest) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert fault in told
    assert "line 3" in told


@pytest.mark.parametrize(
    ("text", "key"), [("Dm", (2, False)), ("F#", (6, True)), ("Bbm", (10, False)), ("D minor", (2, False))]
)
def test_keys_may_be_written_short(text: str, key: tuple[int, bool]) -> None:
    assert evaluate.parsed_key(text) == key
