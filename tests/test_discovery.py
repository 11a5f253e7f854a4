"""What contexts provide is found: a package with layers of its own is as good as ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.discovery import EXTENSIONS, context_of, modules
from domain.vocabulary import categories
from infra.migrate import _found


def names(layer: str) -> list[str]:
    return [module.__name__ for module in modules(layer)]


def extension(place: Path, name: str, **layers: str) -> None:
    """Write a package with one module, `cider.presses`, in each of these layers."""
    for layer, text in layers.items():
        room = place / name / layer / "cider"
        room.mkdir(parents=True)
        for folder in (room.parent.parent, room.parent, room):
            (folder / "__init__.py").touch()
        (room / "presses.py").write_text(text)


def test_all_modules_of_a_layer_are_found_and_those_of_a_room_in_it() -> None:
    assert {"domain", "domain.kernel", "domain.analyses.analyses"} <= set(names("domain"))
    assert "adapters.log.eventlog" in names("adapters.log")


def test_an_extension_brings_the_layers_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension(tmp_path, "orchard_house", domain="", api="")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(EXTENSIONS, "orchard_house")

    assert names("domain")[-1] == "orchard_house.domain.cider.presses"
    assert names("api")[-1] == "orchard_house.api.cider.presses"
    assert not any(name.startswith("orchard_house") for name in names("commands"))


CATEGORY = """
from domain.kernel import Category, State
presses = Category(name="workspace", initial=State(), evolve=lambda state, _: state)
"""


def test_an_extension_cannot_take_the_place_of_a_kind_of_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension(tmp_path, "usurping_house", domain=CATEGORY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(EXTENSIONS, "usurping_house")

    with pytest.raises(AssertionError, match="two kinds of streams have one name"):
        categories.__wrapped__()


def test_migrations_of_an_extension_come_after_ours_and_are_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension(tmp_path, "pressing_house", infra="")
    extension(tmp_path, "bare_house", domain="")
    scripts = tmp_path / "pressing_house" / "infra" / "migrations"
    scripts.mkdir()
    for name in ("0002_b.sql", "0001_a.sql", "notes.txt"):
        (scripts / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    ours = [name for name, _ in _found()]
    monkeypatch.setenv(EXTENSIONS, "bare_house, pressing_house")

    assert [name for name, _ in _found()] == [*ours, "pressing_house/0001_a.sql", "pressing_house/0002_b.sql"]


def test_an_extension_that_is_not_there_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXTENSIONS, "nobody_wrote_this")

    with pytest.raises(ModuleNotFoundError, match="nobody_wrote_this"):
        modules("domain")


def test_an_extension_that_is_broken_is_not_taken_for_one_that_has_no_such_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension(tmp_path, "broken_house", domain="import nobody_wrote_this_either")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(EXTENSIONS, "broken_house")

    with pytest.raises(ModuleNotFoundError, match="either"):
        modules("domain")


@pytest.mark.parametrize(
    ("module", "context"),
    [
        ("domain.licensing.licenses", "licensing"),
        ("house.domain.cider.presses", "cider"),
        ("tests.core.orchard", "core"),
    ],
)
def test_a_module_belongs_to_the_context_after_its_layer(module: str, context: str) -> None:
    assert context_of(module) == context
