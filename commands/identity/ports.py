"""What identity needs of the outside to do what follows from events."""

from __future__ import annotations

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


class Eraser(Protocol):
    """What forgets beside the log."""

    async def erase(self, subject: str) -> None:
        """Destroy what reads the sealed fields of a subject, and what is beside the log about it."""


@dataclass(frozen=True)
class Ports:
    """What reactions of identity reach for."""

    log: Log
    execute: Execute
    now: Now
    secrets: Secrets
    eraser: Eraser
    #: None where no mail is sent.
    post: Post | None
    service: Service
