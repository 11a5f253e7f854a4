"""Laws that hold for every event, every history and every command there is, and ever will be."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args, get_type_hints

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from msgspec import json

from adapters.log import codec
from adapters.log.memory import MemoryLedger
from adapters.readmodels.writers import JobWriter
from commands.kernel import HANDLERS, REACTIONS, execute
from domain.kernel import Category, Event, Refusal
from domain.objects import KEEPS, LETS_GO
from domain.vocabulary import categories, name_of, named_alike, parted, personal_fields
from projections.kernel import PROJECTIONS, TALLIES, Projection
from tests import history
from tests.examples import Example, examples
from tests.spec import CONTEXT, NOW
from tests.strategies import any_of, ordinary
from tests.walking import modules, vocabulary

modules()


class Marks:
    """Marks personal texts instead of sealing them."""

    def seal(self, subject: str, field: str, text: str) -> str:
        return f"<{subject}/{field}>{text}"

    def unseal(self, subject: str, field: str, sealed: str) -> str | None:
        return sealed.removeprefix(f"<{subject}/{field}>")


# --- events ----------------------------------------------------------------------------------------------------------

#: What names an object that need not be there: a place for one that may come, or one that is gone.
PERHAPS_THERE = {"analyses.UploadOffered", "analyses.ObjectExpired", "analyses.SourceDeleted"}


def _names_objects(kind: Any) -> bool:
    """Whether an event, or a value in it, has the key of an object or the id of a secret, which lies in one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        return any(field.endswith(("object_key", "detail_key")) for field in hints) or any(
            map(_names_objects, hints.values())
        )
    return any(map(_names_objects, get_args(kind)))


def test_what_an_event_names_in_the_object_store_is_known_to_whoever_verifies_it() -> None:
    naming = {name for name, kind in vocabulary().items() if _names_objects(kind)}
    known = {name for name, kind in vocabulary().items() if kind in KEEPS or kind in LETS_GO}

    assert len(naming) > 10
    assert naming - known == PERHAPS_THERE


@pytest.mark.parametrize("name", vocabulary())
@settings(max_examples=15)
@given(data=st.data())
def test_every_event_survives_being_stored(name: str, data: st.DataObject) -> None:
    kind = vocabulary()[name]
    event = data.draw(any_of(kind))
    stored = codec.decode(name, kind.schema_version, codec.encode(event, Marks()))

    assert codec.unseal(stored, Marks()) == event
    for field, _ in personal_fields(kind):
        text = getattr(event, field)
        assert text is None or getattr(stored, field) != text


@pytest.mark.parametrize("line", history.lines(), ids=lambda line: f"{line.name}-{line.schema_version}")
def test_every_line_ever_stored_is_read_today(line: history.Line) -> None:
    event = codec.decode(line.name, line.schema_version, line.facts)

    again = codec.decode(line.name, event.schema_version, codec.encode(event, Marks()))
    assert codec.unseal(again, Marks()) == event


def test_every_version_of_every_event_has_a_line_in_history() -> None:
    known = {(line.name, line.schema_version) for line in history.lines()}
    today = {(name, version) for name, kind in vocabulary().items() for version in range(1, kind.schema_version + 1)}

    assert not today - known, "add them with `python -m tests.history`"


# --- histories -------------------------------------------------------------------------------------------------------


@cache
def histories_of(module: str) -> st.SearchStrategy[list[Event]]:
    """Any events of a module, in any order."""
    kinds = [kind for kind in vocabulary().values() if kind.__module__ == module]
    return st.lists(st.one_of([any_of(kind) for kind in kinds]), max_size=6) if kinds else st.just([])


@pytest.mark.parametrize("category", categories().values(), ids=lambda category: category.name)
@settings(max_examples=15)
@given(data=st.data())
def test_every_history_folds(category: Category[Any], data: st.DataObject) -> None:
    events = data.draw(histories_of(category.evolve.__module__))
    state = category.fold(events)

    assert isinstance(state, type(category.initial))
    assert category.fold(events[3:], category.fold(events[:3])) == state


@given(
    category=st.sampled_from(sorted(categories().values(), key=lambda each: each.name)), identity=st.text(min_size=1)
)
def test_the_name_of_a_stream_says_its_kind_and_its_id_also_where_both_have_hyphens(
    category: Category[Any], identity: str
) -> None:
    known = named_alike(category.name)
    assume(not any(category.stream(identity).startswith(other) for other in known))
    assert parted(category.stream(identity)) == (category.name, identity)
    assert parted("nobody-knows-this") == ("nobody", "knows-this")


@cache
def stories(name: str) -> st.SearchStrategy[tuple[Event, list[Event]]]:
    """What may happen to one document of a projection: the event it begins with, and others in any order."""
    projection = PROJECTIONS[name]
    begin = st.one_of([any_of(kind) for kind in projection.begins]).filter(projection.concerns)
    later = st.one_of([any_of(kind) for kind in projection.on]).filter(projection.concerns)
    return st.tuples(begin, st.lists(later, max_size=6))


@pytest.mark.parametrize("projection", PROJECTIONS.values(), ids=lambda projection: projection.name)
@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_happens_to_a_document_it_stays_one_that_is_stored_and_taken_up_again(
    projection: Projection[Any], data: st.DataObject
) -> None:
    """As a projector does it that is started anew between any two events."""
    document = None
    taken_up = None
    begin, later = data.draw(stories(projection.name))
    for step, event in enumerate([begin, *later]):
        document = projection.evolve(document, event)
        taken_up = projection.evolve(taken_up, event)
        assert document is None or isinstance(document, projection.document)
        assert step or document is not None, "it begins with this event, and there is nothing"
        assert document == taken_up
        if taken_up is not None:
            taken_up = json.decode(json.encode(taken_up), type=projection.document)


@cache
def counted_by(tally: str) -> st.SearchStrategy[Event]:
    """Any event that a tally counts."""
    return st.one_of([any_of(kind) for kind in TALLIES[tally].counts])


@pytest.mark.parametrize("name", TALLIES)
@settings(max_examples=30)
@given(data=st.data())
def test_every_event_is_counted_in_whole_numbers(name: str, data: st.DataObject) -> None:
    event = data.draw(counted_by(name))

    assert all(isinstance(key, str) and isinstance(n, int) for key, n in TALLIES[name].counted(event))


SHAPES = Path(__file__).with_name("shapes.txt")


def shapes() -> dict[str, str]:
    """Of each projection its version and the digest of the shape of its documents; of jobs, of what reacts to what."""

    def bare(part: Any) -> Any:
        """A schema without its words."""
        if isinstance(part, dict):
            words = {"description", "title", "examples"}
            return {name: bare(each) for name, each in part.items() if name not in words or isinstance(each, dict)}
        return [bare(each) for each in part] if isinstance(part, list) else part

    def digest(projection: Projection[Any]) -> str:
        return sha256(json.encode(bare(msgspec.json.schema(projection.document)), order="sorted")).hexdigest()[:16]

    ours = {name: each for name, each in PROJECTIONS.items() if each.evolve.__module__.startswith("projections.")}
    shown = {name: f"{each.version} {digest(each)}" for name, each in sorted(ours.items())}
    listening = sorted(
        (name, sorted(name_of(kind) for kind in each.kinds if kind.__module__.startswith("domain.")))
        for name, each in REACTIONS.items()
        if each.handler.__module__.startswith("commands.")
    )
    return shown | {JobWriter.name: f"{JobWriter.fold} {sha256(json.encode(listening)).hexdigest()[:16]}"}


def test_documents_of_another_shape_are_folded_anew() -> None:
    """What lies there is served as it lies: under the same version old documents would go on in their old shape.

    After a change raise the projection's `version`, and write its line in `tests/shapes.txt` again. For reactions that
    is the `fold` of `JobWriter`: of two releases at work the older one passes by what it has no reaction for.
    """
    known = dict(line.split(" ", 1) for line in SHAPES.read_text().splitlines())
    now = shapes()
    same = [name for name, shape in now.items() if name in known and shape.split()[0] == known[name].split()[0]]
    assert {name: now[name] for name in same} == {name: known[name] for name in same}, "raise the version"
    assert now == known, "\n".join(f"{name} {shape}" for name, shape in now.items())


# --- commands --------------------------------------------------------------------------------------------------------


def test_every_command_has_an_example() -> None:
    """In `tests/<context>/examples.py`; a command without one is not known to act only once."""
    missing = {f"{kind.__module__}.{kind.__name__}" for kind in HANDLERS if kind.__module__.startswith("commands.")}
    missing -= {f"{kind.__module__}.{kind.__name__}" for kind in examples()}

    assert not missing


@pytest.mark.parametrize("example", examples().values(), ids=lambda example: type(example.command).__name__)
def test_every_command_sent_twice_acts_once(example: Example) -> None:
    first, second = asyncio.run(_send_twice(example))

    assert first > 0, "the example does nothing, so it shows nothing"
    assert second == 0 or example.repeats, "sent again, it acted again"


async def _send_twice(example: Example) -> tuple[int, int]:
    ledger = MemoryLedger(lambda: NOW)
    for wish in example.before:
        await execute(wish, ledger, NOW, CONTEXT)
    begin = await ledger.head()
    await execute(example.command, ledger, NOW, CONTEXT)
    middle = await ledger.head()
    # It may well be refused the second time: what is removed is not there any more.
    with contextlib.suppress(Refusal):
        await execute(example.command, ledger, NOW, CONTEXT)
    return middle - begin, await ledger.head() - middle


@pytest.mark.parametrize("projection", PROJECTIONS.values(), ids=lambda projection: projection.name)
def test_what_came_too_late_for_a_document_begins_none(projection: Projection[Any]) -> None:
    """Only what a thing begins with begins its document, or a forgotten one could come back in pieces."""
    for kind in set(projection.on) - set(projection.begins):
        assert projection.evolve(None, ordinary(kind)) is None
