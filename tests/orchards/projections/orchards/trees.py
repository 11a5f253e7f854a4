"""A tree as its people see it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from domain.kernel import Event
from projections.kernel import Document, Projection, projection
from tests.orchards.domain.orchards.trees import HarvestLost, HarvestWeighed, NoSuchTree, TreeHarvested, TreePlanted


class TreeDocument(Document):
    """One tree; its moments are moments, which the surface writes its own way."""

    tree_id: str
    workspace_id: str
    variety: str
    planted_at: datetime
    harvest_state: Literal["growing", "picked", "weighed", "lost"] = "growing"
    harvest_kilograms: float | None = None
    harvest_problem: str | None = None


def evolve(tree: TreeDocument | None, event: Event) -> TreeDocument | None:
    """A tree after one more event."""
    match tree, event:
        case None, TreePlanted():
            return TreeDocument(
                tree_id=event.tree_id,
                workspace_id=event.workspace_id,
                variety=event.variety,
                planted_at=event.planted_at,
            )
        case TreeDocument(), TreeHarvested():
            return replace(tree, harvest_state="picked")
        case TreeDocument(), HarvestWeighed():
            return replace(tree, harvest_state="weighed", harvest_kilograms=event.kilograms)
        case TreeDocument(), HarvestLost():
            return replace(tree, harvest_state="lost", harvest_problem=event.reason)
    return tree


tree_documents: Projection[TreeDocument] = projection(
    "trees",
    TreeDocument,
    on={
        TreePlanted: "tree_id",
        TreeHarvested: "tree_id",
        HarvestWeighed: "tree_id",
        HarvestLost: "tree_id",
    },
    evolve=evolve,
    begins=(TreePlanted,),
    absent=NoSuchTree,
    stream="tree",
)
