"""Which of two networks' tempi is named."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.rhythm import _may_be_slower
from adapters.ears.tempo import Candidate, _weighed

PERIODS = np.array([60 / 90, 60 / 120, 60 / 135, 60 / 180, 60 / 45], np.float32)


@pytest.mark.parametrize(
    ("usual", "wide", "bpm"),
    [
        pytest.param((0.5, 0.1, 0.4, 0, 0), (0.1, 0.1, 0.8, 0, 0), 135, id="three to two: the surer of both together"),
        pytest.param((0.7, 0.1, 0.2, 0, 0), (0.4, 0.1, 0.5, 0, 0), 90, id="three to two: the first may be the surer"),
        pytest.param((0.5, 0.4, 0.1, 0, 0), (0.1, 0.8, 0.1, 0, 0), 120, id="four to three"),
        pytest.param((0.5, 0, 0, 0.4, 0.1), (0.1, 0, 0, 0.8, 0.1), 90, id="double: songs and scores decide"),
        pytest.param((0.6, 0, 0, 0, 0.4), (0.2, 0, 0, 0, 0.8), 45, id="half: the surer of both together"),
        pytest.param((0.8, 0, 0, 0, 0.2), (0.4, 0, 0, 0, 0.6), 90, id="half: the first may be the surer"),
        pytest.param((0, 0, 0.4, 0, 0.6), (0, 0, 0.8, 0, 0.2), 135, id="three times: both decide"),
        pytest.param((0, 0, 0.6, 0, 0.4), (0, 0, 0.2, 0, 0.8), 135, id="a third: songs and scores decide"),
        pytest.param((0.98, 0, 0.02, 0, 0), (0.08, 0, 0.92, 0, 0), 135, id="sure enough to overrule"),
    ],
)
def test_both_networks_are_asked_where_their_choices_are_so_related(
    usual: tuple[float, ...], wide: tuple[float, ...], bpm: float
) -> None:
    likely = _weighed(PERIODS, np.array(usual, np.float32), np.array(wide, np.float32))
    assert 60 / float(PERIODS[int(np.argmax(likely))]) == pytest.approx(bpm)


@pytest.mark.parametrize(
    ("two", "three", "slower"),
    [
        pytest.param(0.01, 0.08, True, id="six eighths"),
        pytest.param(0.0, 0.03, False, id="a waltz that everybody taps at its beats"),
        pytest.param(0.12, 0.08, False, id="eighths of a waltz"),
    ],
)
def test_three_beats_are_one_where_the_networks_may_believe_it(two: float, three: float, *, slower: bool) -> None:
    period = 60 / 138
    rest = Candidate(1.5 * period, 0.1, 0.9)
    candidates = [Candidate(period, 0.8, 0.9), rest, Candidate(2 * period, 0.1, two), Candidate(3 * period, 0.1, three)]
    assert _may_be_slower(candidates) is slower
