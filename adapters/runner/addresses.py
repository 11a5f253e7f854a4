"""Which repositories may be fetched from: public addresses, and what the operator names."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from adapters.runner.failures import BuildFailed

#: What may be in the address of a repository. None of it means anything to a shell, and an address is no option.
URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,255}(?:/[A-Za-z0-9._~%+@-]{1,255}){1,16}/?")
REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+@-]{0,254}")


@dataclass(frozen=True)
class Outside:
    """What a runner fetches from: `allow` names hosts, or host:port, that need not be public; `roots`, folders here."""

    allow: frozenset[str] = frozenset()
    roots: tuple[Path, ...] = ()

    def local(self, url: str) -> Path | None:
        """The folder that an address means, None when it means none; refused outside the allowed roots."""
        text = url.removeprefix("file://")
        if not text.startswith("/"):
            return None
        path = Path(text).resolve()
        if "\0" in text or not any(path.is_relative_to(root.resolve()) for root in self.roots):
            raise BuildFailed("source_refused", "This runner does not build from that folder.")
        return path

    def resolved(self, url: str) -> tuple[str, int, str]:
        """Host, port and a checked address of it; raises BuildFailed when it must not or cannot be reached."""
        if not URL.fullmatch(url):
            raise BuildFailed("source_refused", "The address of a repository must be an https:// address.")
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        allowed = host in self.allow or f"{host}:{port}" in self.allow
        if parts.scheme != "https" and not allowed:
            raise BuildFailed("source_refused", "The address of a repository must be an https:// address.")
        try:
            found = {str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        except OSError as problem:
            raise BuildFailed("fetch_failed", f"{host} cannot be found: {problem}.") from None
        if not allowed and not all(is_public(each) for each in found):
            raise BuildFailed("source_refused", f"{host} is not a public address.")
        return host, port, min(found, key=lambda each: ":" in each)


def is_public(address: str) -> bool:
    """Whether an address is of the internet, with those that hide another one inside taken at that one."""
    found = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped or found.sixtofour or found.teredo:
            return False
        if found in ipaddress.ip_network("64:ff9b::/96") or found in ipaddress.ip_network("64:ff9b:1::/48"):
            return False
    return found.is_global and not found.is_multicast


def pinned(url: str, outside: Outside) -> Iterable[str]:
    """Options of git that make it use the address that was checked."""
    host, port, address = outside.resolved(url)
    return ("-c", f"http.curloptResolve={host}:{port}:{address}")
