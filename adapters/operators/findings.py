"""What a look at everything that is kept has found: one finding for each thing that is not as it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from domain.kernel import Value

Part = Literal["log", "read_models", "objects", "stream", "published"]

#: Told how far a part has come: how many of how many things have been looked at.
Progress = Callable[[Part, int, int], None]


class Finding(Value):
    """Something that is not as it should be, in a sentence; `kind` names it for programs.

    `position` is the event it begins with and `subject` the read model or the object, where there is one.
    """

    part: Part
    kind: str
    message: str
    position: int | None = None
    subject: str | None = None


def nobody(_part: Part, _done: int, _total: int) -> None:
    """Whoever does not want to know how far it has come."""
