"""The cover of a beat: a composition from its seed, in the genre's colours, with a title that can be read."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.band.chance import Chance
from adapters.band.score import Score

PIXELS = 3000

#: Ground, two or three colours on it, and what text is written in.
PALETTES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Trap": (
        ("#120a1a", "#7b1fa2", "#e91e63", "#f3d9ff", "#ffffff"),
        ("#0d0d0f", "#8e0e1c", "#d64933", "#f0c9a4", "#ffffff"),
    ),
    "Drill": (
        ("#0b0f14", "#27384a", "#5d7f99", "#c9d6df", "#ffffff"),
        ("#101010", "#3a3a3a", "#8b1e1e", "#cfcfcf", "#ffffff"),
    ),
    "Boom Bap": (
        ("#2b1d12", "#8a5a2b", "#d9a441", "#f2e3c6", "#fff6e0"),
        ("#1f2421", "#49654e", "#c96f3b", "#ead7b7", "#fff6e0"),
    ),
    "LoFi": (
        ("#2e2a4f", "#6d5d8c", "#e08e79", "#f5d6ba", "#fff4e6"),
        ("#27424a", "#5b8a8a", "#e9b384", "#f4e2d0", "#fff4e6"),
    ),
    "House": (
        ("#10243f", "#1f6fb2", "#f6a02d", "#fbe3b5", "#ffffff"),
        ("#2d0f3a", "#a2367f", "#ff8552", "#ffe0b0", "#ffffff"),
    ),
    "Techno": (
        ("#050505", "#2c2c2c", "#9a9a9a", "#e6e6e6", "#ffffff"),
        ("#06090b", "#123c3c", "#00b3a4", "#d7fff9", "#ffffff"),
    ),
    "Drum and Bass": (
        ("#0c1410", "#1d5b3a", "#a6d608", "#eafbc0", "#ffffff"),
        ("#0a0f1f", "#2846a8", "#36c9f0", "#def6ff", "#ffffff"),
    ),
    "Reggaeton": (
        ("#3a0f2d", "#d7263d", "#f9a03f", "#ffe8b8", "#ffffff"),
        ("#04333a", "#0a8f7f", "#ffb400", "#fff0c2", "#ffffff"),
    ),
    "Synthwave": (
        ("#14062e", "#6a11cb", "#ff2a8a", "#ffd23f", "#ffffff"),
        ("#080b2b", "#1b3fae", "#f72585", "#7df9ff", "#ffffff"),
    ),
    "Ambient": (
        ("#dfe8ec", "#9dbfcb", "#5d8ba0", "#f6f3ea", "#1d3540"),
        ("#16252c", "#2f5566", "#86a8a5", "#dfe7dd", "#f5f7f2"),
    ),
}

Colours = tuple[str, ...]


def cover(score: Score, artist: str = "") -> bytes:
    """A PNG of 3000 by 3000 pixels, the same for the same score and artist."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chance = Chance("cover", score.genre, score.brief.seed, score.brief.take, score.title)
    colours = chance.one_of(PALETTES[score.genre])
    if score.brightness < -0.3 and score.genre != "Ambient":
        colours = (colours[0], *(_dimmed(colour, 0.8) for colour in colours[1:4]), colours[4])
    figure = Figure(figsize=(10, 10), dpi=PIXELS / 10, facecolor=colours[0])
    FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    _sky(axes, colours)
    chance.one_of(COMPOSITIONS)(axes, colours, chance, score)
    _title(axes, colours, chance, score, artist)
    file = io.BytesIO()
    figure.savefig(
        file,
        format="png",
        dpi=PIXELS / 10,
        metadata={"Software": None},
        pil_kwargs={"compress_level": 4},
        facecolor=colours[0],
    )
    return file.getvalue()


def _dimmed(colour: str, share: float) -> str:
    parts = [round(int(colour[place : place + 2], 16) * share) for place in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _rgb(colour: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


#: Rows of pixels that have one colour: their edges are edges of pixels, so none shows.
ROWS = 250


def _gradient(low: str, high: str, share: float) -> tuple[float, ...]:
    """The colour at a share of the way from one to the other."""
    return tuple((1 - share) * _rgb(low) + share * _rgb(high))


def _sky(axes: Any, colours: Colours) -> None:
    """The ground, a little lighter towards one colour above."""
    from matplotlib.patches import Rectangle

    for row in range(ROWS):
        colour = _gradient(colours[0], colours[1], 0.35 * (row + 0.5) / ROWS)
        axes.add_artist(Rectangle((0, row / ROWS), 1, 1 / ROWS, color=colour, zorder=0, lw=0))


def _sun(axes: Any, colours: Colours, chance: Chance, score: Score) -> None:
    """A sun that goes down in bars over a grid or water; there are as many bars as beats of two bars."""
    from matplotlib.patches import Polygon, Rectangle

    x, horizon, radius = chance.between(0.35, 0.65), chance.between(0.36, 0.46), chance.between(0.2, 0.28)
    centre = horizon + radius * 0.55
    for row in range(ROWS):
        heights = np.linspace(row, row + 1, 9) / ROWS
        heights = heights[np.abs(heights - centre) <= radius]
        if len(heights) > 1:
            halves = np.sqrt(radius**2 - (heights - centre) ** 2)
            edge = np.concatenate([np.stack([x - halves, heights], 1), np.stack([x + halves, heights], 1)[::-1]])
            share = (heights[0] - centre + radius) / (2 * radius)
            axes.add_artist(Polygon(edge, color=_gradient(colours[2], colours[3], share), zorder=2, lw=0))
    for line in range(8):
        height = 0.004 + 0.003 * line
        axes.add_artist(
            Rectangle((0, horizon + radius * (0.8 - 0.13 * line)), 1, height, color=colours[0], zorder=3, alpha=0.9)
        )
    axes.add_artist(Rectangle((0, 0), 1, horizon, color=colours[0], zorder=4))
    for step in range(1, 13):
        y = horizon * (1 - (step / 12) ** 1.8)
        axes.plot((0, 1), (y, y), color=colours[1], lw=1.5 + step * 0.35, alpha=0.85, zorder=5)
    for step in range(-16, 17):
        axes.plot((x + step * 0.02, x + step * 0.16), (horizon, 0), color=colours[1], lw=2, alpha=0.7, zorder=5)
    del score


def _rings(axes: Any, colours: Colours, chance: Chance, score: Score) -> None:
    """Grooves of a record that nobody pressed: rings as strong as the sections are loud."""
    from matplotlib.patches import Wedge

    x, y = chance.between(0.3, 0.7), chance.between(0.5, 0.66)
    radius = 0.05
    total = score.bars
    for number, section in enumerate(score.sections):
        width = 0.5 * section.bars / total
        colour = colours[1 + number % 3]
        start = chance.between(0, 360)
        axes.add_artist(
            Wedge(
                (x, y),
                radius + width,
                start,
                start + 120 + 240 * section.energy,
                width=width * 0.82,
                color=colour,
                alpha=0.35 + 0.6 * section.energy,
                zorder=2,
            )
        )
        radius += width
    axes.add_artist(Wedge((x, y), 0.03, 0, 360, color=colours[3], zorder=3))


def _ridges(axes: Any, colours: Colours, chance: Chance, score: Score) -> None:
    """Ridges one behind the other, shaped by the melody."""
    part = score.part("melody") or score.parts[0]
    heights = np.array([note.pitch for note in part.notes[:64]], dtype=np.float64)
    heights = np.resize((heights - heights.min()) / max(1.0, float(np.ptp(heights))), 64)
    x = np.linspace(0, 1, 600)
    for row in range(9):
        near = row / 8
        shape = np.interp(x * 63, np.arange(64), np.roll(heights, row * 7))
        shape = np.convolve(shape, np.hanning(61) / np.hanning(61).sum(), mode="same")
        base = 0.78 - 0.085 * row
        mix = (1 - near) * _rgb(colours[3]) * 0.7 + near * _rgb(colours[1]) * 0.8
        if row % 3 == 1:
            mix = 0.6 * mix + 0.4 * _rgb(colours[2])
        y = base + (0.05 + 0.16 * near * chance.between(0.6, 1)) * shape - 0.08
        axes.fill_between(x, 0, y, color=np.clip(mix, 0, 1), zorder=2 + row, lw=0)
        axes.plot(x, y, color=colours[3], lw=1.2, alpha=0.5, zorder=2 + row)


def _bars(axes: Any, colours: Colours, chance: Chance, score: Score) -> None:
    """The rhythm of the kick, the snare and the hat as a woven field."""
    from matplotlib.patches import FancyBboxPatch

    lean = chance.one_of((-0.25, 0.0, 0.25))
    size = 1 / 16
    lanes = {"kick": colours[2], "snare": colours[3], "clap": colours[3], "hat": colours[1], "shaker": colours[1]}
    start = next((section.bar for section in score.sections if section.name == "hook"), 0) * 4
    for hit in score.drums:
        row, column = divmod(round((hit.beat - start) * 4), 16)
        if not 0 <= row < 16 or hit.drum not in lanes:
            continue
        scale = 0.35 + 0.6 * hit.velocity
        x, y = (column + 0.5) * size + lean * (0.5 - row / 16) * 0.3, 1 - (row + 0.5) * size
        axes.add_artist(
            FancyBboxPatch(
                (x - size * scale / 2, y - size * scale / 2),
                size * scale,
                size * scale,
                boxstyle=f"round,pad=0,rounding_size={size * 0.2}",
                color=lanes[hit.drum],
                alpha=0.9 if hit.drum == "kick" else 0.7,
                zorder=2,
                lw=0,
            )
        )
    del chance


def _discs(axes: Any, colours: Colours, chance: Chance, score: Score) -> None:
    """A few large discs that shine through one another, one for each chord of the hook."""
    from matplotlib.patches import Circle

    chords = score.chords[:6] or ()
    for number, chord in enumerate(chords):
        angle = 2 * np.pi * (chord.root - score.tonic) / 12
        x = 0.5 + chance.between(0.12, 0.3) * np.sin(angle)
        y = 0.58 + chance.between(0.1, 0.26) * np.cos(angle)
        axes.add_artist(
            Circle((x, y), chance.between(0.1, 0.3), color=colours[1 + number % 3], alpha=0.5, zorder=2, lw=0)
        )
    axes.add_artist(Circle((0.5, 0.58), 0.06, color=colours[3], alpha=0.95, zorder=3, lw=0))


def _tiles(axes: Any, colours: Colours, chance: Chance, score: Score) -> None:
    """Quarter circles, turned by chance, that join into paths (Truchet's tiles)."""
    from matplotlib.patches import Arc

    count = chance.one_of((5, 7, 9))
    size = 1 / count
    for row in range(count):
        for column in range(count):
            x, y = column * size, row * size
            corners = (
                ((x, y, 0), (x + size, y + size, 180))
                if chance.happens(0.5)
                else ((x + size, y, 90), (x, y + size, 270))
            )
            for cx, cy, turn in corners:
                for width, colour in (
                    (size * 160, colours[1]),
                    (size * 70, colours[2] if chance.happens(0.7) else colours[3]),
                ):
                    axes.add_artist(
                        Arc(
                            (cx, cy),
                            size,
                            size,
                            theta1=turn,
                            theta2=turn + 90,
                            color=colour,
                            lw=width,
                            zorder=2,
                            capstyle="butt",
                        )
                    )
    del score


COMPOSITIONS: tuple[Callable[[Any, Colours, Chance, Score], None], ...] = (_sun, _rings, _ridges, _bars, _discs, _tiles)


def _title(axes: Any, colours: Colours, chance: Chance, score: Score, artist: str) -> None:
    """The title on a calm strip, as large as it fits."""
    from matplotlib.patches import Rectangle

    words = score.title.upper()
    bottom = chance.one_of((0.05, 0.08))
    axes.add_artist(Rectangle((0, bottom), 1, 0.2, color=colours[0], alpha=0.82, zorder=20, lw=0))
    left = chance.happens(0.5)
    place, side = (0.06, "left") if left else (0.5, "center")
    size = min(68.0, 740.0 / max(8, len(words)))
    axes.text(
        place,
        bottom + 0.115,
        words,
        color=colours[4],
        fontsize=size,
        fontweight="bold",
        ha=side,
        va="center",
        zorder=21,
    )
    line = " · ".join(part for part in (artist, score.genre, f"{score.bpm} BPM", score.key) if part)
    axes.text(place, bottom + 0.045, line, color=colours[4], fontsize=22, ha=side, va="center", alpha=0.85, zorder=21)
    axes.plot(
        (0.06, 0.16) if left else (0.45, 0.55), (bottom + 0.188, bottom + 0.188), color=colours[2], lw=8, zorder=21
    )
