"""What it costs to find out whom an event is for: by its type, beside asking every read model and reaction about it.

Events of every kind there is, as they are kept in `tests/history`; needs no server.

    python -m tests.benchmarks.dispatch [--rounds 15]
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

from adapters.log import codec
from commands.kernel import REACTIONS
from domain.kernel import Event
from infra.container import load_everything
from projections.kernel import PROJECTIONS, TALLIES
from tests import history
from tests.benchmarks.measuring import argument, median, say

EVENTS = 20_000


def _if_one_of(kinds: tuple[type[Event], ...], event: Event) -> Event | None:
    return event if isinstance(event, kinds) else None


def main() -> None:
    """In turn, so that both meet the same neighbours; processor time, which they change least."""
    load_everything()
    rounds = argument("rounds", 15)
    kinds = [codec.decode(line.name, line.schema_version, bytes(line.facts)) for line in history.lines()]
    events = list(itertools.islice(itertools.cycle(kinds), EVENTS))

    takers: dict[type[Event], list[str]] = {}
    everybody: list[tuple[str, Callable[[Any], object]]] = []
    for projection in PROJECTIONS.values():
        everybody.append((projection.name, projection.concerns))
        for kind in projection.finds:
            takers.setdefault(kind, []).append(projection.name)
    others = [(tally.name, tuple(tally.counts)) for tally in TALLIES.values()]
    others += [(reaction.name, tuple(reaction.kinds)) for reaction in REACTIONS.values()]
    for name, theirs in others:
        everybody.append((name, partial(_if_one_of, theirs)))
        for kind in theirs:
            takers.setdefault(kind, []).append(name)

    def by_type() -> None:
        shares: dict[str, list[Event]] = {name: [] for name, _ in everybody}
        for event in events:
            for name in takers.get(type(event), ()):
                shares[name].append(event)

    def by_asking() -> None:
        shares: dict[str, list[Event]] = {name: [] for name, _ in everybody}
        for event in events:
            for name, concerns in everybody:
                if concerns(event) is not None:
                    shares[name].append(event)

    spent: dict[Callable[[], None], list[float]] = {by_type: [], by_asking: []}
    for _ in range(rounds):
        for way, seconds in spent.items():
            began = process_time()
            way()
            seconds.append((process_time() - began) / EVENTS * 1e6)
    ratios = [asked / typed for typed, asked in zip(spent[by_type], spent[by_asking], strict=True)]
    print(f"whom an event is for, {len(everybody)} that could be asked, {len(kinds)} kinds, medians of {rounds} rounds")
    say("by type", median(spent[by_type]), "us/event", goal="1-2")
    say("asking everybody", median(spent[by_asking]), "us/event")
    say("asking / by type", median(ratios), "x", note=f"{min(ratios):.1f} to {max(ratios):.1f}")


if __name__ == "__main__":
    main()
