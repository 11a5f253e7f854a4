from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infra.evaluate import (
    Estimate,
    Truth,
    borders_found,
    calibration_error,
    evaluate,
    key_score,
    marks,
    parsed_key,
    read_manifest,
    tempo_right,
)
from tests.ears.grooves import RATE, ROCK, played
from tests.ears.sounds import sine, write_wav


@pytest.mark.parametrize(
    ("said", "true", "mark"),
    [
        ("C major", "C major", 1.0),
        ("Db major", "C# major", 1.0),
        ("G major", "C major", 0.5),
        ("F major", "C major", 0.5),
        ("E minor", "A minor", 0.5),
        ("A minor", "C major", 0.3),
        ("C major", "A minor", 0.3),
        ("C minor", "C major", 0.2),
        ("E minor", "C major", 0.0),
        ("D major", "C major", 0.0),
        ("", "C major", 0.0),
        ("H major", "C major", 0.0),
    ],
)
def test_keys_are_weighed_as_in_mirex(said: str, true: str, mark: float) -> None:
    reference = parsed_key(true)
    assert reference is not None
    assert key_score(parsed_key(said), reference) == mark


def test_a_tempo_is_right_within_four_per_cent_and_forgiven_at_simple_multiples() -> None:
    assert tempo_right(124.8, 120)
    assert not tempo_right(124.9, 120)
    assert not tempo_right(None, 120)
    for bpm, first, second in ((120, 1, 1), (60, 0, 1), (240, 0, 1), (40, 0, 1), (360, 0, 1), (90, 0, 0)):
        given = marks(Truth(path="a", bpm="120"), Estimate(path="a", bpm=bpm))
        assert (given["Accuracy1"], given["Accuracy2"]) == (first, second)


def test_only_what_is_known_is_marked() -> None:
    assert marks(Truth(path="a"), Estimate(path="a", bpm=120, key="C major", time_signature=4, lufs=-20)) == {}
    given = marks(Truth(path="a", time_signature="6/8", lufs="-20.0"), Estimate(path="a", time_signature=6, lufs=-20.2))
    assert given == {"metre": 1.0, "LUFS ± 0.1": 0.0}


def test_honest_confidence_has_no_calibration_error_and_boasting_has_one() -> None:
    assert calibration_error([(0.5, True), (0.5, False)] * 10) == pytest.approx(0)
    assert calibration_error([(1.0, True), (1.0, False)] * 10) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("said", "true", "tolerance", "mark"),
    [
        ((10.4, 20.0), (10.0, 20.0), 0.5, 1.0),
        ((10.6, 20.0), (10.0, 20.0), 0.5, 0.5),
        ((10.6, 20.0), (10.0, 20.0), 3.0, 1.0),
        # One border finds one true border only, and more than there are cost precision.
        ((11.0,), (10.0, 12.0), 3.0, 2 / 3),
        ((10.0, 15.0, 20.0, 25.0), (10.0, 20.0), 0.5, 2 / 3),
        ((9.0, 11.0), (8.5, 10.0), 2.0, 1.0),
        ((), (10.0,), 3.0, 0.0),
        ((), (), 3.0, 1.0),
    ],
)
def test_a_border_is_found_once_and_near(
    said: tuple[float, ...], true: tuple[float, ...], tolerance: float, mark: float
) -> None:
    assert borders_found(said, true, tolerance) == pytest.approx(mark)


def test_borders_are_scored_where_they_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [played(ROCK, 120, 16), 0.3 * sine(330, 16, rate=RATE), played(ROCK, 120, 16)]
    write_wav(tmp_path / "a.wav", np.concatenate(parts), rate=RATE)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,bpm\na.wav,120\n")
    assert evaluate(manifest) == 0
    assert "Borders" not in capsys.readouterr().out
    (tmp_path / "sections.csv").write_text("path,start_s\na.wav,0\na.wav,16\na.wav,32\nother.wav,0\nother.wav,5\n")
    assert evaluate(manifest) == 0
    told = capsys.readouterr().out
    assert "mean of 1 recordings" in told
    within = next(line for line in told.splitlines() if line.startswith("3 s"))
    assert within.split()[2] == "100.0"


def test_a_manifest_is_listened_to_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "rock.wav", played(ROCK, 120, 12), rate=RATE)
    (tmp_path / "broken.wav").write_bytes(b"no sound at all")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,bpm,kind,remark\nrock.wav,120,made,hello\nbroken.wav,100,made,\n")
    assert evaluate(manifest, as_json=True, jobs=2) == 1
    said = capsys.readouterr()
    rock, broken = (json.loads(line) for line in said.out.splitlines())
    assert rock["path"] == "rock.wav"
    assert rock["bpm"] == pytest.approx(120, rel=0.01)
    assert rock["duration"] == pytest.approx(12, abs=0.01)
    assert rock["seconds"] > 0
    assert broken["error"].endswith(".")
    assert broken["bpm"] is None
    assert evaluate(manifest, jobs=1) == 1
    table = capsys.readouterr().out
    assert "Accuracy1" in table
    assert "50.0 (2)" in table
    assert "Reliability" in table
    assert "broken.wav: " in table


def test_a_manifest_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path / "nothing.csv") == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "a.csv").write_text("file,bpm\na.wav,120\n")
    with pytest.raises(ValueError, match="no column named path"):
        read_manifest(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("path,bpm\n")
    assert evaluate(tmp_path / "b.csv") == 2
