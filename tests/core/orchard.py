"""A small world to try the event core on: trees that are planted, watered and felled, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

from msgspec.structs import replace

from commands.kernel import Command, Queue, Reaction, Transaction, decides, handles
from domain.kernel import Category, Conflict, Event, NotFound, State, personal
from domain.ledger import Context, Recorded
from domain.vocabulary import events, name_of
from projections.kernel import Document, Projection, Tally

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = b"a secret of thirty-two bytes, yes"


def context(workspace_id: str = "w1") -> Context:
    """In whose name tests ask."""
    return Context(correlation_id=uuid4(), workspace_id=workspace_id, actor="tester")


class TreePlanted(Event):
    tree_id: str
    kind: str = "apple"


class TreeWatered(Event):
    tree_id: str
    litres: int = 1


class TreeCursed(Event):
    """Nobody can fold it."""

    tree_id: str
    manner: str = "raises"


class TreeFelled(Event):
    tree_id: str


class NameTaken(Event):
    name: str
    tree_id: str


class GardenerHired(Event):
    gardener_id: str
    email: Annotated[str, personal("gardener_id")]
    nickname: Annotated[str, personal("gardener_id")] | None = None


class AlarmSet(Event):
    tree_id: str
    rings_at: datetime


VOCABULARY = (TreePlanted, TreeWatered, TreeCursed, TreeFelled, NameTaken, GardenerHired, AlarmSet)
events().update({name_of(kind): kind for kind in VOCABULARY})


class NoSuchTree(NotFound):
    """There is no such tree."""


class TreeIsFelled(Conflict):
    """This tree has been felled."""


class NameIsTaken(Conflict):
    """Another tree has this name."""


class Tree(State):
    planted: bool = False
    felled: bool = False
    litres: int = 0
    waterings: int = 0


def evolve(tree: Tree, event: Event) -> Tree:
    match event:
        case TreePlanted():
            return replace(tree, planted=True)
        case TreeWatered():
            return replace(tree, litres=tree.litres + event.litres, waterings=tree.waterings + 1)
        case TreeFelled():
            return replace(tree, felled=True)
    return tree


class Name(State):
    tree_id: str = ""


def evolve_name(name: Name, event: Event) -> Name:
    return replace(name, tree_id=event.tree_id) if isinstance(event, NameTaken) else name


trees = Category(name="tree", initial=Tree(), evolve=evolve, absent=NoSuchTree)
names = Category(name="treename", initial=Name(), evolve=evolve_name)


class PlantTree(Command):
    tree_id: str
    kind: str = "apple"


class WaterTree(Command):
    tree_id: str
    litres: int = 1


class FillTree(Command):
    """Water it, but never beyond ten litres."""

    tree_id: str


class NameTree(Command):
    tree_id: str
    name: str


@decides(PlantTree, trees, creates=True)
def plant(command: PlantTree, tree: Tree, now: datetime) -> list[Event]:
    return [] if tree.planted else [TreePlanted(tree_id=command.tree_id, kind=command.kind)]


@decides(WaterTree, trees)
def water(command: WaterTree, tree: Tree, now: datetime) -> list[Event]:
    if tree.felled:
        raise TreeIsFelled
    return [TreeWatered(tree_id=command.tree_id, litres=command.litres)]


@decides(FillTree, trees)
def fill(command: FillTree, tree: Tree, now: datetime) -> list[Event]:
    return [] if tree.litres >= 10 else [TreeWatered(tree_id=command.tree_id)]


class GraftTree(Command):
    tree_id: str


@decides(GraftTree, trees, creates=True)
def graft(command: GraftTree, tree: Tree, now: datetime) -> list[Event]:
    """Its tree is expected_new new, and a new tree is refused."""
    if not tree.planted:
        raise NoSuchTree
    return [TreeWatered(tree_id=command.tree_id)]


@handles(NameTree)
async def name_tree(command: NameTree, transaction: Transaction) -> None:
    await transaction.expect_new(trees, command.tree_id)
    name = await transaction.expect_new(names, command.name)
    if name.tree_id == command.tree_id:
        return
    if name.tree_id:
        raise NameIsTaken
    transaction.record(names, command.name, NameTaken(name=command.name, tree_id=command.tree_id))
    transaction.record(trees, command.tree_id, TreePlanted(tree_id=command.tree_id))


class TreeView(Document):
    id: str
    kind: str = "apple"
    litres: int = 0
    waterings: int = 0


class Curse(Exception):
    pass


def show(tree: TreeView | None, event: Event) -> TreeView | None:
    match tree, event:
        case None, TreePlanted():
            return TreeView(id=event.tree_id, kind=event.kind)
        case TreeView(), TreeWatered():
            return replace(tree, litres=tree.litres + event.litres, waterings=tree.waterings + 1)
        case _, TreeFelled():
            return None
        case _, TreeCursed(manner="raises"):
            raise Curse(event.tree_id)
        case _, TreeCursed(manner="unwritable" | "too long"):
            return TreeView(id=event.tree_id)
    return tree


def cursed(event: TreeCursed) -> str:
    match event.manner:
        case "unwritable":
            return event.tree_id + "\0"  # a text that Postgres refuses
        case "too long":
            return "".join(chr(0x4E00 + (i * 7919) % 20_000) for i in range(9_000))  # a key that no index holds
    return event.tree_id


def forest(version: int = 1) -> Projection[TreeView]:
    """The trees as they are shown."""
    return Projection(
        name="trees",
        document=TreeView,
        on={TreePlanted: "tree_id", TreeWatered: "tree_id", TreeFelled: "tree_id", TreeCursed: cursed},
        evolve=show,
        begins=(TreePlanted, TreeCursed),
        version=version,
        absent=NoSuchTree,
        stream="tree",
        parent=lambda tree: tree.kind,
    )


def count_curse(event: TreeCursed) -> list[tuple[str, int]]:
    if event.manner == "raises":
        raise Curse(event.tree_id)
    return []


def figures(version: int = 1) -> Tally:
    """How many trees, how much water."""
    return Tally(
        name="figures",
        counts={
            TreePlanted: lambda _: [("trees", 1)],
            TreeWatered: lambda event: [("litres", event.litres), (f"litres/{event.tree_id}", event.litres)],
            TreeCursed: count_curse,
        },
        version=version,
    )


class GardenerView(Document):
    id: str
    email: str


def gardeners() -> Projection[GardenerView]:
    """The people who do the work."""
    return Projection(
        name="gardeners",
        document=GardenerView,
        on={GardenerHired: "gardener_id"},
        begins=(GardenerHired,),
        evolve=lambda _, event: (
            GardenerView(id=event.gardener_id, email=event.email) if isinstance(event, GardenerHired) else None
        ),
        stream="gardener",
    )


class Diary:
    """What reactions did, and how they fare: `mood` is called with each event before it is written down."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []
        self.given_up: list[tuple[int, str]] = []
        self.mood: Callable[[Recorded], None] = lambda _: None

    async def write(self, recorded: Recorded, world: object) -> None:
        self.mood(recorded)
        self.entries.append((recorded.stream, recorded.version))

    async def give_up(self, recorded: Recorded, world: object, reason: str) -> None:
        self.given_up.append((recorded.position, reason))

    def reaction(self, *kinds: type[Event], attempts_max: int = 3, gives_up: bool = False) -> Reaction:
        """A reaction that writes into this diary, and retries at once."""
        return Hasty(
            name="diary",
            kinds=kinds or (TreeWatered,),
            handler=self.write,
            due=lambda event: event.rings_at if isinstance(event, AlarmSet) else None,
            gives_up=self.give_up if gives_up else None,
            queue=Queue("diary", attempts=attempts_max),
        )


class Hasty(Reaction):
    """A reaction that does not wait before it tries again."""

    def retry_delay(self, attempt: int) -> timedelta:
        return timedelta(0)
