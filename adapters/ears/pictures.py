"""Pictures a musician would look at: the wave with its sections and beats, the pitches, the loudness."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from adapters.ears.key import NOTE_NAMES
from domain.analyses.findings import Analysis, Chord, Findings

NIGHT, PANEL, INK, FAINT = "#12141c", "#191c27", "#e8e6df", "#6f7385"
#: One colour per section letter, told apart by eye and by most colour-blind eyes.
LETTERS = ("#f2b05e", "#5ec8c2", "#e0727f", "#8f9cf3", "#a8cf6b", "#d58fd8", "#e8d36b", "#73b4ea")
HEAT = LinearSegmentedColormap.from_list("heat", ["#151822", "#2d2f5e", "#8b3f78", "#e8795a", "#fbe3a0"])
WIDTH = 14.0
DPI = 110
#: More beats than this would only make a grey band.
TICKS_MAX = 400


def overview(analysis: Analysis, title: str = "") -> bytes:
    """One PNG with everything: headline, wave with sections and beats, pitches, loudness."""
    figure = _figure(8.2)
    grid = figure.add_gridspec(
        4, 1, height_ratios=[0.28, 2.2, 2.0, 1.5], hspace=0.16, left=0.055, right=0.985, top=0.87, bottom=0.065
    )
    strip, wave, pitch, loudness = (figure.add_subplot(grid[row]) for row in range(4))
    _draw_strip(strip, analysis)
    _draw_wave(wave, analysis)
    _draw_pitches(pitch, analysis)
    _draw_loudness(loudness, analysis)
    for axes in (strip, wave, pitch):
        axes.tick_params(labelbottom=False)
    _headline(figure, title, analysis.findings)
    return _png(figure)


def waveform(analysis: Analysis) -> bytes:
    """The wave coloured by section, with beats and downbeats below it, as PNG."""
    figure = _figure(3.0)
    grid = figure.add_gridspec(
        2, 1, height_ratios=[0.14, 1], hspace=0.04, left=0.055, right=0.985, top=0.97, bottom=0.13
    )
    strip, wave = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    _draw_strip(strip, analysis)
    strip.tick_params(labelbottom=False)
    _draw_wave(wave, analysis)
    return _png(figure)


def chromagram(analysis: Analysis) -> bytes:
    """How strong each pitch class is over time, with the chords above, as PNG."""
    figure = _figure(3.2)
    _draw_pitches(figure.add_axes((0.055, 0.13, 0.93, 0.82)), analysis)
    return _png(figure)


def loudness(analysis: Analysis) -> bytes:
    """Momentary and short-term loudness over time with the integrated value, as PNG."""
    figure = _figure(3.0)
    _draw_loudness(figure.add_axes((0.055, 0.14, 0.93, 0.82)), analysis)
    return _png(figure)


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=NIGHT)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=NIGHT)
    return buffer.getvalue()


def _headline(figure: Figure, title: str, findings: Findings) -> None:
    # A name in letters the font does not have would be a row of boxes and a warning.
    figure.text(0.055, 0.945, "".join(sign for sign in title if sign.isprintable() and ord(sign) < 0x2E80)[:80],
                color=INK, fontsize=17, fontweight="bold", va="center", parse_math=False)  # fmt: skip
    facts = [
        f"{findings.bpm:.1f} BPM" if findings.bpm is not None else "",
        findings.time_signature_text or "",
        f"{findings.key} {findings.scale}  {findings.camelot}" if findings.key is not None else "",
        f"{findings.loudness_lufs:.1f} LUFS" if findings.loudness_lufs is not None else "silence",
        ", ".join(findings.mood_tags),
        f"only {findings.duration_seconds:.0f} of {findings.claimed_seconds:.0f} s are in the file"
        if findings.complete is False and findings.claimed_seconds is not None
        else "",
    ]
    figure.text(0.055, 0.9, "     ".join(fact for fact in facts if fact), color=LETTERS[0], fontsize=12.5, va="center")
    warnings = ", ".join(warning.replace("_", " ") for warning in findings.warnings)
    figure.text(0.985, 0.978, warnings, color=LETTERS[0], fontsize=10, ha="right", va="center")


def _dress(axes: Any, seconds: float) -> None:
    axes.set_facecolor(PANEL)
    axes.set_xlim(0, max(seconds, 1e-3))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=FAINT, length=0, labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(14, steps=[1, 1.5, 2, 3, 5, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}"))


def _colour(label: str) -> str:
    return LETTERS[sum((ord(sign) - 64) * 26**place for place, sign in enumerate(reversed(label))) % len(LETTERS) - 1]


def _draw_strip(axes: Any, analysis: Analysis) -> None:
    findings = analysis.findings
    _dress(axes, findings.duration_seconds)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    for section in findings.sections:
        axes.axvspan(section.start, section.end, color=_colour(section.label), alpha=0.9, lw=0)
        axes.axvline(section.start, color=NIGHT, lw=2)
        share = section.duration / max(findings.duration_seconds, 1e-3)
        text = section.label + (f"   in {section.key}" if section.key and share > 0.06 else "")
        if share > 0.012:
            middle = (section.start + section.end) / 2
            axes.text(middle, 0.46, text, color=NIGHT, ha="center", va="center", fontsize=11, fontweight="bold")


def _draw_wave(axes: Any, analysis: Analysis) -> None:
    findings, detail = analysis.findings, analysis.detail
    _dress(axes, findings.duration_seconds)
    lows, highs = np.array(detail.waveform.lows), np.array(detail.waveform.highs)
    times = (np.arange(len(lows)) + 0.5) * detail.waveform.step_seconds
    top = max(0.05, float(np.abs(lows).max(initial=0)), float(np.abs(highs).max(initial=0)))
    axes.set_ylim(-1.32 * top, 1.08 * top)
    axes.set_yticks([])
    spans = [(s.start, s.end, _colour(s.label)) for s in findings.sections] or [(0.0, findings.duration_seconds, FAINT)]
    for start, end, colour in spans:
        inside = (times >= start - detail.waveform.step_seconds) & (times <= end)
        axes.fill_between(times[inside], lows[inside], highs[inside], color=colour, alpha=0.55, lw=0)
        # The core of the wave, where the ear hears level rather than peaks.
        axes.fill_between(times[inside], 0.5 * lows[inside], 0.5 * highs[inside], color=colour, alpha=0.9, lw=0)
    _ticks(axes, detail.beats, -1.27 * top, -1.17 * top, FAINT, 0.7)
    _ticks(axes, detail.downbeats, -1.27 * top, -1.12 * top, INK, 1.1)
    for moment, words in ((findings.fade_in_end_seconds, "fade in"), (findings.fade_out_start_seconds, "fade out")):
        if moment is not None:
            axes.axvline(moment, color=INK, lw=0.9, ls=(0, (4, 3)))
            axes.text(moment, top, f" {words} ", color=INK, fontsize=9, va="top",
                      ha="left" if words == "fade in" else "right", bbox=_CAPTION, zorder=6)  # fmt: skip


def _ticks(axes: Any, times: Sequence[float], low: float, high: float, colour: str, width: float) -> None:
    if 0 < len(times) <= TICKS_MAX:
        axes.vlines(times, low, high, color=colour, lw=width)


def _draw_pitches(axes: Any, analysis: Analysis) -> None:
    findings, detail = analysis.findings, analysis.detail
    _dress(axes, findings.duration_seconds)
    axes.set_yticks(range(12), NOTE_NAMES)
    axes.set_ylim(-0.5, 12.6)
    rows = np.array(detail.chromagram.rows).reshape(-1, 12)
    if len(rows):
        end = len(rows) * detail.chromagram.step_seconds
        axes.imshow(
            rows.T**1.5, aspect="auto", origin="lower", cmap=HEAT, extent=(0, end, -0.5, 11.5), interpolation="nearest"
        )
        axes.set_xlim(0, max(findings.duration_seconds, 1e-3))
    if findings.key is not None:
        tonic = NOTE_NAMES.index(findings.key)
        axes.get_yticklabels()[tonic].set_color(LETTERS[0])
        axes.get_yticklabels()[tonic].set_fontweight("bold")
    for chord in _named(detail.chords, findings.duration_seconds * 0.027):
        axes.text(
            chord.start, 12.05, chord.name, color=INK, fontsize=8, va="center", alpha=0.35 + 0.65 * chord.confidence
        )


def _named(chords: Sequence[Chord], gap: float) -> list[Chord]:
    """The chords whose names fit beside each other, so many seconds apart, the longest first."""
    kept: list[Chord] = []
    long = [chord for chord in chords if chord.name != "N" and chord.end - chord.start >= 0.25 * gap]
    for chord in sorted(long, key=lambda one: one.start - one.end):
        if all(abs(chord.start - other.start) >= gap for other in kept):
            kept.append(chord)
    return sorted(kept, key=lambda one: one.start)


def _draw_loudness(axes: Any, analysis: Analysis) -> None:
    findings, detail = analysis.findings, analysis.detail
    _dress(axes, findings.duration_seconds)
    axes.set_ylabel("LUFS", color=FAINT, fontsize=9)
    momentary, short_term = _line(detail.loudness_momentary.values), _line(detail.loudness_short_term.values)
    heard = np.concatenate([momentary[np.isfinite(momentary)], [-14.0]])
    bottom, top = max(-70.0, float(np.percentile(heard, 2)) - 6), float(heard.max()) + 3
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color=to_rgba(FAINT, 0.22), lw=0.6)
    times = (np.arange(len(momentary)) + 0.5) * detail.loudness_momentary.step_seconds
    floor = np.nan_to_num(momentary, nan=-120.0)
    axes.fill_between(times, bottom, np.maximum(floor, bottom), color=LETTERS[7], alpha=0.22, lw=0)
    axes.plot(times, momentary, color=LETTERS[7], lw=0.6, alpha=0.7)
    times = (np.arange(len(short_term)) + 0.5) * detail.loudness_short_term.step_seconds
    axes.plot(times, short_term, color=INK, lw=1.6)
    if findings.loudness_lufs is not None:
        axes.axhline(findings.loudness_lufs, color=LETTERS[0], lw=1.1, ls=(0, (6, 3)))
        words = f"{findings.loudness_lufs:.1f} LUFS integrated"
        if findings.loudness_range_lu is not None:
            words += f", {findings.loudness_range_lu:.1f} LU range"
        if findings.true_peak_dbtp is not None:
            words += f", {findings.true_peak_dbtp:+.1f} dBTP peak"
        axes.text(0.006, 0.05, words, color=LETTERS[0], fontsize=9.5, transform=axes.transAxes, bbox=_CAPTION, zorder=6)


#: Behind words, so that no line crosses them.
_CAPTION = {"facecolor": PANEL, "alpha": 0.85, "edgecolor": "none", "pad": 1.5}


def _line(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
