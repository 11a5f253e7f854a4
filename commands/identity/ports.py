"""What identity needs of the outside to do what follows from events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from commands.kernel import Execute, Log, Now
from commands.ports import Post
from commands.settings import Service


class Secrets(Protocol):
    """What follows from the server's own secret, and from nothing that is stored."""

    def code(self, challenge_id: str) -> str:
        """The six digits of a challenge."""

    def invitation_token(self, workspace_id: str, invitation_id: str) -> str:
        """What a letter of invitation brings."""


class Directory(Protocol):
    """Who is where, across workspaces."""

    async def sessions_of(self, person_id: str) -> Sequence[str]:
        """All sessions that a person ever opened, closed ones too."""

    async def keys_of(self, workspace_id: str) -> Sequence[str]:
        """All API keys of a workspace, revoked ones too."""

    async def erase(self, subject: str) -> None:
        """Destroy what reads the sealed fields of a subject, and what is beside the log about it."""


@dataclass(frozen=True)
class Ports:
    """What reactions of identity reach for."""

    log: Log
    execute: Execute
    now: Now
    secrets: Secrets
    directory: Directory
    #: None where no mail is sent.
    post: Post | None
    service: Service
