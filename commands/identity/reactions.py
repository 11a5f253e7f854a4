"""What identity does by itself."""

from __future__ import annotations

from commands.kernel import reacts_to
from commands.ports import World
from domain.identity.challenges import ChallengeIssued
from domain.kernel import ERASED
from domain.ledger import Recorded


@reacts_to(ChallengeIssued, name="mail-code")
async def mail_code(recorded: Recorded, world: World) -> None:
    """Send the code, unless it has expired on the way or there is no mail server."""
    event = recorded.event
    assert isinstance(event, ChallengeIssued)
    if world.mail is None or event.email == ERASED or world.now() >= event.expires_at:
        return
    code = world.secrets.code(event.challenge_id)
    await world.mail.send(
        event.email,
        f"{code} is your Ledgerline code",
        f"Your code is {code}.\n\nIt works once, until {event.expires_at:%H:%M} UTC. "
        "If you did not ask for it, you need not do anything.\n",
    )
