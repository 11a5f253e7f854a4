"""One ordinary example of every command, kept by its context in `tests/<context>/examples.py`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from commands.kernel import Command
from domain.discovery import extensions

_TESTS = Path(__file__).parent


class Example(NamedTuple):
    """A command, after these. `repeats` says why a command may write something every time it is sent."""

    command: Command
    before: Sequence[Command] = ()
    repeats: str = ""


@cache
def examples() -> dict[type[Command], Example]:
    """The example of every command of every context."""
    found = [each for module in _modules() for each in importlib.import_module(module).EXAMPLES]
    by_command = {type(each.command): each for each in found}
    assert len(by_command) == len(found), "a command has two examples"
    return by_command


def further() -> list[Example]:
    """What contexts call `FURTHER`: after these, reactions have more to do than after the examples."""
    return [each for module in _modules() for each in getattr(importlib.import_module(module), "FURTHER", ())]


def _modules() -> Iterator[str]:
    # A folder with layers of its own is an extension, whose commands are there only when it is named as one.
    ours = (path.parent for path in _TESTS.glob("*/examples.py") if not (path.parent / "domain").exists())
    yield from sorted(f"tests.{folder.name}.examples" for folder in ours)
    yield from (f"{name}.examples" for name in extensions())
