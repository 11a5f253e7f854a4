"""Which of six broad genres a recording is near, and whether a person should look at that before it is used.

The taxonomy `beatlyze_broad_6_v1` is published here: techno, house, hip hop, rock, classical, ambient. "Rock" stands
for songs by a band, pop included; "classical" for acoustic concert music; "hip hop" for beats and rhymes, with trap.
Everything else (jazz, folk, drum and bass, reggae, ...) lies outside and is said to. The rules are descriptions in the
terms of `Traits`, not fitted to labels, so their confidence is cautious and a review is recommended freely.
"""

from __future__ import annotations

import math

from msgspec import Struct

from adapters.ears.descriptors import Traits
from domain.analyses.findings import ReviewCode

GENRES = ("techno", "house", "hip hop", "rock", "classical", "ambient")

#: How well a piece must fit for a genre to beat "none of these".
OUTSIDE = 0.6
#: How strongly a better fit is preferred.
SHARPNESS = 10.0
#: Less sure than this, or closer together than this, and a person should look.
SURE = 0.6
CLOSE = 0.15
SUGGESTED = 0.18


class Genres(Struct, frozen=True):
    """Suggestions, likeliest first, how sure the first one is, and why a person should look, if one should."""

    suggestions: tuple[str, ...]
    confidence: float
    review: ReviewCode | None


def suggest(traits: Traits) -> Genres:
    """The genres a recording is near."""
    fits = genre_fits(traits)
    weights = {genre: math.exp(SHARPNESS * fit) for genre, fit in fits.items()}
    outside = math.exp(SHARPNESS * OUTSIDE)
    total = sum(weights.values()) + outside
    shares = sorted(((weight / total, genre) for genre, weight in weights.items()), reverse=True)
    (first, _), (second, _) = shares[:2]
    if outside / total > first:
        review: ReviewCode | None = "out_of_taxonomy"
    elif first - second < CLOSE:
        review = "close_scores"
    elif first < SURE:
        review = "low_confidence"
    else:
        review = None
    suggestions = tuple(genre for share, genre in shares if share >= SUGGESTED)[:2]
    return Genres(suggestions, first, review)


def genre_fits(traits: Traits) -> dict[str, float]:
    """How well each genre's description fits, 0..1."""
    t = traits
    beat = t.bpm_confidence if t.bpm is not None else 0.0
    drums = _up(t.pulse_clarity, 0.25, 0.6) * _up(t.flatness, 0.002, 0.02)
    machine = _up(t.tempo_stability, 0.6, 0.95)
    kicks = _up(t.kick_on_beats, 0.05, 0.5)
    return {
        # A machine's kick on every beat, quick, with little harmony: what is left is sound and drive.
        "techno": _fit(_tempo(t, 122, 152), kicks, drums, machine, 1 - t.harmonic_change, 1 - 0.7 * t.tonality, beat),
        # The same kick, unhurried, under chords or a vocal, with open hats between the beats.
        "house": _fit(
            _tempo(t, 114, 131), kicks, drums, machine, 0.4 + 0.6 * t.hats_between_beats, _hill(t.tonality), beat
        ),
        # Slow or felt at half speed, much bass, a strong backbeat, sparse harmony.
        "hip hop": _fit(
            max(_tempo(t, 68, 108), 0.8 * _tempo(t, 132, 172)),
            _up(t.bass_share, 0.4, 0.8),
            _up(t.backbeat, 0.05, 0.3),
            drums,
            1 - 0.7 * t.harmonic_change,
            1 - _up(t.onset_rate, 4.5, 8.0),
        ),
        # Drums and chords by people: changing harmony, a backbeat, a full and rather dense spectrum.
        "rock": _fit(
            _up(t.harmonic_change, 0.1, 0.4),
            _hill(t.tonality),
            _up(t.flatness, 0.004, 0.02),
            _up(t.loudness_lufs, -26, -13),
            _up(t.pulse_clarity, 0.15, 0.4),
            1 - 0.6 * _up(t.bass_share, 0.6, 0.9),
        ),
        # No drums, clear pitches, wide dynamics, a freely moving beat.
        "classical": _fit(
            1 - _up(t.flatness, 0.002, 0.02),
            _up(t.tonality, 0.35, 0.65),
            1 - _up(t.loudness_lufs, -22, -12),
            1 - 0.7 * _up(t.pulse_clarity, 0.35, 0.8),
            1 - kicks,
            1 - _up(t.bass_share, 0.25, 0.6),
            _up(t.onset_rate, 0.5, 1.5),
            0.5 + 0.5 * _up(t.harmonic_change, 0.1, 0.3),
        ),
        # Hardly an onset, no pulse, slow harmony.
        "ambient": _fit(
            1 - _up(t.onset_rate, 0.3, 2.0),
            1 - _up(t.pulse_clarity, 0.1, 0.35),
            1 - _up(t.attack, 0.05, 0.4),
            1 - 0.6 * _up(t.harmonic_change, 0.1, 0.5),
        ),
    }


def _tempo(traits: Traits, low: float, high: float) -> float:
    """1 inside the range, falling to 0 over a twelfth of it outside; 0 without a tempo."""
    if traits.bpm is None:
        return 0.0
    outside = max(math.log(low / traits.bpm), math.log(traits.bpm / high), 0.0)
    return max(0.0, 1 - outside / math.log(1.12))


def _hill(value: float) -> float:
    """1 for middling values: neither bare percussion nor a lone instrument."""
    return max(0.0, 1 - (abs(value - 0.5) / 0.5) ** 2)


def _up(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _fit(*conditions: float) -> float:
    """A mean that lets no condition fail unnoticed: halfway between the arithmetic and the geometric one."""
    arithmetic = sum(conditions) / len(conditions)
    geometric = math.prod(max(condition, 0.01) for condition in conditions) ** (1 / len(conditions))
    return 0.5 * (arithmetic + geometric)
