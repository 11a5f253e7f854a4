"""Oscillators without aliasing, strings, struck bars and envelopes: what instruments are built from.

Sources: Karplus and Strong, Digital Synthesis of Plucked-String and Drum Timbres (1983), with the fractional delay of
Jaffe and Smith (1983); Chowning, The Synthesis of Complex Audio Spectra by Means of Frequency Modulation (1973);
Fletcher and Rossing, The Physics of Musical Instruments (1998), for the ratios of bars and stiff strings.

Wave tables hold the sum of exactly those harmonics that lie below `HIGHEST`, so nothing folds back. A filter that moves
is a row of tables with ever fewer harmonics, between which the sound glides; there is no recursion to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from adapters.band import wav

RATE = wav.RATE
#: Nothing is made above it (Hz), so that even a note bent up by a tone stays below half the rate.
HIGHEST = 18_500.0
TABLE = 4096
#: Cutoffs (Hz) between which a moving filter glides.
CUTOFFS = np.geomspace(60.0, 19_000.0, 22)
#: Samples that are worked on at once.
PIECE = 1 << 14

#: How much of every fifth harmonic a wave keeps.
FIFTH_HARMONIC = 0.25

Sound = NDArray[np.float32]
Array = NDArray[np.float64]


def frequency(pitch: float) -> float:
    """Hz of a MIDI number."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def noise(count: int, seed: int) -> Sound:
    """White noise in (-1, 1), the same for the same seed."""
    return np.random.Generator(np.random.PCG64(seed)).random(count, dtype=np.float32) * 2 - 1


def times(seconds: float) -> Array:
    """The times of all samples of so many seconds."""
    return np.arange(max(1, round(seconds * RATE))) / RATE


def harmonics(shape: str, count: int) -> Array:
    """Amplitudes of the first `count` harmonics of a wave: saw, square, pulse, triangle, organ or sine.

    Every fifth harmonic is weak: it is a major third, which a bass or a lead would hold against each minor chord.
    """
    k = np.arange(1, count + 1, dtype=np.float64)
    mild = np.where(k % 5 == 0, FIFTH_HARMONIC, 1.0)
    match shape:
        case "saw":
            return mild / k
        case "square":
            return np.where(k % 2 == 1, mild / k, 0.0)
        case "pulse":
            return mild * np.abs(np.sin(np.pi * k * 0.28)) / k
        case "triangle":
            return np.where(k % 2 == 1, 1 / k**2, 0.0)
        case "organ":
            bars = {1: 1.0, 2: 0.7, 3: 0.6, 4: 0.35, 6: 0.2, 8: 0.18}
            return np.array([bars.get(int(each), 0.0) for each in k])
        case _:
            return np.where(k == 1, 1.0, 0.0)


#: Centres (Hz), widths and heights of the resonances of an "ah".
VOWEL = ((650, 120, 1.0), (1080, 140, 0.6), (2650, 250, 0.25), (3500, 400, 0.12))


@lru_cache(maxsize=32)
def filtered_tables(shape: str, hertz: float, resonance: float, *, vowel: bool = False) -> Sound:
    """(cutoffs, TABLE + 1) one period of the wave behind each cutoff of a low-pass filter with four poles."""
    count = max(1, min(TABLE // 2 - 1, int(HIGHEST / hertz)))
    k = np.arange(1, count + 1)
    ratio = k * hertz / CUTOFFS[:, None]
    damping = 1 / max(0.5, resonance)
    gains = 1 / np.sqrt((1 - ratio**2) ** 2 + (ratio * damping) ** 2) / np.sqrt(1 + ratio**4)
    amplitudes = harmonics(shape, count)
    if vowel:
        amplitudes = amplitudes * (
            0.02 + sum(height / (1 + ((k * hertz - centre) / width) ** 2) for centre, width, height in VOWEL)
        )
    spectrum = np.zeros((len(CUTOFFS), TABLE // 2 + 1), dtype=np.complex128)
    spectrum[:, 1 : count + 1] = -0.5j * TABLE * amplitudes * gains
    tables = np.fft.irfft(spectrum, axis=1)
    return np.concatenate([tables, tables[:, :1]], axis=1).astype(np.float32)


def scan(tables: Sound, phase: Array, cutoff: Array | float) -> Sound:
    """The wave at these phases (in periods), behind a filter at these cutoffs (Hz)."""
    if isinstance(cutoff, float):
        row = _rows(np.array([cutoff]))[0]
        first = min(int(row), len(CUTOFFS) - 2)
        tables = (tables[first] + np.float32(row - first) * (tables[first + 1] - tables[first]))[None, :]
    sound = np.empty(len(phase), dtype=np.float32)
    # Piece by piece: what is reckoned with stays near the processor, and a chord of eight bars takes no more memory.
    for start in range(0, len(phase), PIECE):
        piece = slice(start, start + PIECE)
        place = phase[piece] * TABLE
        index = place.astype(np.int64)
        fraction = (place - index).astype(np.float32)
        index &= TABLE - 1
        if isinstance(cutoff, float):
            sound[piece] = _between(tables, index, fraction)
            continue
        rows = _rows(cutoff[piece])
        first_row = np.minimum(rows.astype(np.int64), len(CUTOFFS) - 2)
        index += first_row * (TABLE + 1)
        dark = _between(tables, index, fraction)
        bright = _between(tables, index + (TABLE + 1), fraction)
        sound[piece] = dark + (rows - first_row).astype(np.float32) * (bright - dark)
    return sound


def _rows(cutoff: Array) -> Array:
    """Where cutoffs (Hz) lie among the rows of a table, from 0 on."""
    low, high = float(CUTOFFS[0]), float(CUTOFFS[-1])
    return np.asarray((len(CUTOFFS) - 1) / np.log(high / low) * np.log(np.clip(cutoff, low, high) / low))


def _between(tables: Sound, index: NDArray[np.int64], fraction: Sound) -> Sound:
    """What lies between each place in the tables and the next."""
    flat = tables.reshape(-1)
    here: Sound = flat[index]
    here += fraction * (flat[index + 1] - here)
    return here


def envelope(count: int, held: int, attack: float, decay: float, sustain: float, release: float) -> Sound:
    """Rise, fall to a level, hold, and die away after `held` samples; it starts and ends at zero without a corner."""
    t = np.arange(count, dtype=np.float32) / RATE
    rise = np.clip(t / max(attack, 0.001), 0, 1)
    level = sustain + (1 - sustain) * np.exp(-np.maximum(t - attack, 0) / max(decay, 0.001))
    shape = rise * rise * (3 - 2 * rise) * level
    if held < count:
        after = np.arange(count - held, dtype=np.float32) / RATE
        shape[held:] = shape[held - 1] * np.exp(-after * 5 / max(release, 0.004))
    fade = min(count, round(0.004 * RATE))
    shape[count - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return shape.astype(np.float32)


def smoothed_end(sound: Sound, seconds: float = 0.004) -> Sound:
    """The sound with its last milliseconds faded, in place."""
    count = min(sound.shape[-1], round(seconds * RATE))
    sound[..., sound.shape[-1] - count :] *= np.linspace(1, 0, count, dtype=np.float32)
    return sound


def string(hertz: float, seconds: float, *, brightness: float, ring: float, seed: int) -> Sound:
    """A plucked string: a burst of noise that goes round a delay line, losing its highest tones at each turn.

    `brightness` from 0 to 1 is that of the pluck, `ring` the seconds until it is 60 dB down.
    """
    count = max(1, round(seconds * RATE))
    period = RATE / hertz
    # The averaging of neighbours delays by half a sample, the all-pass by what is left to the true period.
    whole = int(period - 0.5 - 0.1)
    rest = period - 0.5 - whole
    gain = 10 ** (-3 / (ring * hertz))
    burst = noise(whole, seed).astype(np.float64)
    burst -= burst.mean()
    pole = 0.92 * (1 - brightness)
    burst = signal.lfilter([1 - pole], [1, -pole], np.tile(burst, 3))
    # A finger is no needle: what it leaves on a string falls off steeply where a first order alone would still hiss.
    soft = signal.butter(2, 2500.0 + 5000.0 * brightness, "low", fs=RATE)
    burst = signal.lfilter(*soft, burst)[2 * whole :]
    # Plucked at a fifth of its length, it lacks every fifth harmonic.
    burst -= 0.6 * np.roll(burst, whole // 5)
    allpass = (1 - rest) / (1 + rest)
    # y[n] = x[n] + g * A(z) * (y[n-N] + y[n-N-1]) / 2 with A = (a + z^-1) / (1 + a z^-1), multiplied out.
    denominator = np.zeros(whole + 3)
    denominator[0], denominator[1] = 1.0, allpass
    denominator[whole] -= gain * 0.5 * allpass
    denominator[whole + 1] -= gain * 0.5 * (1 + allpass)
    denominator[whole + 2] -= gain * 0.5
    excitation = np.zeros(count)
    excitation[: min(whole, count)] = burst[:count]
    sound = signal.lfilter([1.0, allpass], denominator, excitation)
    return np.asarray(sound / max(1e-9, np.abs(sound).max()), dtype=np.float32)


def struck(
    hertz: float, seconds: float, ratios: Sequence[float], levels: Sequence[float], rings: Sequence[float]
) -> Sound:
    """A struck body: its modes, each a sine that dies away in its own time (seconds until 60 dB down)."""
    t = times(seconds)
    sound = np.zeros(len(t))
    for ratio, level, ring in zip(ratios, levels, rings, strict=True):
        if hertz * ratio < HIGHEST:
            sound += level * np.sin(2 * np.pi * hertz * ratio * t) * np.exp(-6.9 * t / ring)
    return sound.astype(np.float32)


def modulated(phase: Array, ratio: float, index: Array, hertz: float) -> Sound:
    """A sine whose phase another sine pushes; `index` is held back where its sidebands would fold.

    Carson's rule: beyond index + 2 sidebands nothing of note is left.
    """
    most = max(0.0, (HIGHEST - hertz) / (hertz * ratio) - 2)
    pushed = phase * (2 * np.pi) + np.minimum(index, most) * np.sin(phase * (2 * np.pi * ratio))
    return np.asarray(np.sin(pushed), dtype=np.float32)


def drive(sound: Sound, amount: float) -> Sound:
    """Soft saturation; `amount` 0 leaves the sound alone. Loudness of a full wave stays."""
    if amount <= 0:
        return sound
    gain = np.float32(1 + 4 * amount)
    return np.asarray(np.tanh(gain * sound) / np.tanh(gain), dtype=np.float32)


def drive_oversampled(sound: Sound, amount: float) -> Sound:
    """Saturation at four times the rate, for bright sounds whose new harmonics would fold."""
    if amount <= 0:
        return sound
    wide = signal.resample_poly(sound.astype(np.float64), 4, 1, axis=-1)
    driven = np.tanh((1 + 4 * amount) * wide) / np.tanh(1 + 4 * amount)
    return np.asarray(signal.resample_poly(driven, 1, 4, axis=-1), dtype=np.float32)[..., : sound.shape[-1]]


def lowpass(sound: Sound, hertz: float, order: int = 2) -> Sound:
    """Butterworth."""
    return np.asarray(
        signal.sosfilt(signal.butter(order, hertz, "low", fs=RATE, output="sos"), sound), dtype=np.float32
    )


def highpass(sound: Sound, hertz: float, order: int = 2) -> Sound:
    """Butterworth."""
    return np.asarray(
        signal.sosfilt(signal.butter(order, hertz, "high", fs=RATE, output="sos"), sound), dtype=np.float32
    )


def notch(sound: Sound, hertz: float, width: float) -> Sound:
    """(sides, samples) without one frequency; `width` is the share of it at whose edges 3 dB are left."""
    if hertz > 0.45 * RATE:
        return sound
    b, a = signal.iirnotch(hertz, 1 / width, fs=RATE)
    return np.asarray(signal.lfilter(b, a, sound, axis=-1), dtype=np.float32)


def bandpass(sound: Sound, low: float, high: float, order: int = 1) -> Sound:
    """Butterworth."""
    sos = signal.butter(order, (low, high), "band", fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(sos, sound), dtype=np.float32)
