"""Which of two networks' tempi is named."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.tempo import _weighed

PERIODS = np.array([60 / 90, 60 / 120, 60 / 135, 60 / 180, 60 / 45], np.float32)


@pytest.mark.parametrize(
    ("usual", "wide", "bpm"),
    [
        pytest.param((0.5, 0.1, 0.4, 0, 0), (0.1, 0.1, 0.8, 0, 0), 135, id="three to two: the surer of both together"),
        pytest.param((0.7, 0.1, 0.2, 0, 0), (0.4, 0.1, 0.5, 0, 0), 90, id="three to two: the first may be the surer"),
        pytest.param((0.5, 0.4, 0.1, 0, 0), (0.1, 0.8, 0.1, 0, 0), 120, id="four to three"),
        pytest.param((0.5, 0, 0, 0.4, 0.1), (0.1, 0, 0, 0.8, 0.1), 90, id="double: songs and scores decide"),
        pytest.param((0.98, 0, 0.02, 0, 0), (0.08, 0, 0.92, 0, 0), 135, id="sure enough to overrule"),
    ],
)
def test_networks_that_count_in_threes_and_in_twos_are_both_asked(
    usual: tuple[float, ...], wide: tuple[float, ...], bpm: float
) -> None:
    likely = _weighed(PERIODS, np.array(usual, np.float32), np.array(wide, np.float32))
    assert 60 / float(PERIODS[int(np.argmax(likely))]) == pytest.approx(bpm)
