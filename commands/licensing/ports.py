"""What follows in licensing needs."""

from __future__ import annotations

from dataclasses import dataclass

from commands.kernel import Execute, Log


@dataclass(frozen=True)
class Ports:
    """The log, and what writes to it."""

    log: Log
    execute: Execute
