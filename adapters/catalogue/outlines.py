"""Outlines of recordings that were listened to, small enough to be drawn where a track is shown."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

from msgspec import Struct, json

from adapters.provides import provides
from commands.ports import Blobs
from domain.analyses import keys
from domain.analyses.findings import Waveform
from domain.kernel import NotFound, Unavailable

#: Of how many steps an outline is made, and how many outlines a process remembers, some 5 kB each.
STEPS, REMEMBERED = 200, 1_000
DETAIL_BYTES_MAX = 256 * 1024 * 1024


class _Detail(Struct):
    waveform: Waveform


_detail = json.Decoder(_Detail).decode


class Outlines:
    """Reads what analyses that are over have heard; that changes no more."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._known: OrderedDict[str, Waveform] = OrderedDict()

    async def of(self, analysis_id: str) -> Waveform | None:
        """The outline that an analysis has heard; None while the store is away, or where it has none."""
        found = self._known.get(analysis_id)
        if found is None:
            try:
                async with self._blobs.fetch(keys.report(analysis_id), size_max=DETAIL_BYTES_MAX) as path:
                    found = await asyncio.to_thread(_outline, path)
            except (NotFound, Unavailable):
                return None
            self._known[analysis_id] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found


def _outline(path: Path) -> Waveform:
    return coarser(_detail(path.read_bytes()).waveform)


def coarser(wave: Waveform, steps: int = STEPS) -> Waveform:
    """A waveform in so many steps at most: the lowest and the highest of those that are put together."""
    count = min(len(wave.lows), len(wave.highs))
    of = max(1, -(-count // steps))
    starts = range(0, count, of)
    return Waveform(
        step_seconds=wave.step_seconds * of,
        lows=tuple(round(min(wave.lows[at : at + of]), 3) for at in starts),
        highs=tuple(round(max(wave.highs[at : at + of]), 3) for at in starts),
    )


@provides
def outlines(blobs: Blobs) -> Outlines:
    """What reads outlines."""
    return Outlines(blobs)
