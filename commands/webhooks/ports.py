"""What webhooks need of the outside: to send a message, signed, with what it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from commands.kernel import Chance, Execute, Log, Now
from commands.ports import Post, Web
from commands.webhooks.settings import Webhooks


class Signer(Protocol):
    """Signs messages with secrets that are stored nowhere."""

    def sign(self, message_id: str, sent_at: datetime, body: bytes, secret_ids: Sequence[str]) -> Mapping[str, str]:
        """The headers of a signed message, one signature for each secret."""


class Bodies(Protocol):
    """What messages are about, as it stands."""

    async def analysis(self, analysis_id: str) -> bytes:
        """The answer of `GET /v1/analysis/{id}`: what an address that was left with a job is told."""

    async def platform_analysis(self, analysis_id: str) -> bytes:
        """The same as the platform shows it, with its result: what webhook endpoints are told."""


@dataclass(frozen=True)
class Ports:
    """What sending reaches for, and the reactions of webhooks."""

    log: Log
    execute: Execute
    now: Now
    chance: Chance
    web: Web
    signer: Signer
    bodies: Bodies
    #: None where no mail is sent.
    post: Post | None
    settings: Webhooks
