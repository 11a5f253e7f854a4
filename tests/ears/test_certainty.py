"""How sure the ears say they are is what such evidence has been worth, and never more than that."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.certainty import earned, log_odds, worths
from adapters.ears.metre import bar_margin, bar_positions
from infra.training.certainty import _fitted, _said
from infra.training.composer import Piece
from infra.training.fresh import truths
from infra.training.performer import Performance
from tests.ears.grooves import ROCK, played, rhythm_of
from tests.ears.sounds import noise


@pytest.mark.parametrize("measure", ["tempo", "metre", "key", "mode", "downbeat"])
def test_a_line_of_worth_rises_and_ends_short_of_certainty(measure: str) -> None:
    worth = worths()[measure]
    assert list(worth.said) == sorted(worth.said)
    assert list(worth.right) == sorted(worth.right)
    assert (worth.right[0], worth.said[0], worth.said[-1]) == (0.0, 0.0, 1.0)
    assert worth.right[-1] < 1


def test_networks_that_differ_on_the_tempo_make_it_less_sure() -> None:
    agreed = earned("tempo", log_odds(0.98), log_odds(0.98), log_odds(0.98))
    assert agreed > 0.9
    assert earned("tempo", log_odds(0.98), log_odds(0.98), log_odds(0.02)) < agreed - 0.15


def test_evidence_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        earned("metre", 1.0, 2.0)


def test_a_fit_says_what_was_right_where_the_network_was_too_sure() -> None:
    rng = np.random.default_rng(4)
    odds = rng.normal(1.5, 2.0, 4000)
    true = 1 / (1 + np.exp(-(0.4 * odds - 0.5)))
    right = (rng.random(len(true)) < true).astype(np.float64)
    worth = _fitted(odds[:, None], right, np.ones(len(true)))
    assert float(np.abs(_said(worth, odds[:, None]) - true).mean()) < 0.03


def test_bars_that_fit_no_better_than_others_have_no_margin() -> None:
    clear, unclear = np.tile([2.0, -1.0, -1.0, -1.0], 8), np.tile([1.0, -1.0, 1.0, -1.0], 8)
    assert bar_margin(clear, bar_positions(clear, 4), 4) == pytest.approx(3.0)
    assert bar_margin(unclear, bar_positions(unclear, 4), 4) == pytest.approx(0.0)


def test_first_beats_have_a_confidence_of_their_own() -> None:
    clear = rhythm_of(played(ROCK | {"bass": "x..............."}, 120, 20))
    assert 0.6 < clear.downbeat_confidence <= clear.bpm_confidence
    alike = rhythm_of(played({"kick": "x..."}, 120, 20))
    assert alike.downbeat_confidence < 0.5


def test_noise_has_no_sure_bars() -> None:
    assert rhythm_of(noise(20, rate=22_050)).downbeat_confidence < 0.2


def test_a_wandering_piece_is_true_at_the_tempo_that_was_played_and_a_steady_one_at_the_written() -> None:
    piece = Piece(style="classical", bpm=120.0, beats_per_bar=4, beat_unit=4, bars=4, bar_beats=4.0)
    slower = np.cumsum(np.array([0.0] + [60 / 110] * 12 + [60 / 125] * 4, np.float64))
    steady = np.arange(17, dtype=np.float64) * 0.5
    for beats, bpm in ((slower, "110.000"), (steady, "120.000"), (steady[:2], "120.000")):
        assert truths(Performance(piece, np.zeros(0, np.float32), beats, beats[::4]))[0] == bpm
