"""What follows in licensing needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from commands.kernel import Execute


class Directory(Protocol):
    """What is where, across workspaces."""

    async def licenses_of(self, workspace_id: str) -> Sequence[str]:
        """All licences that were ever issued in a workspace, also in one that is forgotten."""


@dataclass(frozen=True)
class Ports:
    """The log to write to, and what is in it."""

    execute: Execute
    directory: Directory
