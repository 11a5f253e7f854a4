"""One ordinary example of every command, kept by its context in `tests/<context>/examples.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from commands.kernel import Command
from tests.walking import kept_modules


class Example(NamedTuple):
    """A command, after these. `repeats` says why a command may write something every time it is sent."""

    command: Command
    before: Sequence[Command] = ()
    repeats: str = ""


@cache
def examples() -> dict[type[Command], Example]:
    """The example of every command of every context."""
    found = [each for module in kept_modules("examples") for each in module.EXAMPLES]
    by_command = {type(each.command): each for each in found}
    assert len(by_command) == len(found), "a command has two examples"
    return by_command


def further() -> list[Example]:
    """What contexts call `FURTHER`: after these, reactions have more to do than after the examples."""
    return [each for module in kept_modules("examples") for each in getattr(module, "FURTHER", ())]
