"""What follows when a tree is harvested: somebody weighs the apples, on scales that may hang."""

from __future__ import annotations

import asyncio

from commands.kernel import Queue, reacts_to
from domain.ledger import Recorded
from tests.orchards.commands.orchards.ports import Ports
from tests.orchards.commands.orchards.settings import Orchards
from tests.orchards.commands.orchards.trees import NoteWeight
from tests.orchards.domain.orchards.trees import TreeHarvested

WEIGHING = Queue(
    "weighing", concurrency=4, timeout=lambda settings: settings[Orchards].orchard_scales_seconds_max, attempts=2
)


async def _lost(recorded: Recorded, ports: Ports, problem: str) -> None:
    assert isinstance(recorded.event, TreeHarvested)
    await ports.execute(NoteWeight(tree_id=recorded.event.tree_id, reason=problem), recorded.context())


@reacts_to(TreeHarvested, name="weigh-harvest", queue=WEIGHING, gives_up=_lost)
async def weigh_harvest(recorded: Recorded, ports: Ports) -> None:
    """Five apples are a kilogram; with more than the tree can bear the scales hang."""
    assert isinstance(recorded.event, TreeHarvested)
    if recorded.event.apples > ports.settings.orchard_apples_max:
        await asyncio.Event().wait()
    kilograms = recorded.event.apples / 5
    await ports.execute(NoteWeight(tree_id=recorded.event.tree_id, kilograms=kilograms), recorded.context())
