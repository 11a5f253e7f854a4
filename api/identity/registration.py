"""Becoming known: register with an address, and prove it where that is asked for."""

from __future__ import annotations

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from api.auth import anonymous, inside
from api.identity.ports import Ports
from api.rates import DAY_SECONDS, by_address, by_both, by_subject, rate
from api.settings import Rates
from commands.identity.challenges import WRONG_CODES_MAX
from commands.identity.people import RegisterPerson, VerifyEmail
from domain.identity.addresses import LENGTH_MAX, NotAnAddress, normal
from domain.identity.challenges import CodeIsWrong, challenges
from domain.identity.people import email_claims

#: How many sources may have all their letters sent to one mailbox in an hour.
MAILBOX_FACTOR = 4

Email = Annotated[str, Meta(max_length=LENGTH_MAX, extra_json_schema={"format": "email"})]


def mailbox(email: str) -> str:
    """The address that a body names, in its normal form."""
    try:
        return normal(email)
    except NotAnAddress as problem:
        raise NotAnAddress(**problem.facts, loc=("body", "email")) from None


#: A workspace is a share of every place that workspaces compete for, so those from one address are few.
REGISTRATIONS = by_address("register", Rates, lambda rates: rates.register_limit_per_hour)
REGISTRATIONS_A_DAY = by_address("register-day", Rates, lambda rates: rates.register_limit_per_day, DAY_SECONDS)
PROOFS = by_address("verify", Rates, lambda rates: rates.register_limit_per_hour)
#: Codes, and letters of invitation, to one mailbox from one address or workspace: a stranger spends only their own.
LETTERS = by_both("code", Rates, lambda rates: rates.code_limit_per_hour)
#: To one mailbox from anywhere, which must not be filled.
MAILBOX = by_subject("mailbox", Rates, lambda rates: MAILBOX_FACTOR * rates.code_limit_per_hour)
#: Answers to codes of one mailbox from anywhere: as many as so many codes took before they were counted by source.
ANSWERS = by_subject("answer", Rates, lambda rates: WRONG_CODES_MAX * rates.code_limit_per_hour)
#: Answers to codes of one mailbox from one address, so that one stranger's guesses are not all there are.
ANSWERS_FROM = by_both("answer-from", Rates, lambda rates: 2 * rates.code_limit_per_hour)


class Registration(Struct):
    """Who wants to be known."""

    email: Email


class Registered(Struct):
    """A person, and the first key of their workspace. The key is shown this once."""

    user_id: str
    email: str
    api_key: str
    email_verification_required: bool
    workspace_id: str
    challenge_id: str | None = None
    dev_code: str | None = None


class Proof(Struct):
    """The code that was sent to an address."""

    challenge_id: Annotated[str, Meta(min_length=1, max_length=64)]
    code: Annotated[str, Meta(min_length=6, max_length=6)]


class Proved(Struct):
    """The address is proved."""

    verified: bool


@post("/v1/auth/register", tags=["analysis v1"], opt=rate(REGISTRATIONS, REGISTRATIONS_A_DAY))
async def register(data: JSONBody[Registration], ports: NamedDependency[Ports]) -> Registered:
    """Register an e-mail address. The answer holds the first API key, which is shown this once."""
    vault, context = ports.vault, anonymous()
    email = mailbox(data.email)
    key, prefix, digest = vault.new_api_key()
    person_id, workspace_id = vault.new_id(), vault.new_id()
    required = ports.settings.email_verification_required
    challenge_id = vault.new_id() if required else None
    await ports.execute(
        RegisterPerson(
            person_id=person_id,
            workspace_id=workspace_id,
            api_key_id=vault.new_id(),
            email=email,
            email_digest=vault.email_digest(email),
            key_prefix=prefix,
            key_digest=digest,
            challenge_id=challenge_id,
        ),
        inside(context, workspace_id, person_id),
    )
    return Registered(
        user_id=person_id,
        email=email,
        api_key=key,
        email_verification_required=required,
        workspace_id=workspace_id,
        challenge_id=challenge_id,
        dev_code=vault.code(challenge_id) if challenge_id and ports.service.env == "development" else None,
    )


@post("/v1/auth/verify-email", status_code=200, tags=["analysis v1"], opt=rate(PROOFS))
async def verify_email(data: JSONBody[Proof], ports: NamedDependency[Ports]) -> Proved:
    """Prove an e-mail address with the code that was sent to it."""
    right = ports.vault.same(ports.vault.code(data.challenge_id), data.code)
    context = anonymous()
    challenge = await ports.log.state(challenges, data.challenge_id)
    claim = await ports.log.state(email_claims, challenge.email_digest)
    if challenge.expires_at is not None and (claim.person_id is None or claim.workspace_id is None):
        raise CodeIsWrong
    person_id, workspace_id = claim.person_id or "", claim.workspace_id or ""
    await ports.execute(
        VerifyEmail(challenge_id=data.challenge_id, right=right, person_id=person_id),
        inside(context, workspace_id, person_id) if right else context,
    )
    if not right:
        raise CodeIsWrong
    return Proved(verified=True)
