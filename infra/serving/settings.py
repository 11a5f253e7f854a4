"""Settings of the HTTP server."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated

from domain.sections import Count, Seconds, Section, says, variable


class Connections(Section, frozen=True):
    """What a connection may cost."""

    connections_max: Annotated[Count, says("Connections that one process serves at once; more are answered 503")] = (
        4_096
    )
    connections_per_address_max: Annotated[
        Count, says("Of them from one address (of IPv6 a /64), trusted proxies apart")
    ] = 512
    header_bytes_max: Annotated[Count, says("The largest head of a request, URL and headers together; 431 beyond")] = (
        32 * 1024
    )
    headers_max: Annotated[Count, says("Headers of a request; 431 beyond")] = 100
    header_seconds_max: Annotated[Seconds, says("Time a request's head may take, and a new connection to begin")] = 10.0
    idle_seconds_max: Annotated[Seconds, says("How long a connection stays open between two requests")] = 30.0
    body_seconds_grace: Annotated[
        Seconds, says("How long a body may keep us waiting in all, before what its bytes earn it; 408 beyond")
    ] = 61.0
    body_bytes_per_second_min: Annotated[
        Count, says("So many bytes of a body earn it one second more: the least pace of an upload")
    ] = 32 * 1024
    send_seconds_max: Annotated[Seconds, says("How long a client may leave an answer unread before it is cut off")] = (
        60.0
    )


class Browsers(Section, frozen=True):
    """Pages of other sites that may ask."""

    cors_origins: Annotated[
        tuple[str, ...], says("Origins (commas), such as `https://app.example.com`, whose pages may read answers")
    ] = ()

    def problems(self) -> Iterator[str]:
        """What is no origin."""
        for origin in self.cors_origins:
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                yield f"{variable('cors_origins')} must be origins such as https://app.example.com, not {origin!r}."


class Proxies(Section, frozen=True):
    """Who stands before the service."""

    trusted_proxies: Annotated[
        tuple[str, ...],
        says("Addresses or networks (commas) whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed"),
    ] = ()

    def problems(self) -> Iterator[str]:
        """What is neither an address nor a network."""
        for entry in self.trusted_proxies:
            try:
                ipaddress.ip_network(entry)
            except ValueError:
                yield (
                    f"{variable('trusted_proxies')} must be addresses or networks such as 10.0.0.0/8 with commas, "
                    f"not {entry!r}."
                )
