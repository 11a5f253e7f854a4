"""What stands in for what forgets beside the log."""

from __future__ import annotations

from typing import Any

from commands.identity.ports import Eraser
from tests.outside import Known

OBJECTS: tuple[str, ...] = ()


def outside(known: Known) -> dict[type, Any]:
    """By their ports."""
    return {Eraser: known}
