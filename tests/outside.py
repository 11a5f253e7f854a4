"""What stands in for the outside world where a law is put to every context, kept in `tests/<context>/outside.py`.

There is `outside(known)`, by port; and `OBJECTS`, the keys of what lies in the object store. Each call of a stand-in
counts as something that was done, but for what is marked with `as_once`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from adapters.log.memory import MemoryLedger
from tests.walking import kept_modules

P = ParamSpec("P")
T = TypeVar("T")

_AS_ONCE = "is_as_once"


def as_once(method: Callable[P, T]) -> Callable[P, T]:
    """A method of a stand-in that only looks, or whose port promises that what is so already stays as it is."""
    setattr(method, _AS_ONCE, True)
    return method


class Known:
    """What has been erased, and what of the log it takes to know that."""

    def __init__(self, log: MemoryLedger) -> None:
        self._log = log
        self.erased: set[str] = set()
        #: How often each stand-in was called for something.
        self.calls: Counter[str] = Counter()

    def ids(self, kind: Any, field: str, owner: str, value: str) -> list[str]:
        events = [each.event for each in self._log.all if isinstance(each.event, kind)]
        return [getattr(event, field) for event in events if getattr(event, owner) == value]

    @as_once
    async def erase(self, subject: str) -> None:
        self.erased.add(subject)


class Counted:
    """A stand-in whose calls are counted."""

    def __init__(self, made: Any, calls: Counter[str]) -> None:
        self._made = made
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._made, name)
        if not callable(found) or hasattr(found, _AS_ONCE):
            return found

        @wraps(found)
        def counted(*arguments: Any, **named: Any) -> Any:
            self._calls[f"{type(self._made).__name__}.{name}"] += 1
            return found(*arguments, **named)

        return counted


def outside(known: Known) -> dict[type, Any]:
    """Every stand-in of every context, by its port."""
    found: dict[type, Any] = {}
    for module in kept_modules("outside"):
        for port, made in module.outside(known).items():
            assert port not in found, f"two contexts stand in for {port.__qualname__}"
            found[port] = Counted(made, known.calls)
    return found


def objects() -> list[str]:
    """The keys of everything that lies in the object store."""
    return [key for module in kept_modules("outside") for key in module.OBJECTS]
