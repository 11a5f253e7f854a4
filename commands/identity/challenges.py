"""A code goes out by mail, and comes back."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, handles
from domain.identity.challenges import (
    Challenge,
    ChallengeFailed,
    ChallengeIssued,
    ChallengePassed,
    CodeIsWrong,
    Purpose,
    TooManyWrongCodes,
    challenges,
)
from domain.identity.people import CodeSent, email_claims
from domain.kernel import Event

#: How long a code works.
CODE_LIFETIME = timedelta(minutes=10)
#: How many wrong codes a challenge takes.
WRONG_CODES_MAX = 5


class IssueChallenge(Command):
    """Send a code to an address."""

    challenge_id: str
    purpose: Purpose
    email: str
    email_digest: str
    #: A digest of where it is asked for from.
    source: str = ""


@handles(IssueChallenge)
async def issue(wish: IssueChallenge, transaction: Transaction) -> None:
    """A challenge is issued once, and of the codes to sign in with only the newest of each source works."""
    await send_code(transaction, wish.challenge_id, wish.purpose, wish.email, wish.email_digest, wish.source)


async def send_code(
    transaction: Transaction, challenge_id: str, purpose: Purpose, email: str, email_digest: str, source: str = ""
) -> None:
    """A code to an address, once."""
    now = transaction.now
    challenge = await transaction.expect_new(challenges, challenge_id)
    if challenge.expires_at is not None:
        return
    claim = await transaction.find(email_claims, email_digest)
    transaction.record(
        challenges,
        challenge_id,
        ChallengeIssued(
            challenge_id=challenge_id,
            purpose=purpose,
            email=email,
            email_digest=email_digest,
            address_digest=claim.address_digest(email_digest),
            issued_at=now,
            expires_at=now + CODE_LIFETIME,
        ),
    )
    if purpose == "sign_in":
        transaction.record(
            email_claims,
            email_digest,
            CodeSent(
                email_digest=email_digest,
                challenge_id=challenge_id,
                sent_at=now,
                source=source,
                address_digest=claim.address_digest(email_digest),
            ),
        )


def answer(challenge_id: str, challenge: Challenge, right: bool, now: datetime) -> Event:
    """A code works once, in time, and after few wrong ones. A wrong one is written down."""
    if challenge.failures >= WRONG_CODES_MAX:
        raise TooManyWrongCodes
    if challenge.passed or challenge.expires_at is None or now >= challenge.expires_at:
        raise CodeIsWrong
    if not right:
        return ChallengeFailed(challenge_id=challenge_id, failed_at=now)
    return ChallengePassed(challenge_id=challenge_id, passed_at=now)
