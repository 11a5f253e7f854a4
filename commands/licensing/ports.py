"""What follows in licensing needs."""

from __future__ import annotations

from dataclasses import dataclass

from commands.kernel import Execute


@dataclass(frozen=True)
class Ports:
    """The log to write to."""

    execute: Execute
