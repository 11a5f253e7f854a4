"""What may be asked of trees."""

from __future__ import annotations

from datetime import datetime

from commands.billing.quotas import count
from commands.kernel import Command, Transaction, decides, handles
from domain.kernel import Event
from tests.orchards.domain.orchards.trees import (
    PLANTINGS,
    HarvestLost,
    HarvestWeighed,
    Tree,
    TreeHarvested,
    TreeIsBare,
    TreePlanted,
    trees,
)


class PlantTree(Command):
    """Put a tree into the ground."""

    tree_id: str
    workspace_id: str
    variety: str
    monthly_limit: int | None = None


class HarvestTree(Command):
    """Pick so many apples."""

    tree_id: str
    workspace_id: str
    apples: int


class NoteWeight(Command):
    """Write down what was picked weighs; without kilograms, why nobody knows."""

    tree_id: str
    kilograms: float | None = None
    reason: str = ""


@handles(PlantTree)
async def plant(command: PlantTree, transaction: Transaction) -> None:
    """A tree is planted once, within the month's quota."""
    tree = await transaction.expect_new(trees, command.tree_id)
    if tree.workspace_id:
        return
    await count(transaction, PLANTINGS, command.workspace_id, [command.tree_id], command.monthly_limit)
    transaction.record(
        trees,
        command.tree_id,
        TreePlanted(
            tree_id=command.tree_id,
            workspace_id=command.workspace_id,
            variety=command.variety,
            planted_at=transaction.now,
        ),
    )


@decides(HarvestTree, trees)
def harvest(command: HarvestTree, tree: Tree, now: datetime) -> list[Event]:
    """A tree is harvested once, by its own people."""
    if tree.workspace_id != command.workspace_id:
        raise trees.absent
    if tree.harvested == command.apples:
        return []
    if tree.harvested:
        raise TreeIsBare
    return [TreeHarvested(tree_id=command.tree_id, apples=command.apples, harvested_at=now)]


@decides(NoteWeight, trees)
def note_weight(command: NoteWeight, tree: Tree, now: datetime) -> list[Event]:
    """A harvest is weighed once, or lost once."""
    if tree.weighed:
        return []
    if command.kilograms is None:
        return [HarvestLost(tree_id=command.tree_id, reason=command.reason, lost_at=now)]
    return [HarvestWeighed(tree_id=command.tree_id, kilograms=command.kilograms, weighed_at=now)]
