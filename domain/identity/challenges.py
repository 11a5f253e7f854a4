"""A challenge: a six-digit code sent by mail that proves an address. The code itself is written down nowhere."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.kernel import Category, Event, Exhausted, Invalid, NotFound, State, personal

Purpose = Literal["verify_email", "sign_in"]


class ChallengeIssued(Event):
    """A code is on its way to an address."""

    challenge_id: str
    purpose: Purpose
    email: Annotated[str, personal("address_digest")]
    email_digest: str
    address_digest: str
    issued_at: datetime
    expires_at: datetime


class ChallengeFailed(Event):
    """A wrong code was given."""

    challenge_id: str
    failed_at: datetime


class ChallengePassed(Event):
    """The right code was given; it works only once."""

    challenge_id: str
    passed_at: datetime


class Challenge(State):
    """What rules need to know of a challenge."""

    purpose: Purpose = "verify_email"
    email: str = ""
    email_digest: str = ""
    expires_at: datetime | None = None
    failures: int = 0
    passed: bool = False


def evolve(challenge: Challenge, event: Event) -> Challenge:
    """A challenge after one more event."""
    match event:
        case ChallengeIssued():
            return Challenge(
                purpose=event.purpose,
                email=event.email,
                email_digest=event.email_digest,
                expires_at=event.expires_at,
            )
        case ChallengeFailed():
            return replace(challenge, failures=challenge.failures + 1)
        case ChallengePassed():
            return replace(challenge, passed=True)
    return challenge


class NoSuchChallenge(NotFound):
    """There is no such challenge. Ask for a new code."""


class CodeIsWrong(Invalid):
    """This code is wrong or no longer works."""


class TooManyWrongCodes(Exhausted):
    """Too many wrong codes. Ask for a new one."""


challenges = Category(name="challenge", initial=Challenge(), evolve=evolve, absent=NoSuchChallenge)
