"""The analysis in the words of others: Spotify's two retired schemas, and the waveform format that web players read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Any

from adapters.ears.key import NOTE_NAMES
from domain.analyses.findings import Analysis, Findings, Section

ANALYZER_VERSION = "ledgerline 1"
#: Spotify's "no key was detected".
NO_KEY = -1
#: What Spotify's schemas allow as a time signature; other metres are left out rather than bent.
METRES = range(3, 8)


def spotify_features(findings: Findings, *, analysis_id: str = "", analysis_url: str = "") -> dict[str, Any]:
    """Spotify's "audio features" of one track.

    Speechiness, acousticness, instrumentalness and liveness are not measured here, so they are null, never guessed.
    Every field is always there, since readers broke when Spotify left fields out.
    """
    return {
        "danceability": findings.danceability,
        "energy": findings.energy,
        "key": _pitch_class(findings.key),
        "loudness": findings.loudness_lufs,
        "mode": _mode(findings.scale),
        "speechiness": None,
        "acousticness": None,
        "instrumentalness": None,
        "liveness": None,
        "valence": findings.valence,
        "tempo": findings.bpm,
        "type": "audio_features",
        "id": analysis_id,
        "uri": f"ledgerline:analysis:{analysis_id}" if analysis_id else None,
        "track_href": None,
        "analysis_url": analysis_url or None,
        "duration_ms": round(1000 * findings.duration_seconds),
        "time_signature": _metre(findings.time_signature),
    }


def spotify_analysis(analysis: Analysis, *, timestamp: int = 0, analysis_seconds: float = 0.0) -> dict[str, Any]:
    """Spotify's "audio analysis" of one track: meta, track, bars, beats, tatums, sections and segments.

    `timestamp` is when it was analysed, in seconds since 1970. The fingerprint strings were never documented and are
    empty. A tatum here is half a beat.
    """
    findings, detail = analysis.findings, analysis.detail
    end = findings.duration_seconds
    confidence = findings.bpm_confidence
    beats = _intervals(detail.beats, end, confidence)
    return {
        "meta": {
            "analyzer_version": ANALYZER_VERSION,
            "platform": "Linux",
            "detailed_status": "OK",
            "status_code": 0,
            "timestamp": timestamp,
            "analysis_time": analysis_seconds,
            "input_process": f"{detail.channels} channels at {detail.sample_rate} Hz",
        },
        "track": _track(analysis),
        "bars": _intervals(detail.downbeats, end, min(confidence, findings.time_signature_confidence)),
        "beats": beats,
        "tatums": [half for beat in beats for half in _halves(beat)],
        "sections": [_section(section, findings) for section in findings.sections],
        "segments": [
            {
                "start": segment.start,
                "duration": segment.duration,
                "confidence": segment.confidence,
                "loudness_start": segment.loudness_start,
                "loudness_max": segment.loudness_max,
                "loudness_max_time": segment.loudness_max_time,
                "loudness_end": following.loudness_start if following is not None else None,
                "pitches": segment.pitches,
                "timbre": segment.timbre,
            }
            for segment, following in zip_longest(detail.segments, detail.segments[1:])
        ],
    }


def _track(analysis: Analysis) -> dict[str, Any]:
    findings, detail = analysis.findings, analysis.detail
    fade_out = findings.fade_out_start_seconds
    return {
        "num_samples": detail.sample_count,
        "duration": findings.duration_seconds,
        "sample_md5": "",
        "offset_seconds": 0,
        "window_seconds": 0,
        "analysis_sample_rate": detail.sample_rate,
        "analysis_channels": detail.channels,
        "end_of_fade_in": findings.fade_in_end_seconds or 0.0,
        "start_of_fade_out": findings.duration_seconds if fade_out is None else fade_out,
        "loudness": findings.loudness_lufs,
        "tempo": findings.bpm,
        "tempo_confidence": findings.bpm_confidence,
        "time_signature": _metre(findings.time_signature),
        "time_signature_confidence": findings.time_signature_confidence,
        "key": _pitch_class(findings.key),
        "key_confidence": findings.key_confidence,
        "mode": _mode(findings.scale),
        "mode_confidence": findings.key_confidence,
        "codestring": "",
        "code_version": 0,
        "echoprintstring": "",
        "echoprint_version": 0,
        "synchstring": "",
        "synch_version": 0,
        "rhythmstring": "",
        "rhythm_version": 0,
    }


def _section(section: Section, findings: Findings) -> dict[str, Any]:
    notation = section.key or ""
    minor = notation.endswith("m")
    return {
        "start": section.start,
        "duration": section.duration,
        "confidence": section.confidence,
        "loudness": section.loudness,
        "tempo": findings.bpm,
        "tempo_confidence": findings.bpm_confidence,
        "key": _pitch_class(notation.removesuffix("m") or None),
        "key_confidence": findings.key_confidence,
        "mode": _mode("minor" if minor else "major") if notation else None,
        "mode_confidence": findings.key_confidence,
        "time_signature": _metre(findings.time_signature),
        "time_signature_confidence": findings.time_signature_confidence,
    }


def _intervals(starts: Sequence[float], end: float, confidence: float) -> list[dict[str, float]]:
    return [
        {"start": start, "duration": round(following - start, 3), "confidence": confidence}
        for start, following in pairwise((*starts, max(end, starts[-1] if starts else end)))
    ]


def _halves(beat: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    half = round(beat["duration"] / 2, 3)
    first = {**beat, "duration": half}
    return first, {**first, "start": round(beat["start"] + half, 3)}


def _pitch_class(key: str | None) -> int:
    return NO_KEY if key is None else NOTE_NAMES.index(key)


def _mode(scale: str | None) -> int | None:
    return None if scale is None else int(scale == "major")


def _metre(beats: int | None) -> int | None:
    return beats if beats in METRES else None
