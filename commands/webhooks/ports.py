"""What webhooks need of the outside: to send a message, signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from commands.kernel import Chance, Execute, Log, Now
from commands.ports import Post, Published, Web
from commands.webhooks.settings import Webhooks


class SigningSecrets(Protocol):
    """The secrets that messages are signed with; they follow from their ids and are stored nowhere."""

    def signing_secret(self, secret_id: str) -> str:
        """A secret as its owner sees it, `whsec_` and base64."""


@dataclass(frozen=True)
class Ports:
    """What sending reaches for, and the reactions of webhooks."""

    log: Log
    execute: Execute
    now: Now
    chance: Chance
    web: Web
    secrets: SigningSecrets
    published: Published
    #: None where no mail is sent.
    post: Post | None
    settings: Webhooks
