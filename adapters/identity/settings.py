"""Settings of other people's tokens, and of what is remembered about requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from domain.sections import Count, Section, Url, says, variable


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
