"""An address is proved by a code: the code is spent and the address proved in one step, or neither."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from commands.identity.people import VerifyEmail
from domain.identity.challenges import (
    ChallengeFailed,
    ChallengeIssued,
    ChallengePassed,
    CodeIsWrong,
    NoSuchChallenge,
    TooManyWrongCodes,
)
from domain.identity.people import AccountHasChanged, EmailClaimed, EmailVerified, PersonRegistered, email_claims
from tests.spec import NOW, given

registered = PersonRegistered(person_id="ada", email="ada@example.com", registered_at=NOW)
claimed = (
    email_claims.stream("digest-of-ada"),
    EmailClaimed(email_digest="digest-of-ada", person_id="ada", workspace_id="w1", claimed_at=NOW),
)
issued = ChallengeIssued(
    challenge_id="challenge-1",
    purpose="verify_email",
    email="ada@example.com",
    email_digest="digest-of-ada",
    address_digest="digest-of-ada.0",
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=10),
)
passed = ChallengePassed(challenge_id="challenge-1", passed_at=NOW)
failed = ChallengeFailed(challenge_id="challenge-1", failed_at=NOW)
verified = EmailVerified(person_id="ada", verified_at=NOW)
right = VerifyEmail(challenge_id="challenge-1", right=True, person_id="ada")
wrong = VerifyEmail(challenge_id="challenge-1", right=False, person_id="ada")


def test_the_right_code_is_spent_and_proves_the_address_in_one_step() -> None:
    given(registered, claimed, issued).when(right).then(passed, verified)
    given(registered, claimed, issued, verified).when(right).then(passed)


def test_the_first_key_stays_with_whoever_gives_the_code_of_the_registration() -> None:
    by_code = replace(claimed[1], first_key_id="key-1")
    given(registered, (claimed[0], by_code), issued).when(right).then(passed, verified)


def test_a_code_to_sign_in_with_proves_no_registration() -> None:
    # Nor is a wrong one counted, or else guesses at it would go past the limit for answers to codes to sign in with.
    for code in (right, wrong):
        given(registered, claimed, replace(issued, purpose="sign_in")).when(code).refused(CodeIsWrong)


def test_a_wrong_code_is_written_down_and_proves_nothing() -> None:
    given(registered, claimed, issued).when(wrong).then(failed)
    given(registered, claimed, issued, failed).when(right).then(passed, verified)


def test_a_code_that_proves_nothing_is_not_spent() -> None:
    given(registered, issued).when(right).refused(AccountHasChanged)
    given(claimed, issued, passed).when(right).refused(CodeIsWrong)
    given(registered, claimed, issued, *[failed] * 5).when(right).refused(TooManyWrongCodes)
    given(registered, claimed, issued).when(right, now=issued.expires_at).refused(CodeIsWrong)
    given(registered, claimed).when(right).refused(NoSuchChallenge)
