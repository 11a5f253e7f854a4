"""What stands in for the outside world where a law is put to every context, kept in `tests/<context>/outside.py`.

There is `outside(known)`, by port; and `OBJECTS`, the keys of what lies in the object store.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from adapters.log.memory import MemoryLedger
from domain.discovery import extensions

_TESTS = Path(__file__).parent


class Known:
    """What has been erased, and what of the log it takes to know that."""

    def __init__(self, log: MemoryLedger) -> None:
        self._log = log
        self.erased: set[str] = set()

    def ids(self, kind: Any, field: str, owner: str, value: str) -> list[str]:
        events = [each.event for each in self._log.all if isinstance(each.event, kind)]
        return [getattr(event, field) for event in events if getattr(event, owner) == value]

    async def erase(self, subject: str) -> None:
        self.erased.add(subject)


def outside(known: Known) -> dict[type, Any]:
    """Every stand-in of every context, by its port."""
    found: dict[type, Any] = {}
    for module in _modules():
        for port, made in module.outside(known).items():
            assert port not in found, f"two contexts stand in for {port.__qualname__}"
            found[port] = made
    return found


def objects() -> list[str]:
    """The keys of everything that lies in the object store."""
    return [key for module in _modules() for key in module.OBJECTS]


def _modules() -> list[ModuleType]:
    # A folder with layers of its own is an extension; see `tests.examples`.
    ours = (path.parent for path in _TESTS.glob("*/outside.py") if not (path.parent / "domain").exists())
    names = [f"tests.{folder.name}.outside" for folder in sorted(ours)]
    theirs = [f"{name}.outside" for name in extensions() if (_TESTS / name.rpartition(".")[2] / "outside.py").exists()]
    return [importlib.import_module(name) for name in (*names, *theirs)]
