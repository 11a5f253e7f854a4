"""The whole analysis: one pass over the sound, then every percept in turn, and what can honestly be said in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from adapters.ears import chords as harmony
from adapters.ears import descriptors, genres, structure
from adapters.ears.decode import open_audio
from adapters.ears.key import (
    Key,
    agreement,
    chroma,
    evidence,
    key_probabilities,
    keys_in,
    modal_key,
    mode_sureness,
    modes_in,
    ranked,
    shows_mode,
    sureness,
)
from adapters.ears.loudness import OUTLINE_PER_SECOND, STEPS_PER_SECOND, Loudness, Meter, integrated, power_of
from adapters.ears.players import cue_points
from adapters.ears.rhythm import Rhythm, hear_rhythm
from adapters.ears.silence import sounding
from adapters.ears.spectrum import CHORD_RATE, FRAME_RATE, MOMENT_RATE
from adapters.ears.trace import Trace, Tracer
from domain.analyses.findings import (
    Analysis,
    Chord,
    Chromagram,
    Curve,
    Detail,
    Findings,
    KeyCandidate,
    Relation,
    Scale,
    Section,
    TempoCandidate,
    Waveform,
)

Array = NDArray[np.float32]
Half = NDArray[np.float16]
Float64 = NDArray[np.float64]
#: A key by its tonic and scale.
Named = tuple[int, Scale]

#: A curve or outline that is kept for pictures has at most so many points.
POINTS_MAX = 4000
#: Bytes of freed memory that are kept for the next block: more than one block's work needs at once.
KEPT_FREE = 4 << 20
#: The share of all work that decoding and the one pass over the sound take, for progress.
PASS_SHARE = 0.9
#: Steps of 100 ms in which something must be heard; a lone click fills the meter's window for five of them.
AUDIBLE_STEPS_MIN = 8
#: Less likely than this no key is named.
KEY_MIN = 0.2
#: Where neither beat nor key is surer than this, it may be no music at all, and its genre is no surer either.
MUSIC_SURE = 0.5
#: Below this tonality what sounds has no chords worth naming.
TONALITY_MIN = 0.12
#: The piece modulates when a section of at least this length is in another key at least this surely.
MODULATION_SURE = 0.8
MODULATION_SECONDS_MIN = 10.0


def analyse(path: Path, *, progress: Callable[[float], None] | None = None) -> Analysis:
    """All that can be heard in the file at `path`; raises `Unreadable` with a sentence when there is no sound in it.

    Memory grows by some 5 kB per second of music and never holds the samples. `progress` is told shares from 0 to 1.
    """
    tell = progress or (lambda _: None)
    # A block this large, once freed, teaches glibc to keep what is freed after it. Else each block's working memory
    # goes back to the kernel and is fetched again page by page, a fifth of all the time; others do not mind.
    np.empty(KEPT_FREE, np.uint8)
    with open_audio(path) as audio:
        meter, tracer = Meter(audio.sample_rate, audio.layout), Tracer()
        told = 0.0
        for block in audio:
            meter.push(block.samples, block.layout)
            tracer.feed(block.mono)
            share = PASS_SHARE * min(1.0, audio.seconds_decoded / (audio.duration_seconds or float("inf")))
            if share >= told + 0.01:
                tell(told := share)
        heard = Heard(
            seconds=audio.seconds_decoded,
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            loudness=meter.finish(),
            trace=tracer.finish(),
        )
        told_of_file: dict[str, Any] = {
            "decoded_seconds": round(audio.seconds_decoded, 3),
            "claimed_seconds": None if audio.claimed_seconds is None else round(audio.claimed_seconds, 3),
            "complete": audio.complete,
            "warnings": audio.warnings,
        }
    tell(PASS_SHARE)
    analysis = understand(heard)
    tell(1.0)
    return replace(analysis, findings=replace(analysis.findings, **told_of_file))


class Heard(NamedTuple):
    """What one pass over the sound leaves behind."""

    seconds: float
    sample_rate: int
    channels: int
    loudness: Loudness
    trace: Trace


def understand(heard: Heard) -> Analysis:
    """All that follows from one pass over the sound."""
    return _music(heard) if _is_audible(heard) else _silence(heard)


def _is_audible(heard: Heard) -> bool:
    """Something reaches -70 LUFS for long enough to be more than a click."""
    return int(np.count_nonzero(heard.loudness.momentary > descriptors.SILENCE_LUFS)) >= AUDIBLE_STEPS_MIN


def _silence(heard: Heard) -> Analysis:
    """What can be said of a recording in which nothing but a click or two sounds: how long it is, and how loud."""
    findings = Findings(duration_seconds=round(heard.seconds, 3), **_levels(heard.loudness))
    return Analysis(findings=findings, detail=_detail(heard))


def _music(heard: Heard) -> Analysis:
    trace, loudness = heard.trace, heard.loudness
    rhythm = hear_rhythm(trace)
    salience, tuning = trace.salience, trace.tuning
    pitch_classes = chroma(salience)
    inside = slice(*sounding(trace.rms, len(salience)))
    harmonies = evidence(salience[inside])
    probabilities, modes = keys_in(harmonies), modes_in(harmonies)
    keys = _keys(probabilities, modes, pitch_classes[inside])
    tonality = descriptors.tonality(pitch_classes)
    key = keys[0] if keys[0].confidence >= KEY_MIN and tonality > 0 else None
    traits = descriptors.observe(
        trace,
        pitch_classes,
        loudness_lufs=_level(loudness) - _ceiling(loudness),
        loudness_range_lu=loudness.range,
        bpm=rhythm.bpm,
        bpm_confidence=rhythm.bpm_confidence,
        beats=rhythm.beats,
        majorness=float(probabilities[:12].sum()),
    )
    feelings, genre = descriptors.feel(traits), genres.suggest(traits)
    if max(rhythm.bpm_confidence, key.confidence if key else 0.0) < MUSIC_SURE:
        genre = replace(genre, confidence=min(genre.confidence, MUSIC_SURE), review=genre.review or "low_confidence")
    sections = _sections(heard, rhythm, salience, pitch_classes, traits)
    if key:
        settled, share = _settled(key, salience, sections)
        classes, length = pitch_classes[inside], len(pitch_classes[inside]) / CHORD_RATE
        sure = sureness(float(probabilities.max()), agreement(modes, keys[0]), classes, length, share)
        plain = key = replace(settled, confidence=min(settled.confidence, sure))
        modal = modal_key(modes, plain) if share == 1.0 and shows_mode(classes, length) else None
        if modal is not None:
            key = replace(modal, confidence=mode_sureness(modal.confidence, classes, length))
            keys = (key, *(other for other in keys if (other.tonic, other.scale) != (key.tonic, key.scale)))[:3]
            sections = _named_alike(sections, _relatives(plain), key)
    chords = _chords(heard, rhythm, salience, tonality)
    fades = structure.hear_fades(loudness.short_term, STEPS_PER_SECOND)
    bar_seconds = (rhythm.beats_per_bar or 4) * 60.0 / (rhythm.bpm or 120.0)
    findings = Findings(
        duration_seconds=round(heard.seconds, 3),
        **_levels(loudness),
        **_tempo(rhythm),
        key=key.name if key else None,
        scale=key.scale if key else None,
        key_notation=key.notation if key else None,
        key_confidence=_share(key.confidence) if key else 0.0,
        key_candidates=tuple(KeyCandidate(key_notation=k.notation, confidence=_share(k.confidence)) for k in keys),
        camelot=key.camelot if key else None,
        tuning_hz=round(440.0 * 2 ** (tuning / 12), 2) if key else None,
        tuning_cents=round(100 * tuning, 1) if key else None,
        modulates=_modulates(plain, salience, sections) if key else None,
        mode=key.mode if key else None,
        energy=_share(feelings.energy),
        danceability=_share(feelings.danceability),
        valence=_share(feelings.valence),
        mood_tags=feelings.moods,
        genre_suggestions=genre.suggestions,
        genre_confidence=_share(genre.confidence),
        genre_review_recommended=genre.review is not None,
        genre_review_code=genre.review,
        sections=sections,
        fade_in_end_seconds=_seconds(fades.in_end),
        fade_out_start_seconds=_seconds(fades.out_start),
        chord_progression=harmony.progression(chords, bar_seconds),
    )
    return Analysis(findings=findings, detail=_detail(heard, rhythm, pitch_classes, chords, sections))


def _keys(probabilities: Float64, modes: Float64, pitch_classes: Array) -> tuple[Key, ...]:
    """The likeliest keys, each as sure as length and harmony of the recording allow."""
    keys = ranked(probabilities)
    best = keys[0].confidence
    share = sureness(best, agreement(modes, keys[0]), pitch_classes, len(pitch_classes) / CHORD_RATE) / best
    return tuple(replace(key, confidence=min(key.confidence * share, key.confidence)) for key in keys)


def _tempo(rhythm: Rhythm) -> dict[str, Any]:
    """The findings about tempo, beat and metre."""
    text = None
    if rhythm.beats_per_bar is not None:
        text = f"{rhythm.beats_per_bar}/{rhythm.beat_unit or 4}"
    return {
        "bpm": None if rhythm.bpm is None else round(rhythm.bpm, 3 if rhythm.on_grid else 2),
        "bpm_confidence": _share(rhythm.bpm_confidence),
        "bpm_stdev": None if rhythm.bpm_stdev is None else round(rhythm.bpm_stdev, 4),
        "first_beat_seconds": round(float(rhythm.beats[0]), 4) if rhythm.on_grid and len(rhythm.beats) else None,
        "bpm_candidates": tuple(
            TempoCandidate(bpm=round(bpm, 2), confidence=_share(confidence), relation=_relation(bpm, rhythm.bpm))
            for bpm, confidence in rhythm.candidates
        ),
        "tempo_stability": None if rhythm.stability is None else _share(rhythm.stability),
        "tempo_is_variable": rhythm.tempo_varies,
        "beat_count": len(rhythm.beats),
        "time_signature": rhythm.beats_per_bar,
        "time_signature_text": text,
        "time_signature_confidence": _share(rhythm.metre_confidence),
        "downbeat_confidence": _share(rhythm.downbeat_confidence),
    }


def _relation(bpm: float, to: float | None) -> Relation:
    """Which simple multiple of the chosen tempo another one is, within four per cent."""
    multiples: tuple[tuple[float, Relation], ...] = (
        (1.0, "same"),
        (0.5, "half"),
        (2.0, "double"),
        (1 / 3, "third"),
        (3.0, "triple"),
    )
    for factor, name in multiples:
        if to is not None and abs(bpm / (to * factor) - 1) <= 0.04:
            return name
    return "other"


def _levels(loudness: Loudness) -> dict[str, Any]:
    """The findings of the loudness meter."""
    return {
        "loudness_lufs": _decibels(loudness.integrated),
        "loudness_range_lu": _decibels(loudness.range),
        "short_term_max_lufs": _decibels(loudness.short_term_max),
        "momentary_max_lufs": _decibels(loudness.momentary_max),
        "true_peak_dbtp": _decibels(loudness.true_peak),
        "sample_peak_dbfs": _decibels(loudness.sample_peak),
        "rms_dbfs": _decibels(loudness.rms),
        "clipped_share": round(loudness.clipped_share, 6),
    }


def _level(loudness: Loudness) -> float:
    """The loudness that feelings are made of; of what is too short for the meter, the plain level."""
    return next(level for level in (loudness.integrated, loudness.rms, -70.0) if level is not None)


def _ceiling(loudness: Loudness) -> float:
    """The highest sample in dBFS: feelings are those of the music at full scale, wherever the volume knob stood."""
    return loudness.sample_peak or 0.0


def _sections(
    heard: Heard, rhythm: Rhythm, salience: Half, pitch_classes: Array, traits: descriptors.Traits
) -> tuple[Section, ...]:
    trace = heard.trace
    stretches = structure.hear_sections(pitch_classes, trace.levels, CHORD_RATE, rhythm.downbeats, heard.seconds)
    sections: list[Section] = []
    for stretch in stretches:
        key = ranked(key_probabilities(_rows(salience, CHORD_RATE, stretch)), 1)[0]
        steps = _rows(heard.loudness.momentary, STEPS_PER_SECOND, stretch)
        level = integrated(power_of(steps)) if len(steps) else None
        energy = None
        if level is not None:
            count = np.count_nonzero((rhythm.onsets >= stretch.start) & (rhythm.onsets < stretch.end))
            centroid = _rows(trace.centroid, MOMENT_RATE, stretch)
            energy = descriptors.arousal(
                level - _ceiling(heard.loudness),
                count / max(stretch.end - stretch.start, 1e-3),
                traits.attack,
                float(centroid[centroid > 0].mean(dtype=np.float64)) if (centroid > 0).any() else 0.0,
            )
        sections.append(
            Section(
                start=round(stretch.start, 3),
                end=round(stretch.end, 3),
                duration=round(stretch.end - stretch.start, 3),
                label=stretch.label,
                energy=None if energy is None else _share(energy),
                loudness=_decibels(level),
                key=key.notation if level is not None and key.confidence >= KEY_MIN and traits.tonality > 0 else None,
                confidence=_share(stretch.confidence),
            )
        )
    return tuple(sections)


def _sure_keys(salience: Half, sections: tuple[Section, ...]) -> list[tuple[Key, float]]:
    """The key and the seconds of each section of ten seconds or more whose key is sure."""
    found: list[tuple[Key, float]] = []
    for section in sections:
        if section.key is not None and section.duration >= MODULATION_SECONDS_MIN:
            rows = salience[round(section.start * CHORD_RATE) : round(section.end * CHORD_RATE)]
            # A last chord before a long silence is no other key.
            sounds = np.count_nonzero(rows.any(axis=1)) / CHORD_RATE
            there = ranked(key_probabilities(rows), 1)[0]
            if there.confidence >= MODULATION_SURE and sounds >= MODULATION_SECONDS_MIN:
                found.append((there, sounds))
    return found


def _settled(key: Key, salience: Half, sections: tuple[Section, ...]) -> tuple[Key, float]:
    """The key of a piece that may be in several: one in which much of it surely is, no mean of two that it is not in.

    And the share of the time that is in some key surely for which it or its relative holds.
    """
    seconds: dict[Named, float] = {}
    keys: dict[Named, Key] = {}
    for there, length in _sure_keys(salience, sections):
        name = (there.tonic, there.scale)
        seconds[name] = seconds.get(name, 0.0) + length
        keys.setdefault(name, there)
    if len(seconds) < 2:
        return key, 1.0
    home = (key.tonic, key.scale)
    name = home if home in seconds else max(seconds, key=lambda one: seconds[one])
    others = sum(length for other, length in seconds.items() if other not in _relatives(keys[name]))
    share = seconds[name] / (seconds[name] + others)
    return replace(keys[name], confidence=min(key.confidence, keys[name].confidence)), share


def _named_alike(sections: tuple[Section, ...], names: set[Named], key: Key) -> tuple[Section, ...]:
    """The sections; those in one of the keys that `names` holds are named by the mode that was found in the whole."""
    notations = {Key(tonic, scale, 0.0).notation for tonic, scale in names}
    return tuple(replace(one, key=key.notation) if one.key in notations else one for one in sections)


def _relatives(key: Key) -> set[Named]:
    """The key and its relative, which is but a shade of it."""
    other: Named = ((key.tonic + 9) % 12, "minor") if key.scale == "major" else ((key.tonic + 3) % 12, "major")
    return {(key.tonic, key.scale), other}


def _modulates(key: Key, salience: Half, sections: tuple[Section, ...]) -> bool:
    """Whether a section of ten seconds or more is surely in another key, its relative aside."""
    return any((there.tonic, there.scale) not in _relatives(key) for there, _ in _sure_keys(salience, sections))


def _chords(heard: Heard, rhythm: Rhythm, salience: Half, tonality: float) -> tuple[Chord, ...]:
    if tonality < TONALITY_MIN:
        return ()
    return harmony.hear_chords(salience, CHORD_RATE, rhythm.beats, heard.seconds)


def _rows(values: NDArray[Any], rate: float, stretch: structure.Stretch) -> NDArray[Any]:
    """The rows of a clock at `rate` that belong to a stretch, at least one if there are any."""
    first = min(round(stretch.start * rate), max(len(values) - 1, 0))
    return values[first : max(first + 1, round(stretch.end * rate))]


def _detail(
    heard: Heard,
    rhythm: Rhythm | None = None,
    pitch_classes: Array | None = None,
    chords: tuple[Chord, ...] = (),
    sections: tuple[Section, ...] = (),
) -> Detail:
    loudness, trace = heard.loudness, heard.trace
    detail = Detail(
        sample_rate=heard.sample_rate,
        channels=heard.channels,
        sample_count=round(heard.seconds * heard.sample_rate),
        loudness_momentary=_curve(loudness.momentary, STEPS_PER_SECOND),
        loudness_short_term=_curve(loudness.short_term, STEPS_PER_SECOND),
        waveform=_waveform(loudness),
    )
    if rhythm is None or pitch_classes is None:
        return detail
    clocks = structure.Clocks(FRAME_RATE, MOMENT_RATE, CHORD_RATE, heard.seconds)
    return replace(
        detail,
        beats=_times(rhythm.beats),
        downbeats=_times(rhythm.downbeats),
        onsets=_times(rhythm.onsets),
        tempo_curve=_tempo_curve(rhythm.beats, heard.seconds),
        chords=chords,
        segments=structure.hear_segments(rhythm.onsets, pitch_classes, trace.cepstrum, trace.rms, clocks),
        chromagram=_chromagram(pitch_classes),
        cue_points=cue_points(sections, _times(rhythm.downbeats)),
    )


def _curve(values: Float64, per_second: float) -> Curve:
    """The curve in at most `POINTS_MAX` points, each the loudest of those it stands for; silence is null."""
    every = max(1, -(-len(values) // POINTS_MAX))
    starts = np.arange(0, len(values), every)
    kept = np.maximum.reduceat(values, starts) if len(starts) else values
    points = tuple(round(value, 2) if value > -120 else None for value in kept.tolist())
    return Curve(step_seconds=every / per_second, values=points)


def _waveform(loudness: Loudness) -> Waveform:
    every = max(1, -(-len(loudness.lows) // POINTS_MAX))
    starts = np.arange(0, len(loudness.lows), every)
    lows = np.minimum.reduceat(loudness.lows, starts) if len(starts) else loudness.lows
    highs = np.maximum.reduceat(loudness.highs, starts) if len(starts) else loudness.highs
    return Waveform(
        step_seconds=every / OUTLINE_PER_SECOND,
        lows=tuple(np.round(np.maximum(lows, -1.0).astype(np.float64), 4).tolist()),
        highs=tuple(np.round(np.minimum(highs, 1.0).astype(np.float64), 4).tolist()),
    )


def _chromagram(pitch_classes: Array) -> Chromagram:
    every = max(1, -(-len(pitch_classes) // POINTS_MAX))
    starts = np.arange(0, len(pitch_classes), every)
    rows = np.add.reduceat(pitch_classes, starts, axis=0) if len(starts) else pitch_classes
    rows = rows / np.maximum(rows.max(axis=1, keepdims=True), 1e-9)
    return Chromagram(step_seconds=every / CHORD_RATE, rows=tuple(tuple(np.round(row, 3).tolist()) for row in rows))


def _tempo_curve(beats: Float64, seconds: float) -> Curve:
    """The tempo around each step in beats per minute, null where fewer than four beats are near."""
    step = max(2.0, seconds / POINTS_MAX)
    values: list[float | None] = []
    for centre in np.arange(step / 2, seconds, step):
        near = beats[(beats > centre - 4) & (beats < centre + 4)]
        values.append(round(60.0 / float(np.median(np.diff(near))), 2) if len(near) >= 4 else None)
    return Curve(step_seconds=step, values=tuple(values))


def _times(seconds: Float64) -> tuple[float, ...]:
    return tuple(round(float(time), 3) for time in seconds)


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 3)


def _decibels(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
