"""Tokens of an outside identity provider: signed JWTs, checked against the keys it publishes (RFC 7517, RFC 7519)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import jwt
import structlog
from msgspec import Struct

from adapters.identity.settings import OutsideIdentity
from adapters.provides import provides
from adapters.web.parties import NoAnswer, Party
from domain.identity.addresses import NotAnAddress, normal

log = structlog.get_logger(__name__)

#: Signatures anybody can check and only the provider can make; a shared secret or none at all is never accepted.
ALGORITHMS = ("RS256", "ES256")
#: How long published keys are believed.
KEYS_SECONDS = 300.0
#: A token signed with a key we do not know makes us look again, but not more often than this.
LOOK_SECONDS = 10.0
FETCH_SECONDS_MAX = 5.0
KEYS_BYTES_MAX = 256 * 1024
#: How much the provider's clock and ours may differ.
LEEWAY_SECONDS = 30


class Claims(Struct, frozen=True, kw_only=True):
    """What the provider says about whoever holds the token; the address only where it vouches for it."""

    issuer: str
    subject: str
    email: str | None
    expires_at: datetime


class OutsideTokens:
    """Checks tokens of one provider."""

    def __init__(self, keys_url: str, *, issuer: str, audience: str) -> None:
        self._keys_url = keys_url
        self._issuer = issuer
        self._audience = audience
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._looked_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._provider = Party(seconds_max=FETCH_SECONDS_MAX, bytes_max=KEYS_BYTES_MAX)

    async def read(self, token: str) -> Claims | None:
        """What the token says, or None when it is not a valid one of this provider for us."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                return None
            key = await self._key(header.get("kid"))
            if key is None or key.algorithm_name != header["alg"]:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        return _claims(claims)

    async def _key(self, key_id: object) -> jwt.PyJWK | None:
        """The published key of this id; without an id, the only one there is."""
        if monotonic() - self._fetched_at > KEYS_SECONDS or self._named(key_id) is None:
            if self._fetching.locked() and (kept := self._named(key_id)) is not None:
                # Somebody looks already, and what we have stays good if they see nothing: one waits, not all.
                return kept
            async with self._fetching:
                known = monotonic() - self._fetched_at <= KEYS_SECONDS and self._named(key_id) is not None
                if not known and monotonic() - self._looked_at > LOOK_SECONDS:
                    await self._fetch()
        return self._named(key_id)

    def _named(self, key_id: object) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(str(key_id))

    async def _fetch(self) -> None:
        self._looked_at = monotonic()
        try:
            keys = jwt.PyJWKSet.from_dict(await self._published())
        except (NoAnswer, ValueError, TypeError, AttributeError, jwt.PyJWTError) as problem:
            # The keys we have stay good: a provider that is away must not lock everybody out.
            log.warning("outside_tokens.keys.unavailable", problem=repr(problem))
            return
        usable = {str(key.key_id): key for key in keys.keys if key.algorithm_name in ALGORITHMS}
        if not usable:
            log.warning("outside_tokens.keys.unusable", algorithms=sorted({key.algorithm_name for key in keys.keys}))
            return
        self._keys = usable
        self._fetched_at = monotonic()

    async def _published(self) -> dict[str, Any]:
        answer = await self._provider.ask("GET", self._keys_url)
        if answer.status != 200:
            raise NoAnswer(f"It answers {answer.status}.")
        return answer.object()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._provider.close()


def _claims(claims: dict[str, Any]) -> Claims | None:
    subject = claims["sub"]
    if not isinstance(subject, str) or not subject:
        return None
    return Claims(
        issuer=claims["iss"],
        subject=subject,
        email=_vouched(claims),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _vouched(claims: dict[str, Any]) -> str | None:
    """The address that the provider vouches for, in its normal form; one that has none is no address to us."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    try:
        return normal(email)
    except NotAnAddress:
        return None


@provides
def outside_tokens(settings: OutsideIdentity) -> OutsideTokens | None:
    """The identity provider whose tokens we accept, where there is one."""
    if not settings.jwt_jwks_url:
        return None
    return OutsideTokens(settings.jwt_jwks_url, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
