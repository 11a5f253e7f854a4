"""Charts of plays and earnings, as PNG or SVG: people look before they read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from adapters.provides import provides
from adapters.threads import Turns

Picture = Literal["png", "svg"]
MEDIA: dict[Picture, str] = {"png": "image/png", "svg": "image/svg+xml"}
#: Drawn at once in one process: a picture takes a tenth of a second of a processor.
AT_ONCE = 2
#: More bars than these nobody can tell apart.
BARS_MAX = 60
PANELS_MAX = 12
#: What stands at a place without a bar.
NOT_REPORTED = "(not reported)"
WIDTH, HEIGHT, DPI = 10.0, 3.6, 110
INK, PAPER, FAINT = "#1b1e27", "#ffffff", "#d5d8df"
COLOURS = ("#1d8a4e", "#c2304f", "#2f5fb3", "#b3752f", "#6b4fa3", "#3a8f98")


class Line(NamedTuple):
    """One line of a chart; None is what nobody has said, and a gap."""

    name: str
    values: Sequence[int | None]


class Bar(NamedTuple):
    """One bar of a chart; None is what nobody has said, and a place without one."""

    name: str
    value: Decimal | None


class Charts:
    """Draws in threads of its own, one chart of a workspace at a time."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._turns = Turns(at_once, "charts")

    async def days(
        self, workspace_id: str, title: str, days: Sequence[date], lines: Sequence[Line], form: Picture
    ) -> bytes:
        """Lines over days, the days in their order."""
        return await self._turns.run(workspace_id, draw_days, title, days, lines, form)

    async def bars(self, workspace_id: str, title: str, panels: dict[str, list[Bar]], form: Picture) -> bytes:
        """Bars, a panel for each currency: nothing is added across."""
        return await self._turns.run(workspace_id, draw_bars, title, panels, form)


def draw_days(title: str, days: Sequence[date], lines: Sequence[Line], form: Picture) -> bytes:
    """Lines over days."""
    figure, [axes] = _figure(title, 1)
    shown = [each for each in lines if any(value is not None for value in each.values)]
    for each, colour in zip(shown, COLOURS, strict=False):
        values = [float("nan") if value is None else value for value in each.values]
        # A day that stands alone would be a line of no length.
        axes.plot(days, values, color=colour, linewidth=1.6, marker="." if len(days) < 60 else "", label=each.name)
    if shown:
        axes.legend(loc="upper left", frameon=False, fontsize=9)
        axes.set_ylim(bottom=0)
        figure.autofmt_xdate(rotation=0, ha="center")
    else:
        _say_nothing(axes)
    return _written(figure, form)


def draw_bars(title: str, panels: dict[str, list[Bar]], form: Picture) -> bytes:
    """Bars, a panel for each currency."""
    figure, found = _figure(title, min(PANELS_MAX, max(1, len(panels))))
    if not panels:
        _say_nothing(found[0])
    for axes, (currency, bars), colour in zip(found, panels.items(), _cycled(len(found)), strict=False):
        places = range(len(bars[:BARS_MAX]))
        axes.bar(places, [float(each.value or 0) for each in bars[:BARS_MAX]], color=colour, width=0.7)
        axes.set_ylabel(currency, parse_math=False)
        axes.set_xticks(
            list(places), [each.name[:40] for each in bars[:BARS_MAX]], rotation=45, ha="right", parse_math=False
        )
        axes.set_xlim(-0.6, max(len(places), 8) - 0.4)
        axes.axhline(0, color=INK, linewidth=0.6)
    return _written(figure, form)


def _cycled(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _figure(title: str, panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # slow to import, and not needed until somebody looks

    figure = Figure(figsize=(WIDTH, HEIGHT * panels), dpi=DPI, facecolor=PAPER, layout="constrained")
    # What people call things is no formula, whatever signs it has.
    figure.suptitle(title[:120], fontsize=12, color=INK, parse_math=False)
    axes = [figure.add_subplot(panels, 1, number + 1) for number in range(panels)]
    for each in axes:
        each.tick_params(labelsize=8, colors=INK)
        each.grid(axis="y", color=FAINT, linewidth=0.6)
        each.set_axisbelow(True)
        for side in ("top", "right"):
            each.spines[side].set_visible(False)
    return figure, axes


def _say_nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "Nothing has been reported yet", ha="center", va="center", transform=axes.transAxes, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])


def _written(figure: Any, form: Picture) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)
    return file.getvalue()


@provides
def charts() -> Charts:
    """What draws charts."""
    return Charts()
