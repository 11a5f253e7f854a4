"""The only way to other people's servers: every address is checked, and the checked one is the one connected to.

The classes of addresses follow the IANA special-purpose registries (RFC 6890 and its successors) and the practice of
egress proxies: whatever is not plainly a public unicast address is refused, and so is any IPv6 address that carries an
IPv4 address inside (mapped, compatible, NAT64, 6to4, Teredo, ISATAP), because a router may take it out again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Protocol

import aiohttp
import certifi
import psutil
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from yarl import URL

from adapters.operators.metrics import WEBHOOKS
from adapters.provides import provides
from adapters.threads import run_in
from adapters.web.lookups import Lookups
from adapters.web.settings import OutboundRequests
from commands.ports import Web

Address = IPv4Address | IPv6Address

URL_LENGTH_MAX = 4096
PORTS = frozenset({80, 443})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = "Ledgerline/0.1"
#: How much of an answer to a delivery is kept for people to read.
BODY_PREFIX_BYTES = 2048

_PREFIX_SECONDS_MAX = 5.0

_CHUNK_BYTES = 64 * 1024
_FLUSH_BYTES = 1024 * 1024

_REFUSED_IPV4 = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("10.0.0.0/8"): "a private network",
    IPv4Network("100.64.0.0/10"): "a provider's shared address space",
    IPv4Network("127.0.0.0/8"): "this machine itself",
    IPv4Network(
        "168.63.129.16/32"
    ): "a cloud platform's own service",  # Azure answers its guests here, publicly numbered
    IPv4Network("169.254.0.0/16"): "a link-local network",
    IPv4Network("172.16.0.0/12"): "a private network",
    IPv4Network("192.0.0.0/24"): "an address range with a special purpose",
    IPv4Network("192.0.2.0/24"): "an address range for documentation",
    IPv4Network("192.88.99.0/24"): "an address range with a special purpose",
    IPv4Network("192.168.0.0/16"): "a private network",
    IPv4Network("198.18.0.0/15"): "an address range for measurements",
    IPv4Network("198.51.100.0/24"): "an address range for documentation",
    IPv4Network("203.0.113.0/24"): "an address range for documentation",
    IPv4Network("224.0.0.0/4"): "a multicast group",
    IPv4Network("240.0.0.0/4"): "a reserved address range",
}
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_REFUSED_IPV6 = {
    IPv6Network("::1/128"): "this machine itself",
    IPv6Network("::/96"): "an IPv4 address in disguise",
    IPv6Network("::ffff:0:0/96"): "an IPv4 address in disguise",
    IPv6Network("::ffff:0:0:0/96"): "an IPv4 address in disguise",
    IPv6Network("64:ff9b::/96"): "an IPv4 address in disguise",
    IPv6Network("64:ff9b:1::/48"): "an IPv4 address in disguise",
    IPv6Network("2001::/32"): "an IPv4 address in disguise",
    IPv6Network("2001::/23"): "an address range with a special purpose",
    IPv6Network("2001:db8::/32"): "an address range for documentation",
    IPv6Network("2002::/16"): "an IPv4 address in disguise",
    IPv6Network("3fff::/20"): "an address range for documentation",
    IPv6Network("fc00::/7"): "a private network",
    IPv6Network("fe80::/10"): "a link-local network",
    IPv6Network("fec0::/10"): "a private network",
    IPv6Network("ff00::/8"): "a multicast group",
}
#: The middle of an ISATAP interface identifier, with and without the universal bit; the IPv4 address follows it.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

_NEVER_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")
_START = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
#: A host whose last label reads as a number is an IPv4 address to half of the world's parsers.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LOCAL_SUFFIXES = ("localhost", "local", "internal", "intranet", "home.arpa", "in-addr.arpa", "ip6.arpa", "onion")


class OutboundFailed(Exception):
    """Another server could not be used; the text is for people, and `transient` says whether later may be better."""

    def __init__(self, sentence: str, *, transient: bool) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.transient = transient


class ForbiddenTarget(OutboundFailed):
    """This address is one that we do not connect to, unless an operator says so in the `setting`."""

    setting = "LEDGERLINE_OUTBOUND_ALLOW"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, transient=False)


class Unreachable(OutboundFailed):
    """No answer came: no such host, no connection, broken TLS, or too late. `duration_seconds` is how long it took."""

    def __init__(self, sentence: str, *, transient: bool = True, duration_seconds: float = 0.0) -> None:
        super().__init__(sentence, transient=transient)
        self.duration_seconds = duration_seconds


class FetchFailed(OutboundFailed):
    """The server answered, but not with something that we can take."""


class TooLarge(FetchFailed):
    """The file is larger than we take."""


class Fetched(Struct, frozen=True, kw_only=True):
    """What a download left in its file."""

    size: int
    sha256: str
    content_type: str


class HttpResponse(Struct, frozen=True, kw_only=True):
    """How another server answered a delivery."""

    status: int
    retry_after_seconds: float | None
    body_prefix: str
    duration_seconds: float


class Answered(Struct, frozen=True, kw_only=True):
    """What another server said to a question."""

    status: int
    retry_after_seconds: float | None
    body: bytes


class Resolver(Protocol):
    """Turns a host name into addresses."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of the host."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class Outside(Protocol):
    """The way to other people's servers; `Outbound` is the real one, `MemoryOutbound` its twin for tests."""

    def check_url(self, url: str) -> None:
        """Refuse a URL that is wrong on its face, asking nobody."""
        ...

    async def fetch(self, url: str, to: Path, *, size_max: int, seconds_max: float) -> Fetched:
        """Download into a file, which does not exist afterwards unless this succeeds."""
        ...

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        """Send the body once, follow no redirect, and say what came back."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


def refused_because(address: Address) -> str | None:
    """What kind of place this address is, if it is one that we do not connect to; None for public unicast."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _REFUSED_IPV4.items() if address in network), None)
    if address.scope_id is not None:
        return "a link-local network"
    for network, kind in _REFUSED_IPV6.items():
        if address in network:
            return kind
    if address not in _PUBLIC_IPV6:
        return "a reserved address range"
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return "an IPv4 address in disguise"
    return None


def own_addresses() -> frozenset[Address]:
    """The addresses of this machine's network interfaces, public ones too."""
    texts = (
        entry.address.partition("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in {socket.AF_INET, socket.AF_INET6}
    )
    return frozenset(ip_address(text) for text in texts)


class Guard:
    """Says which addresses may be connected to, first by their text and then by what they resolve to.

    `allow` lists exceptions as `host` (any port) or `host:port`, an IPv6 address in brackets when a port follows. An
    exception holds for the host as it is written in the URL, whatever it resolves to. `never` lists addresses as
    `address:port` that no exception opens; one on loopback stands for every address of this machine.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        never: Iterable[str] = (),
        own: Callable[[], frozenset[Address]] = own_addresses,
    ) -> None:
        self._allowed = frozenset(_allowed(entry) for entry in allow if entry.strip())
        self._own = own
        self._never = frozenset(
            (self._place(ip_address(host)), port) for host, port in map(_allowed, filter(None, never))
        )
        self._never_ports = frozenset(port for _, port in self._never)

    def check_url(self, url: str) -> None:
        """Refuse a URL that is wrong on its face, asking nobody."""
        self.parse(url)

    def parse(self, url: str) -> URL:
        """The URL in the form that is connected to, so that no two parsers can read it differently."""
        if len(url) > URL_LENGTH_MAX:
            raise ForbiddenTarget(f"The URL is longer than {URL_LENGTH_MAX} characters.")
        if _NEVER_IN_A_URL.search(url):
            raise ForbiddenTarget("The URL contains characters that a URL cannot contain.")
        start = _START.match(url)
        if start is None:
            raise ForbiddenTarget("The URL must start with http:// or https:// and name a host.")
        if "@" in start[1]:
            raise ForbiddenTarget("The URL must not contain a user name or password.")
        try:
            parsed = URL(url)
        except ValueError:  # yarl's own words name its internals; IDNA errors are among them
            raise ForbiddenTarget("The URL is malformed.") from None
        if start[1].startswith("[") and ":" not in (parsed.raw_host or ""):
            raise ForbiddenTarget("The host in brackets is not an IPv6 address.")
        self._check(parsed)
        return parsed

    def _check(self, url: URL) -> None:
        """Refuse a parsed URL by its scheme, host and port."""
        if url.scheme not in {"http", "https"}:
            raise ForbiddenTarget("Only http and https URLs can be used.")
        host, port = url.raw_host, url.port
        if not host or not port:
            raise ForbiddenTarget("The URL names no host or no usable port.")
        literal = _literal(host)
        if literal is not None:
            self.check_never(literal, port)
        if self.allows(host, port):
            return
        if literal is None:
            _check_name(host)
        else:
            self.check_address(literal)
        if port not in PORTS:
            raise ForbiddenTarget(f"Port {port} is not allowed; use 80 or 443.")

    def check_address(self, address: Address) -> None:
        """Refuse an address that is not public unicast, or that is our own."""
        kind = refused_because(address) or ("this machine itself" if address in self._own() else None)
        if kind is not None:
            raise ForbiddenTarget(f"The host leads to {kind}, where we do not connect.")

    def check_never(self, address: Address, port: int) -> None:
        """Refuse what no exception opens."""
        if port in self._never_ports and (self._place(address), port) in self._never:
            raise ForbiddenTarget("The host leads to this service itself, where we do not connect.")

    def _place(self, address: Address) -> str:
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is not None:
            return self._place(mapped)
        is_here = address.is_loopback or address.is_unspecified or address in self._own()
        return "this machine" if is_here else str(address)

    def allows(self, host: str, port: int) -> bool:
        """Whether the operator made an exception for this host and port."""
        name = _plain(host)
        return (name, None) in self._allowed or (name, port) in self._allowed


@lru_cache(1024)
def _plain(host: str) -> str:
    name = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _allowed(entry: str) -> tuple[str, int | None]:
    text = entry.strip()
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+):([0-9]{1,5})", text)
    if match:
        return _plain(match[1]), int(match[2])
    if ":" in text and not _is_ipv6(text.strip("[]")):
        raise ValueError(f"not a host or host:port: {entry!r}")
    return _plain(text), None


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ip_address(text), IPv6Address)
    except ValueError:
        return False


@lru_cache(1024)
def _literal(host: str) -> Address | None:
    """The address that the host spells out, None if it is a name; odd spellings are refused."""
    name = host.removesuffix(".")
    if ":" in name:
        try:
            return ip_address(name)
        except ValueError:
            raise ForbiddenTarget("The host is not an address that can be used.") from None
    if not _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(name)
    except ValueError:
        raise ForbiddenTarget("Write an IPv4 address as four decimal numbers, without leading zeros.") from None


def _check_name(host: str) -> None:
    name = host.removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ForbiddenTarget("The host is not a valid host name.")
    if len(labels) == 1 or any(name == suffix or name.endswith("." + suffix) for suffix in _LOCAL_SUFFIXES):
        raise ForbiddenTarget("The host is a local name; only public hosts can be used.")


class GuardedResolver(AbstractResolver):
    """Resolves names for the connector and lets through only answers that are all allowed.

    The connector connects to exactly what this returns, and nothing is cached, so a name that changes its mind between
    a check and a connection gains nothing.
    """

    def __init__(self, guard: Guard, inner: Resolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of the host, or a refusal if even one of them is forbidden."""
        answers = await self._inner.resolve(host, port, family)
        is_allowed = self._guard.allows(host, port)
        for answer in answers:
            address = ip_address(answer["host"])
            self._guard.check_never(address, port)
            if not is_allowed:
                self._guard.check_address(address)
        return answers

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._inner.close()


def default_tls() -> ssl.SSLContext:
    """The machine's certificate authorities, and Mozilla's where the machine brings none in a file."""
    context = ssl.create_default_context()
    if context.cert_store_stats()["x509_ca"] == 0:
        context.load_verify_locations(certifi.where())
    return context


class Outbound(Web):
    """Guarded HTTP to other people's servers, over one shared session.

    A connection serves one request: a delivery never meets a connection that its peer has just closed, so a POST is
    never in doubt for that reason, and each request is checked against a fresh look-up.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        never: Iterable[str] = (),
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        own: Callable[[], frozenset[Address]] = own_addresses,
        redirects_max: int = 5,
        connections_max: int = 200,
        connect_seconds_max: float = 10.0,
        stall_seconds_max: float = 15.0,
    ) -> None:
        self._guard = Guard(allow, never=never, own=own)
        self._resolver = resolver
        self._tls = tls
        self._redirects_max = redirects_max
        self._connections_max = connections_max
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=None, sock_connect=connect_seconds_max, sock_read=stall_seconds_max
        )
        self._session: aiohttp.ClientSession | None = None
        self._disk = ThreadPoolExecutor(max_workers=4, thread_name_prefix="download")

    def check_url(self, url: str) -> None:
        """Refuse a URL that is wrong on its face, asking nobody; the whole check comes with the connection."""
        self._guard.check_url(url)

    async def fetch(self, url: str, to: Path, *, size_max: int, seconds_max: float) -> Fetched:
        """Download into a file, which does not exist afterwards unless this succeeds.

        Every redirect is checked like the first URL. Raises ForbiddenTarget, Unreachable, FetchFailed or TooLarge.
        """
        async with self._failures_named(seconds_max), self._followed(url) as response:
            if response.status != 200:
                raise FetchFailed(
                    f"The server answered {_status(response.status)}.",
                    transient=response.status in {408, 425, 429} or response.status >= 500,
                )
            _check_size(response.content_length or 0, size_max)
            return await self._save(response, to, size_max)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        """Send the body once, follow no redirect, and say what came back.

        Any status is an answer, redirects and errors too. Raises ForbiddenTarget, or Unreachable if nothing came back.
        """
        began = time.monotonic()
        try:
            answer = await self._post(url, body, headers, began, seconds_max)
        except Exception:
            WEBHOOKS.labels("unreachable").inc()
            raise
        WEBHOOKS.labels("delivered" if 200 <= answer.status < 300 else "refused").inc()
        return answer

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str], began: float, seconds_max: float
    ) -> HttpResponse:
        async with self._failures_named(seconds_max) as deadline:
            target = self._guard.parse(url)
            async with self._open().post(target, data=body, headers=dict(headers), allow_redirects=False) as response:
                deadline.reschedule(None)  # it has answered; what it has to say besides is read for as long as is left
                prefix = await _prefix(response, began + seconds_max - time.monotonic())
                return HttpResponse(
                    status=response.status,
                    retry_after_seconds=retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC)),
                    body_prefix=prefix,
                    duration_seconds=time.monotonic() - began,
                )

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds_max: float,
        size_max: int,
    ) -> Answered:
        """Send a request once, follow no redirect, and return the whole answer, whatever its status.

        Raises ForbiddenTarget, Unreachable or TooLarge.
        """
        async with self._failures_named(seconds_max):
            target = self._guard.parse(url)
            async with self._open().request(
                method, target, data=body, headers=dict(headers), allow_redirects=False
            ) as response:
                decoded = decoder(response.headers.get("Content-Encoding", "identity"))
                whole = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    for piece in decoded(chunk):
                        whole += piece
                        _check_size(len(whole), size_max)
                return Answered(
                    status=response.status,
                    retry_after_seconds=retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC)),
                    body=bytes(whole),
                )

    async def close(self) -> None:
        """Close the session; nothing can be sent after that."""
        if self._session is not None:
            await self._session.close()
        self._disk.shutdown(wait=False, cancel_futures=True)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # late, because a session belongs to the loop that runs when it is made
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(self._guard, self._resolver or Lookups()),
                use_dns_cache=False,
                force_close=True,
                limit=self._connections_max,
                ssl=self._tls or default_tls(),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,  # a proxy would connect to addresses that we did not check
                auto_decompress=False,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                skip_auto_headers=["Content-Type"],
            )
        return self._session

    @asynccontextmanager
    async def _followed(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        target = self._guard.parse(url)
        for _ in range(self._redirects_max + 1):
            async with self._open().get(target, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or location is None:
                    yield response
                    return
            target = self._redirected(target, location)
        raise FetchFailed(f"The server redirected more than {self._redirects_max} times.", transient=False)

    def _redirected(self, origin: URL, location: str) -> URL:
        try:
            target = origin.join(URL(location))
        except ValueError:
            raise FetchFailed("The server redirected to something that is not a URL.", transient=False) from None
        # Read again from its text: a redirect gets no gentler treatment than a URL that somebody typed.
        return self._guard.parse(str(target.with_fragment(None)))

    @asynccontextmanager
    async def _failures_named(self, seconds_max: float) -> AsyncIterator[asyncio.Timeout]:
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds_max) as deadline:
                yield deadline
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:  # and not OSError: a full disk is ours
            sentence, transient = _explained(problem, seconds_max)
            duration = time.monotonic() - began
            raise Unreachable(sentence, transient=transient, duration_seconds=duration) from problem

    async def _save(self, response: aiohttp.ClientResponse, to: Path, size_max: int) -> Fetched:
        decoded = decoder(response.headers.get("Content-Encoding", "identity"))
        file = _Growing(to)
        pending = bytearray()
        size = received = 0
        try:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                _check_size(received, size_max + size_max // 64 + _CHUNK_BYTES)  # packing adds a little at most
                for piece in decoded(chunk):
                    size += len(piece)
                    _check_size(size, size_max)
                    pending += piece
                if len(pending) >= _FLUSH_BYTES:
                    await run_in(self._disk, file.append, bytes(pending))
                    pending.clear()
            await run_in(self._disk, file.append, bytes(pending))
        except BaseException:
            file.discard()
            raise
        return Fetched(size=size, sha256=file.sha256, content_type=response.content_type)


class _Growing:
    """A file that is opened for each piece, so that a download cut short leaves no open handle behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mode = "wb"
        self._digest = hashlib.sha256()

    def append(self, data: bytes) -> None:
        with self._path.open(self._mode) as file:
            self._mode = "ab"
            file.write(data)
        self._digest.update(data)

    def discard(self) -> None:
        if self._mode == "ab":  # otherwise what lies there is not ours
            self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def decoder(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """How to read the body: some stores send what they hold compressed, although asked not to."""
    match encoding.strip().lower():
        case "" | "identity":
            return lambda chunk: iter((chunk,))
        case "gzip" | "x-gzip":
            inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        case "deflate":
            inflater = zlib.decompressobj()
        case _:
            raise FetchFailed("The server sent the file in an encoding that we did not ask for.", transient=False)

    def inflated(chunk: bytes) -> Iterator[bytes]:
        try:
            # In small pieces, so that a bomb goes off one piece after the size limit; what follows the end is dropped,
            # since zlib would keep it all.
            while chunk and not inflater.eof:
                yield inflater.decompress(chunk, _FLUSH_BYTES)
                chunk = inflater.unconsumed_tail
        except zlib.error:
            raise FetchFailed("The server sent a compressed file that is damaged.", transient=False) from None

    return inflated


def _check_size(size: int, size_max: int) -> None:
    if size > size_max:
        raise TooLarge(f"The file is larger than {size_max / 1_000_000:g} MB.", transient=False)


async def _prefix(response: aiohttp.ClientResponse, seconds_max: float) -> str:
    """The beginning of the body as text; a server that has said its status but dawdles over its body has answered."""
    body = bytearray()
    try:
        async with asyncio.timeout(min(_PREFIX_SECONDS_MAX, max(0.0, seconds_max))):
            while len(body) < BODY_PREFIX_BYTES and (chunk := await response.content.read(BODY_PREFIX_BYTES)):
                body += chunk
    except (TimeoutError, aiohttp.ClientError):
        pass
    return bytes(body[:BODY_PREFIX_BYTES]).replace(b"\0", b"").decode("utf-8", "replace")


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """How long the server asks us to wait, from seconds or an HTTP date; None if it says nothing that we understand."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for a year or a zone with too many digits
        return None
    if moment.tzinfo is None:  # RFC 5322 writes "-0000" for a time whose zone is not told; HTTP dates are GMT
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _status(status: int) -> str:
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)


#: What went wrong, for a person, and whether it may go better later; the first kind that fits.
_EXPLANATIONS: tuple[tuple[type[Exception], str, bool], ...] = (
    (aiohttp.ClientConnectorDNSError, "The host name could not be looked up.", True),
    (aiohttp.ClientConnectorCertificateError, "The server's TLS certificate is not valid for this host.", False),
    (aiohttp.ClientSSLError, "A secure connection to the server could not be made.", True),
    (aiohttp.ConnectionTimeoutError, "The server could not be connected to in time.", True),
    (aiohttp.ServerTimeoutError, "The server stopped sending.", True),
    (aiohttp.ClientConnectorError, "The server could not be connected to.", True),
    (aiohttp.InvalidURL, "The URL is malformed.", False),
    (aiohttp.ClientPayloadError, "The server broke the connection off.", True),
    (aiohttp.ClientConnectionError, "The server broke the connection off.", True),
    (aiohttp.ClientResponseError, "The server's answer was not proper HTTP.", True),
    (Exception, "The connection to the server failed.", True),
)


def _explained(problem: Exception, seconds_max: float) -> tuple[str, bool]:
    if isinstance(problem, TimeoutError) and not isinstance(problem, aiohttp.ClientError):
        return f"The server did not finish within {seconds_max:g} seconds.", True
    if isinstance(problem, aiohttp.ClientConnectorDNSError) and problem.os_error.errno == socket.EAI_NONAME:
        return "There is no such host.", False
    return next((text, transient) for kind, text, transient in _EXPLANATIONS if isinstance(problem, kind))


@provides
def outbound(settings: OutboundRequests) -> Outbound:
    """Guarded HTTP."""
    return Outbound(allow=settings.outbound_allow, never=settings.outbound_never)
