"""Neither the volume knob nor a change of key half-way makes another piece of a piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.ears.engine import analyse
from tests.ears.grooves import ROCK, played
from tests.ears.sounds import RATE, chords, write_float_wav, write_wav


@pytest.mark.parametrize("decibels", [-12, -24])
def test_mood_energy_and_genre_do_not_follow_the_volume_knob(tmp_path: Path, decibels: int) -> None:
    band = np.repeat(played(ROCK, 104, 20), 2) + chords("C Am F G C Am F G C F", 2.0)
    loud = (0.9 * band / np.abs(band).max()).astype(np.float32)
    full = analyse(write_float_wav(tmp_path / "full.wav", loud)).findings
    soft = analyse(write_float_wav(tmp_path / "soft.wav", loud * np.float32(10 ** (decibels / 20)))).findings
    assert soft.energy == pytest.approx(full.energy, abs=0.01)
    assert soft.mood_tags == full.mood_tags
    assert soft.genre_suggestions == full.genre_suggestions
    assert soft.genre_confidence == pytest.approx(full.genre_confidence, abs=0.02)
    assert soft.loudness_lufs == pytest.approx((full.loudness_lufs or 0) + decibels, abs=0.05)


def test_a_piece_in_two_keys_is_named_by_one_of_them_and_less_surely(tmp_path: Path) -> None:
    first, second = "C F G C " * 4, "Eb Ab Bb Eb " * 4
    both = analyse(write_wav(tmp_path / "both.wav", chords(first + second, 2.0), rate=RATE)).findings
    alone = analyse(write_wav(tmp_path / "alone.wav", chords(first * 2, 2.0), rate=RATE)).findings
    assert both.key_notation in {"C", "Eb", "D#"}
    assert both.modulates is True
    assert both.key_confidence < alone.key_confidence
    assert {"C", "Eb"} <= {section.key for section in both.sections}
