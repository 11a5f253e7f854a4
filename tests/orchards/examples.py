"""One ordinary example of every command of orchards."""

from __future__ import annotations

from tests.examples import Example
from tests.orchards.commands.orchards.trees import HarvestTree, NoteWeight, PlantTree

planted = PlantTree(tree_id="tree-1", workspace_id="w1", variety="Boskoop")
harvested = HarvestTree(tree_id="tree-1", workspace_id="w1", apples=50)

EXAMPLES = (
    Example(planted),
    Example(harvested, [planted]),
    Example(NoteWeight(tree_id="tree-1", kilograms=10.0), [planted, harvested]),
)
