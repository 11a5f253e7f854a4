"""What a recording feels like: energy, danceability, valence and moods, each a plain sum of things one can point at.

Every measure is a weighted mean of ramps over physical traits, so it can be explained ("0.8 because it is loud and
dense") and is monotone in each trait. The weights are judgements founded on the cited work, not fitted to listeners.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from adapters.ears.onsets import local_mean, onset_frames
from adapters.ears.spectrum import CHORD_RATE, FRAME_RATE, MOMENT_EVERY, band_centres, portions
from adapters.ears.trace import Trace

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: The windows over which the clarity of the pulse is averaged: 11.9 s.
PULSE_FRAMES = 1024
#: What rises less than this out of its surroundings is a swell or a flutter, not an onset.
ONSET_MIN = 0.6
#: Below this level in LUFS nobody hears anything to describe.
SILENCE_LUFS = -70.0


class Traits(Struct, frozen=True, kw_only=True):
    """The physical traits that feelings and genres are made of."""

    loudness_lufs: float
    loudness_range_lu: float
    #: Beats per minute and how sure of them we are; null and 0 without a beat.
    bpm: float | None
    bpm_confidence: float
    tempo_stability: float
    #: Onsets per second.
    onset_rate: float
    #: Height of the best peak of the onset curve's autocorrelation between 0.25 and 1.5 s, 0..1.
    pulse_clarity: float
    #: Mean strength of the attacks, 0 soft .. 1 hard.
    attack: float
    #: Mean spectral centroid of what is loud, in Hz.
    brightness_hz: float
    #: Mean spectral flatness of what is loud, 0 tonal .. 1 noise.
    flatness: float
    #: Share of the power that lies below 140 Hz.
    bass_share: float
    #: Share of beats on which a kick falls, and by how much kicks prefer beats to the middle between them, 0..1.
    kick_on_beats: float
    #: How much the high register prefers the middle between beats, 0..1.
    hats_between_beats: float
    #: How much the snare's register prefers every other beat, 0..1.
    backbeat: float
    #: Probability that the key is a major one.
    majorness: float
    #: How far the pitch classes stand out of a flat distribution, 0..1.
    tonality: float
    #: Entropy of harmony over time: how much the pitch classes change from bar to bar, 0..1.
    harmonic_change: float


class Feelings(Struct, frozen=True):
    """Energy, danceability and valence, 0..1, and the moods that follow from them."""

    energy: float
    danceability: float
    valence: float
    moods: tuple[str, ...]


def feel(traits: Traits) -> Feelings:
    """All feelings of one recording."""
    return Feelings(energy(traits), danceability(traits), valence(traits), moods(traits))


def energy(traits: Traits) -> float:
    """How aroused the music sounds: loudness, density of onsets, hardness of attacks and brightness.

    Loudness, tempo and density, and brightness are the acoustic correlates of arousal (Schubert 2004; Gabrielsson &
    Lindström 2010; Eerola, Lartillot & Toiviainen 2009).
    """
    return arousal(traits.loudness_lufs, traits.onset_rate, traits.attack, traits.brightness_hz)


def arousal(loudness_lufs: float, onset_rate: float, attack: float, brightness_hz: float) -> float:
    """The same sum for any stretch of the recording; monotone in each of its four terms."""
    return _mean(
        (0.40, _ramp(loudness_lufs, -34.0, -7.0)),
        (0.20, _ramp(onset_rate, 0.5, 7.0)),
        (0.20, attack),
        (0.20, _ramp(_octaves(brightness_hz), _octaves(500.0), _octaves(3500.0))),
    )


def danceability(traits: Traits) -> float:
    """How readily a body moves to it: a clear pulse, kicks on the beats, a tempo near that of dancing, a steady hand.

    Pulse clarity after Lartillot et al. 2008; low-frequency beats move people (Burger et al. 2013); preferred tempo is
    a hill around 120 beats per minute (Moelants 2002); steadiness as in Streich & Herrera 2005.
    """
    beat = 0.3 + 0.7 * traits.bpm_confidence
    return _mean(
        (0.35, _ramp(traits.pulse_clarity, 0.05, 0.6)),
        (0.25, traits.kick_on_beats * beat),
        (0.25, tempo_comfort(traits.bpm) * beat),
        (0.15, traits.tempo_stability * beat),
    )


def valence(traits: Traits) -> float:
    """How glad rather than sad it sounds: major rather than minor, quick, bright, clearly pulsed.

    Mode and tempo are the two strongest cues (Hevner 1936; Gagnon & Peretz 2003); brightness and pulse clarity add to
    them (Eerola, Lartillot & Toiviainen 2009). Where no key can be told the mode says nothing either way.
    """
    tempo = 0.5 if traits.bpm is None else _ramp(traits.bpm, 60.0, 160.0)
    return _mean(
        (0.45, traits.majorness),
        (0.25, 0.5 + (tempo - 0.5) * (0.3 + 0.7 * traits.bpm_confidence)),
        (0.15, _ramp(_octaves(traits.brightness_hz), _octaves(400.0), _octaves(3200.0))),
        (0.15, _ramp(traits.pulse_clarity, 0.0, 0.6)),
    )


def mood_strengths(traits: Traits) -> dict[str, float]:
    """How well each of the ten words fits, 0..1: places on Russell's (1980) circle of arousal and valence, coloured.

    Every word is a geometric mean, so all of its conditions must hold, not one of them strongly.
    """
    arousal, gladness = energy(traits), valence(traits)
    light = _ramp(_octaves(traits.brightness_hz), _octaves(500.0), _octaves(3500.0))
    noise = _ramp(traits.flatness, 0.005, 0.15)
    loud = _ramp(traits.loudness_lufs, -24.0, -8.0)
    minor = 1 - traits.majorness
    return {
        "energetic": _all(_ramp(arousal, 0.3, 0.9)),
        "calm": _all(_ramp(1 - arousal, 0.3, 0.9), 1 - traits.attack),
        "dark": _all(1 - light, minor, _ramp(1 - gladness, 0.2, 0.8)),
        "bright": _all(light, traits.majorness, _ramp(gladness, 0.2, 0.8)),
        "melancholic": _all(minor, _ramp(1 - gladness, 0.2, 0.8), _ramp(1 - arousal, 0.2, 0.8), traits.tonality),
        "aggressive": _all(arousal, loud, noise, traits.attack, 1 - gladness),
        "uplifting": _all(_ramp(gladness, 0.3, 0.9), _ramp(arousal, 0.2, 0.8), traits.majorness),
        "dreamy": _all(1 - traits.attack, _ramp(1 - arousal, 0.1, 0.8), 1 - _ramp(traits.pulse_clarity, 0.1, 0.6)),
        "tense": _all(arousal, minor, 1 - traits.tonality, 1 - gladness),
        "playful": _all(gladness, _ramp(traits.onset_rate, 1.5, 6.0), traits.attack, 1 - loud),
    }


#: A word is given when it fits at least this well, and no more than so many words are.
MOOD_MIN = 0.6
MOODS_MAX = 4


def moods(traits: Traits) -> tuple[str, ...]:
    """The words that fit, best first; none where none does."""
    fitting = [(strength, word) for word, strength in mood_strengths(traits).items() if strength >= MOOD_MIN]
    return tuple(word for _, word in sorted(fitting, reverse=True)[:MOODS_MAX])


def tempo_comfort(bpm: float | None) -> float:
    """0..1, a hill over the logarithm of tempo with its top at 120 beats per minute (Moelants 2002); 0 without one."""
    return 0.0 if bpm is None else math.exp(-0.5 * (math.log2(bpm / 120.0) / 0.45) ** 2)


def observe(
    trace: Trace,
    chroma: Array,
    *,
    loudness_lufs: float,
    loudness_range_lu: float | None,
    bpm: float | None,
    bpm_confidence: float,
    beats: Float64,
    majorness: float,
) -> Traits:
    """Measure all traits of a recording that is not silent.

    `chroma` is (chords, 12) pitch-class salience at `CHORD_RATE`; `beats` are in seconds.
    """
    strengths = trace.strengths
    rising = strengths.sum(axis=1, dtype=np.float32)
    rising -= local_mean(rising, int(1.2 * FRAME_RATE))
    np.maximum(rising, 0, out=rising)
    loud = trace.rms[::MOMENT_EVERY] > 0.2 * _mean_level(trace.rms)
    moments = loud[: len(trace.centroid)]
    onsets = onset_frames(rising, max(ONSET_MIN, 0.35 * float(np.percentile(rising, 98))) if len(rising) else 0.0)
    low, middle, high = strengths[:, 0], strengths[:, 2:4].sum(axis=1, dtype=np.float32), strengths[:, 4]
    kick_on, kick_between = _at(low, beats, 0.0), _at(low, beats, 0.5)
    high_on, high_between = _at(high, beats, 0.0), _at(high, beats, 0.5)
    snare = _at(middle, beats, 0.0)
    tonal = tonality(chroma)
    return Traits(
        loudness_lufs=loudness_lufs,
        loudness_range_lu=loudness_range_lu or 0.0,
        bpm=bpm,
        bpm_confidence=bpm_confidence,
        tempo_stability=tempo_stability(beats),
        onset_rate=len(onsets) / max(trace.seconds, 1e-6),
        pulse_clarity=pulse_clarity(rising),
        attack=_ramp(float(rising[onsets].mean()) if len(onsets) else 0.0, 0.5, 9.0),
        brightness_hz=float(np.mean(trace.centroid[moments], dtype=np.float64)) if moments.any() else 0.0,
        flatness=float(np.mean(trace.flatness[moments], dtype=np.float64)) if moments.any() else 0.0,
        bass_share=_bass_share(trace),
        kick_on_beats=_preference(kick_on, kick_between) * _presence(kick_on, low),
        hats_between_beats=_preference(high_between, high_on),
        backbeat=_alternation(snare),
        # Drums have no mode, whatever key their resonances would fit best.
        majorness=0.5 + (majorness - 0.5) * min(1.0, 2.5 * tonal),
        tonality=tonal,
        harmonic_change=_harmonic_change(chroma),
    )


def tempo_stability(beats: Float64) -> float:
    """1 for a machine, falling to 0 where neighbouring beats differ by an eighth of their length on average."""
    gaps = np.diff(beats)
    if len(gaps) < 4:
        return 0.0
    around = np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(np.pad(gaps, 4, mode="edge"), 9), axis=1))
    jitter = float(np.mean(np.abs(gaps - around) / around))
    drift = float(np.std(around) / np.mean(around))
    return max(0.0, 1.0 - 8.0 * max(jitter - 0.01, 0.0) - 4.0 * max(drift - 0.01, 0.0))


def pulse_clarity(rising: Array) -> float:
    """0..1: how high the autocorrelation of the (frames,) onset curve rises again at lags of 0.25 to 1.5 s.

    Averaged over windows of 11.9 s, so that a change of tempo on the way does not blur it (Lartillot et al. 2008).
    """
    count = max(1, len(rising) // PULSE_FRAMES)
    size = min(len(rising), PULSE_FRAMES)
    if size < int(3 * FRAME_RATE):
        return 0.0
    first, last = int(0.25 * FRAME_RATE), int(1.5 * FRAME_RATE)
    power, best = np.empty(count, np.float32), np.empty(count, np.float32)
    for start, windows in portions(rising[: count * size].reshape(count, size), 64):
        part = slice(start, start + len(windows))
        spectrum = np.fft.rfft(windows - windows.mean(axis=1, keepdims=True), 2 * size)
        correlation = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:, :last]
        power[part] = correlation[:, 0]
        best[part] = (correlation[:, first:] / (1 - np.arange(first, last) / size)).max(axis=1)
    heard = power > 0.05 * max(float(power.max()), 1e-9)
    return float(np.clip((best[heard] / power[heard]).mean(), 0.0, 1.0)) if heard.any() else 0.0


def _mean_level(rms: NDArray[np.float16]) -> float:
    """The root mean square of the whole recording."""
    squares = sum(float(np.square(block).sum(dtype=np.float64)) for _, block in portions(rms, 1 << 14))
    return math.sqrt(squares / max(len(rms), 1))


def tonality(chroma: Array) -> float:
    """0..1: how far single moments' pitch classes stand out: near 0 for noise and drums, near 1 for clear chords."""
    total = chroma.sum(axis=1)
    heard = total > 0.1 * max(float(total.max(initial=0.0)), 1e-9)
    if not heard.any():
        return 0.0
    shape = chroma[heard] / total[heard, None]
    # The three strongest classes of twelve hold a quarter of a flat distribution and nearly all of a bare triad.
    top = np.sort(shape, axis=1)[:, -3:].sum(axis=1)
    return _ramp(float(top.mean()), 0.42, 0.80)


def _harmonic_change(chroma: Array) -> float:
    step = max(1, round(2 * CHORD_RATE))
    if len(chroma) < 3 * step:
        return 0.0
    parts = chroma[: len(chroma) // step * step].reshape(-1, step, 12).mean(axis=1)
    length = np.linalg.norm(parts, axis=1)
    heard = length > 0.1 * max(float(length.max()), 1e-9)
    parts = parts[heard] / length[heard, None]
    if len(parts) < 2:
        return 0.0
    return _ramp(1 - float(np.mean(np.sum(parts[1:] * parts[:-1], axis=1))), 0.02, 0.4)


def _bass_share(trace: Trace) -> float:
    if trace.loudest < -100:
        return 0.0
    return float(trace.power[band_centres() < 140].sum() / trace.power.sum())


def _at(curve: NDArray[np.floating], beats: Float64, phase: float) -> Float64:
    """(beats - 1,) the curve's highest value within 35 ms of the given phase of each beat."""
    if len(beats) < 4 or not len(curve):
        return np.zeros(0)
    times = beats[:-1] + phase * np.diff(beats)
    reach = round(0.035 * FRAME_RATE)
    around = np.rint(times * FRAME_RATE).astype(int)[:, None] + np.arange(-reach, reach + 1)
    return np.asarray(curve[np.clip(around, 0, len(curve) - 1)].max(axis=1), np.float64)


def _preference(here: Float64, there: Float64) -> float:
    """0..1: how much stronger a register is here than there."""
    total = float(here.mean() + there.mean()) if len(here) else 0.0
    return max(0.0, float(here.mean() - there.mean()) / total) if total > 1e-6 else 0.0


def _presence(here: Float64, curve: NDArray[np.floating]) -> float:
    """The share of places at which a register attacks at all, by half of its usual strength."""
    usual = float(np.percentile(curve.astype(np.float32), 97)) if len(curve) else 0.0
    return float(np.mean(here > 0.5 * usual)) if len(here) and usual > 0.3 else 0.0


def _alternation(values: Float64) -> float:
    if len(values) < 8:
        return 0.0
    even, odd = float(values[::2].mean()), float(values[1::2].mean())
    return abs(even - odd) / (even + odd) if even + odd > 1e-6 else 0.0


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _octaves(hertz: float) -> float:
    return math.log2(max(hertz, 1.0))


def _mean(*terms: tuple[float, float]) -> float:
    return sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms)


def _all(*conditions: float) -> float:
    return math.prod(max(condition, 0.0) for condition in conditions) ** (1 / len(conditions))
