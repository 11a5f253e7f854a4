"""Who may import whom, and the habits that make the same thing found in the same place."""

from __future__ import annotations

import ast
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import pytest

from commands.kernel import HANDLERS, Command
from domain.kernel import Category, Refusal
from domain.vocabulary import personal_fields
from tests.walking import descendants, modules, vocabulary

ROOT = Path(__file__).parents[1]
LAYERS = ("domain", "commands", "projections", "adapters", "api", "infra")

#: What a layer may import of our own, besides itself.
MAY_IMPORT = {
    "domain": (),
    "commands": ("domain",),
    "projections": ("domain",),
    "adapters": (
        "domain",
        "commands.kernel",
        "commands.parking",
        "commands.ports",
        "commands.settings",
        "commands.sweeping",
        "commands.*.ports",
        "commands.*.settings",
        "projections",
    ),
    "api": ("domain", "commands", "projections", "adapters"),
    "infra": ("domain", "commands", "projections", "adapters", "api"),
}


def files(layer: str) -> list[Path]:
    """The layer's Python files."""
    return sorted((ROOT / layer).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of what a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def is_within(name: str, place: str) -> bool:
    return fnmatchcase(name, place) or fnmatchcase(name, f"{place}.*")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_it_may(layer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(layer)
        for name in sorted(imports(path))
        if name.split(".")[0] in {*LAYERS, "tests"}
        and not any(is_within(name, place) for place in (layer, *MAY_IMPORT[layer]))
    ]
    assert not wrong


#: Which context may know which other: an arrow is a decision, and one that is not needed any more goes.
KNOWS = {
    "analyses": {"audit", "billing", "identity", "webhooks"},
    "audit": {"identity"},
    "beats": {"analyses", "billing", "identity", "webhooks"},
    "billing": {"analyses", "identity"},
    "builds": {"billing", "identity", "repositories", "studio", "webhooks"},
    "catalogue": {"analyses", "beats", "identity"},
    "identity": set(),
    "licensing": {"studio", "webhooks"},
    # They look after the stream of subscribers, too.
    "operators": {"subscribing"},
    "repositories": {"identity", "studio"},
    "storage": {"analyses"},
    "studio": {"identity"},
    "subscribing": {"audit", "identity"},
    # Version 1 shows the deliveries of an analysis.
    "webhooks": {"analyses", "identity"},
}


#: Rooms of adapters that serve one context under another name.
ROOMS = {"band": "beats", "ears": "analyses", "github": "repositories", "payments": "billing", "runner": "builds"}
#: What serves every context, and so knows none; but for what is everybody's: how a workspace ends, how an address is
#: written, and what a process counts.
GENERIC = {
    *("jobs", "log", "mail", "postgres", "readmodels", "storage", "stream", "tracing", "web"),
    *(path.stem for path in (ROOT / "adapters").glob("*.py")),
}
EVERYBODYS = (
    "domain.identity.workspaces.WorkspaceForgotten",
    "domain.identity.addresses",
    "adapters.operators.metrics",
)


def context_of(name: str) -> str | None:
    """The context that what a full name stands for belongs to; None for what is everybody's."""
    layer, *steps = name.split(".")
    if layer not in ("domain", "commands", "projections", "adapters", "api") or len(steps) < 2:
        return None
    if any(is_within(name, place) for place in EVERYBODYS) or (layer == "adapters" and steps[0] in GENERIC):
        return None
    found = ROOMS.get(steps[0], steps[0]) if layer == "adapters" else steps[0]
    return found if found in KNOWS else None


def known_to(path: Path) -> set[str]:
    """The contexts that a file knows."""
    return {found for name in imports(path) if (found := context_of(name)) is not None}


def test_a_context_knows_only_the_contexts_it_may() -> None:
    found: dict[str, set[str]] = {name: set() for name in KNOWS}
    for layer in ("domain", "commands", "projections", "adapters", "api"):
        for room in (path for path in (ROOT / layer).iterdir() if (path / "__init__.py").exists()):
            if layer == "adapters" and room.name in GENERIC:
                continue
            context = ROOMS.get(room.name, room.name) if layer == "adapters" else room.name
            assert context in KNOWS, f"{room}: a new context says whom it knows"
            for path in room.rglob("*.py"):
                found[context] |= known_to(path) - {context}
    assert found == KNOWS


def test_what_is_generic_knows_no_context() -> None:
    places = [ROOT / "adapters" / name for name in GENERIC]
    paths = [path for each in places for path in (each.rglob("*.py") if each.is_dir() else [each.with_suffix(".py")])]
    assert len(paths) > 60
    wrong = [f"{path.relative_to(ROOT)} knows {sorted(found)}" for path in paths if (found := known_to(path))]
    assert not wrong


def test_two_kinds_of_streams_have_two_names() -> None:
    kinds = {id(each): each for module in modules() for each in vars(module).values() if isinstance(each, Category)}
    names = [each.name for each in kinds.values()]
    assert len(names) == len(set(names)), sorted(names)


def test_the_domain_needs_nothing_but_msgspec() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files("domain")
        for name in sorted(imports(path))
        if name.split(".")[0] not in {*sys.stdlib_module_names, "msgspec", "domain"}
    ]
    assert not wrong


@pytest.mark.parametrize("layer", ["domain", "commands"])
def test_rules_know_no_clock_and_make_up_no_ids(layer: str) -> None:
    forbidden = re.compile(r"datetime\.now|time\.time|uuid4\(|uuid1\(|date\.today|utcnow")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files(layer)
        if path.name != "reactions.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line.split("#")[0])
    ]
    assert not wrong


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_says_in_a_sentence_what_it_is(layer: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files(layer)
        if path.read_text().strip() and not _is_sentence(ast.get_docstring(ast.parse(path.read_text())))
    ]
    assert not silent


def _is_sentence(text: str | None) -> bool:
    first = (text or "").strip().split("\n\n")[0].strip()
    return bool(first) and (first[0].isupper() or not first[0].isalpha()) and first[-1] in ".?:`"


def test_every_refusal_is_a_sentence_that_people_can_read() -> None:
    for refusal in descendants(Refusal):
        sentence = " ".join((refusal.__doc__ or "").split())
        assert re.fullmatch(r"[A-Z{`].*[.?}]", sentence), f"{refusal.__name__}: {sentence!r}"


def test_every_event_name_is_on_file() -> None:
    """A name on disk is for ever, so a new or renamed one is a decision: write it into `tests/vocabulary.txt`."""
    on_file = (ROOT / "tests" / "vocabulary.txt").read_text().split()

    assert on_file == sorted(on_file)
    assert sorted(vocabulary()) == on_file


def test_personal_fields_are_texts_that_name_their_subject() -> None:
    for name, kind in vocabulary().items():
        info = msgspec.inspect.type_info(kind)
        assert isinstance(info, msgspec.inspect.StructType)
        types = {field.name: field.type for field in info.fields}
        for field, subject in personal_fields(kind):
            assert _is_text(types[field]), f"{name}.{field}"
            assert _is_text(types[subject]), f"{name}.{subject}"


def _is_text(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _is_text(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return all(_is_text(each) or isinstance(each, msgspec.inspect.NoneType) for each in kind.types)
    return isinstance(kind, msgspec.inspect.StrType)


def test_no_personal_mark_hides_inside_a_value() -> None:
    """The codec seals fields of events, not fields of what they hold."""
    for name, kind in vocabulary().items():
        top = {field for field, _ in personal_fields(kind)}
        assert _marks(msgspec.inspect.type_info(kind)) == len(top), name


def _marks(kind: object) -> int:
    if isinstance(kind, msgspec.inspect.StructType):
        return sum(_marks(field.type) for field in kind.fields)
    if isinstance(kind, msgspec.inspect.Metadata):
        return int("personal" in (kind.extra or {})) + _marks(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return sum(map(_marks, kind.types))
    if isinstance(kind, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
        return _marks(kind.item_type)
    return 0


def test_every_command_has_a_handler_and_is_about_the_thing_its_first_field_names() -> None:
    ours = {kind for kind in descendants(Command) if kind.__module__.startswith("commands.")}

    assert ours == {kind for kind in HANDLERS if kind.__module__.startswith("commands.")}
    assert all(kind.__struct_fields__[0].endswith("_id") for kind in ours)


def test_names_stand_for_one_thing() -> None:
    stored = [name.split(".", 1)[1] for name in vocabulary()]

    assert len(stored) == len(set(stored)), "two contexts have an event of the same name"
    assert modules()


def test_nothing_waits_in_a_way_that_may_lose_a_cancellation() -> None:
    """`asyncio.wait_for` of Python 3.11 answers instead of ending, when it is cancelled as its answer comes."""
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for layer in LAYERS
        for path in files(layer)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "asyncio.wait_for(" in line
    ]
    assert not wrong


def test_no_two_who_take_turns_by_a_lock_of_the_database_share_one() -> None:
    """Whoever came first would keep the other from its work for as long as it lives, and nothing would say so."""
    lock = re.compile(r"^(_?[A-Z]+) = (0x1ED6[0-9A-F]{2})$", re.MULTILINE)
    found = [
        (number, path.name, name)
        for room in ("adapters", "infra")
        for path in sorted((ROOT / room).rglob("*.py"))
        for name, number in lock.findall(path.read_text())
    ]
    assert len(found) >= 6
    assert len({number for number, *_ in found}) == len(found), sorted(found)
