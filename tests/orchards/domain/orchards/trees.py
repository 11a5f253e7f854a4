"""A tree: planted, harvested, and its harvest weighed."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from domain.billing.quotas import Meter
from domain.kernel import Category, Conflict, Event, NotFound, State
from tests.orchards.domain.orchards.settings import PlantingLimits


class TreePlanted(Event):
    """A tree stands in an orchard now."""

    tree_id: str
    workspace_id: str
    variety: str
    planted_at: datetime


class TreeHarvested(Event):
    """So many apples were picked, which somebody has to weigh."""

    tree_id: str
    apples: int
    harvested_at: datetime


class HarvestWeighed(Event):
    """What was picked weighs so much."""

    tree_id: str
    kilograms: float
    weighed_at: datetime


class HarvestLost(Event):
    """Nobody could weigh what was picked, and why."""

    tree_id: str
    reason: str
    lost_at: datetime


class Tree(State):
    """What rules know of a tree."""

    workspace_id: str = ""
    harvested: int = 0
    weighed: bool = False


def evolve(tree: Tree, event: Event) -> Tree:
    """A tree after one more event."""
    match event:
        case TreePlanted():
            return replace(tree, workspace_id=event.workspace_id)
        case TreeHarvested():
            return replace(tree, harvested=tree.harvested + event.apples, weighed=False)
        case HarvestWeighed() | HarvestLost():
            return replace(tree, weighed=True)
    return tree


class NoSuchTree(NotFound):
    """There is no tree with this id."""


class TreeIsBare(Conflict):
    """This tree has been harvested already. Wait a year."""


trees = Category(name="tree", initial=Tree(), evolve=evolve, absent=NoSuchTree)

PLANTINGS = Meter(
    kind="plantings",
    on={TreePlanted: "planted_at"},
    limits=lambda settings: settings[PlantingLimits].monthly_planting_limits,
)
