"""Trees: planted, harvested, looked at."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from tests.orchards.api.orchards.ports import Ports
from tests.orchards.commands.orchards.trees import HarvestTree, PlantTree
from tests.orchards.domain.orchards.trees import PLANTINGS
from tests.orchards.projections.orchards.trees import TreeDocument, tree_documents


class NewTree(Struct):
    """What is to be planted."""

    variety: Annotated[str, Meta(min_length=1, max_length=64)]


class Picked(Struct):
    """How many apples were picked."""

    apples: Annotated[int, Meta(ge=1)]


@post("/orchards/v9/trees", status_code=201, tags=["orchards"], opt=needs("orchards:tend", "member"))
async def plant_tree(
    data: JSONBody[NewTree], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> TreeDocument:
    """Plant a tree."""
    tree_id = ports.vault.new_id()
    limit = await ports.plans.monthly_limit(asker.workspace_id, PLANTINGS)
    wish = PlantTree(tree_id=tree_id, workspace_id=asker.workspace_id, variety=data.variety, monthly_limit=limit)
    await ports.execute(wish, asker.context)
    return await _tree(tree_id, ports, asker)


@post("/orchards/v9/trees/{tree_id:str}/harvest", status_code=200, opt=needs("orchards:tend", "member"))
async def harvest_tree(
    tree_id: FromPath[str], data: JSONBody[Picked], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> TreeDocument:
    """Pick the apples of a tree; somebody weighs them then."""
    wish = HarvestTree(tree_id=tree_id, workspace_id=asker.workspace_id, apples=data.apples)
    await ports.execute(wish, asker.context)
    return await _tree(tree_id, ports, asker)


@get("/orchards/v9/trees/{tree_id:str}", tags=["orchards"], opt=needs("orchards:tend", "viewer"))
async def get_tree(
    tree_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> TreeDocument:
    """Look at a tree."""
    return await _tree(tree_id, ports, asker)


async def _tree(tree_id: str, ports: Ports, asker: Asker) -> TreeDocument:
    return json.decode(await ports.views.get(tree_documents, tree_id, asker.workspace_id), type=TreeDocument)
