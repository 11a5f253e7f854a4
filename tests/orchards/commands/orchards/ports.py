"""What follows in orchards needs."""

from __future__ import annotations

from dataclasses import dataclass

from commands.kernel import Execute, Now
from tests.orchards.commands.orchards.settings import Orchards


@dataclass(frozen=True)
class Ports:
    """The log to write to, the time, and the settings."""

    execute: Execute
    now: Now
    settings: Orchards
