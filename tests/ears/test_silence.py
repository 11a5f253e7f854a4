"""What is heard does not depend on how much silence lies around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.ears.engine import analyse
from domain.analyses.findings import Analysis
from tests.ears.sounds import Sound, chords, clicks, silence, write_wav


def song() -> Sound:
    """Twelve seconds of C major at 120 beats a minute."""
    harmony = chords("C Am F G C G")
    both: Sound = (0.6 * harmony / np.abs(harmony).max() + 0.4 * clicks(120, 12)).astype(np.float32)
    return both


def heard(folder: Path, *parts: Sound) -> Analysis:
    return analyse(write_wav(folder / "song.wav", np.concatenate(parts)))


@pytest.mark.parametrize(("before", "after"), [(0, 15), (15, 0), (60, 90)])
def test_silence_around_a_song_changes_neither_tempo_nor_key(tmp_path: Path, before: float, after: float) -> None:
    findings = heard(tmp_path, silence(before), song(), silence(after)).findings
    assert findings.bpm == pytest.approx(120, rel=0.01)
    assert findings.bpm_confidence > 0.8
    assert findings.key_notation == "C"
    assert findings.key_confidence > 0.95
    assert findings.duration_seconds == pytest.approx(12 + before + after)


def test_no_beat_is_counted_where_nothing_sounds(tmp_path: Path) -> None:
    detail = heard(tmp_path, silence(10), song(), silence(10), song(), silence(10)).detail
    beats = np.array(detail.beats)
    assert len(beats) == pytest.approx(48, abs=8)
    sounding = ((beats > 8.9) & (beats < 23.1)) | ((beats > 30.9) & (beats < 45.1))
    assert sounding.all()
    assert set(detail.downbeats) <= set(detail.beats)


def test_beats_of_a_song_that_begins_late_are_told_in_time_of_the_recording(tmp_path: Path) -> None:
    beats = np.array(heard(tmp_path, silence(7), song()).detail.beats)
    # Thumps come at 7.25, 7.75 and so on; the first may give way to the chord a quarter of a second before it.
    thumps = np.arange(7.75, 18.5, 0.5)
    assert all(np.abs(beats - thump).min() < 0.03 for thump in thumps)
