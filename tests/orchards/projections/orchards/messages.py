"""What other systems are told of trees."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from domain.kernel import Event, Value
from domain.webhooks.messages import Subject, message
from tests.orchards.domain.orchards.trees import HarvestWeighed, TreeHarvested, TreePlanted
from tests.orchards.projections.orchards.trees import tree_documents


class HarvestTold(Value):
    """A harvest with its weight."""

    tree_id: str
    variety: str
    kilograms: float


def harvest(subject: Subject, events: Sequence[Event]) -> HarvestTold:
    """The harvest as of its weighing."""
    tree = tree_documents.fold(subject.id, events)
    assert tree is not None
    assert tree.harvest_kilograms is not None
    return HarvestTold(tree_id=tree.tree_id, variety=tree.variety, kilograms=tree.harvest_kilograms)


_NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)

message(
    "harvest.weighed",
    "A harvest has been weighed.",
    on=HarvestWeighed,
    at="weighed_at",
    body=harvest,
    schema=HarvestTold,
    example=(
        TreePlanted(tree_id="tree-1", workspace_id="workspace-1", variety="Boskoop", planted_at=_NOON),
        TreeHarvested(tree_id="tree-1", apples=50, harvested_at=_NOON),
        HarvestWeighed(tree_id="tree-1", kilograms=10.0, weighed_at=_NOON),
    ),
)
