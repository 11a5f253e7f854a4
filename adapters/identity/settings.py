"""Settings of keys, of other people's tokens, and of what is remembered about requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from domain.sections import Count, Secret, Section, Url, says, variable

SECRET_KEY_LENGTH_MIN = 32


class Sealing(Section, frozen=True):
    """The one secret behind all others."""

    secret_key: Annotated[
        Secret,
        says(
            "At least 32 characters; seals stored secrets and hashes keys. `up` makes one in the data directory; "
            "without it no key and no sealed field can be read again",
            needed=True,
        ),
    ] = Secret("")

    def problems(self) -> Iterator[str]:
        """A key that is too short."""
        if self.secret_key and len(self.secret_key.reveal()) < SECRET_KEY_LENGTH_MIN:
            yield f"{variable('secret_key')} must have at least {SECRET_KEY_LENGTH_MIN} characters."


class OutsideIdentity(Section, frozen=True):
    """An identity provider outside whose tokens are accepted."""

    jwt_jwks_url: Annotated[
        Url,
        says(
            "Published keys (JWKS) of an outside identity provider whose tokens are accepted; empty means none",
            schemes=("http", "https"),
        ),
    ] = Url("")
    jwt_issuer: Annotated[str, says("What its tokens must name as `iss`")] = ""
    jwt_audience: Annotated[str, says("What its tokens must name as `aud`")] = ""

    def problems(self) -> Iterator[str]:
        """Keys without the names that tokens must bear."""
        if self.jwt_jwks_url and not (self.jwt_issuer and self.jwt_audience):
            yield (
                f"{variable('jwt_jwks_url')} needs {variable('jwt_issuer')} and {variable('jwt_audience')} beside it."
            )


class Origins(Section, frozen=True):
    """What the audit remembers of a request."""

    audit_origin_days: Annotated[
        Count, says("How long the audit remembers the address and program behind a request")
    ] = 90
