"""Settings of requests to other servers, and of those who come with wrong keys."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from domain.sections import Count, Section, says, variable


class WrongKeys(Section, frozen=True):
    """How often anybody may guess."""

    refused_limit_per_minute: Annotated[
        Count,
        says("Requests and NATS connections with wrong keys from one address; 1000 in development", development=1_000),
    ] = 300


class OutboundRequests(Section, frozen=True):
    """Where the service itself may go."""

    outbound_allow: Annotated[
        tuple[str, ...], says("Private hosts (`host` or `host:port`, commas) that outbound requests may reach")
    ] = ()

    outbound_never: Annotated[
        tuple[str, ...],
        says("Addresses (`address:port`, commas) that no outbound request reaches, allowed or not; `up` adds its own"),
    ] = ()

    def problems(self) -> Iterator[str]:
        """What is no host and no host with a port."""
        for entry in self.outbound_allow:
            if not _is_host_and_port(entry):
                yield f"{variable('outbound_allow')} must be hosts or host:port with commas, not {entry!r}."
        for entry in self.outbound_never:
            if not _is_address_and_port(entry):
                yield f"{variable('outbound_never')} must be address:port with commas, not {entry!r}."


def _is_host_and_port(entry: str) -> bool:
    try:
        parts = urlsplit(f"//{entry}")
        _ = parts.port
    except ValueError:
        return False
    bare_ipv6 = entry.count(":") > 1 and not entry.startswith("[")
    if bare_ipv6:
        try:
            ipaddress.IPv6Address(entry)
        except ValueError:
            return False
        return True
    return bool(parts.hostname) and parts.netloc == entry and parts.username is None and "*" not in entry


def _is_address_and_port(entry: str) -> bool:
    host, _, port = entry.rpartition(":")
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return port.isascii() and port.isdigit() and 0 < int(port) < 65_536
