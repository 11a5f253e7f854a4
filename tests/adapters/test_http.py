"""What may be connected to, and what becomes of downloads and deliveries when the other server misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
from aiohttp.abc import ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.web.http import (
    Fetched,
    FetchFailed,
    ForbiddenTarget,
    Guard,
    HttpResponse,
    Outbound,
    Outside,
    TooLarge,
    Unreachable,
    own_addresses,
    refused_because,
    retry_after_seconds,
)
from adapters.web.memory import MemoryOutbound

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Behaviour = Callable[[bytes, Writer], Awaitable[None]]

OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n"


class Names:
    """A resolver that says what it is told to, one answer after the other, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        return None


class Peer:
    """A real server on a loopback port that behaves as one test needs it to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer(0)
    connections: set[asyncio.Task[None]] = set()

    async def converse(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            peer.heads.append(head)
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            peer.bodies.append(await reader.readexactly(length))
            await behave(head, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            return
        finally:
            writer.close()
            connections.discard(task)

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def outbound(**options: object) -> AsyncIterator[Outbound]:
    web = Outbound(**options)  # type: ignore[arg-type]  # the options are Outbound's own, named in each test
    try:
        yield web
    finally:
        await web.close()


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # the file system rings no bell
            await asyncio.sleep(0.001)


def saying(answer: bytes) -> Behaviour:
    async def behave(head: bytes, writer: Writer) -> None:
        writer.write(answer)

    return behave


def a_file(body: bytes, *headers: bytes) -> bytes:
    return OK_HEAD + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


FORBIDDEN = [
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.0.0.01/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[2001:db8::1]/",
    "http://[2a00:1450::5efe:10.0.0.1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[4000::1]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://x.localhost/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://intranet/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://@example.com/",
    "http://example.com:22/",
    "http://example.com:0/",
    "http://example.com:8080/",
    "http://example.com:99999/",
    "https://example.com:81/",
    "ftp://example.com/a.mp3",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:audio/mpeg;base64,AAAA",
    "//example.com/a.mp3",
    "example.com/a.mp3",
    "http:example.com",
    "http:///example.com",
    "http://",
    "",
    "http://exam ple.com/",
    "http://example.com/a\r\nHost: evil",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\t/",
    "http://a..b/",
    "http://-a.example/",
    "http://[::1/",
    "http://[v1.x]/",
    "http://xn--a\u00e4.example/",
    "http://" + "a" * 64 + ".example/",
    "http://example.com/" + "a" * 5000,
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_an_address_that_is_not_plainly_public_is_refused_without_asking_anybody(url: str) -> None:
    with pytest.raises(ForbiddenTarget) as refusal:
        Guard(own=frozenset).check_url(url)
    assert refusal.value.sentence.endswith(".")
    assert refusal.value.transient is False


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.mp3",
        "https://example.com:443/a.mp3?x=http://127.0.0.1/",
        "HTTPS://Example.COM./a",
        "http://8.8.8.8/a",
        "http://[2606:4700::6810:84e5]/a",
        "https://m\u00fcsik.example/\u00fc.mp3",
        "https://a_b.example.com:80/a|b",
        "http://127.0.0.1.example.com/",
    ],
)
def test_a_public_address_passes(url: str) -> None:
    Guard(own=frozenset).check_url(url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "192.0.2.7", "[::ffff:7f00:1]"]
)
def test_what_is_never_reached_is_reached_by_no_exception(host: str) -> None:
    own = frozenset({ip_address("192.0.2.7")})
    guard = Guard([host], never=["127.0.0.1:8333"], own=lambda: own)
    with pytest.raises(ForbiddenTarget, match="this service itself"):
        guard.check_url(f"http://{host}:8333/")
    guard.check_url(f"http://{host}:8334/")


async def test_a_name_that_leads_to_what_is_never_reached_is_refused(tmp_path: Path) -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        writer.write(a_file(MUSIC))

    async with serving(behave) as peer:
        port = peer.place.rpartition(":")[2]
        async with outbound(allow=["localhost"], never=[f"127.0.0.1:{port}"]) as web:
            with pytest.raises(ForbiddenTarget, match="this service itself"):
                await web.fetch(f"http://localhost:{port}/song", tmp_path / "a", size_max=9999, seconds_max=5)
        async with outbound(allow=["localhost"]) as web:
            assert (await web.fetch(f"http://localhost:{port}/song", tmp_path / "b", size_max=9999, seconds_max=5)).size


def test_the_allow_list_lets_through_a_host_on_any_port_or_on_one_port() -> None:
    guard = Guard(["127.0.0.1", "media.local:9000", "[::1]:81", "fd00::5", " "], own=frozenset)
    for url in (
        "http://127.0.0.1:8099/",
        "http://127.0.0.1/",
        "http://media.local:9000/",
        "http://[::1]:81/",
        "http://[0:0::1]:81/",
        "https://[fd00::5]:444/",
    ):
        guard.check_url(url)
    for url in ("http://127.0.0.2/", "http://media.local/", "http://media.local:9001/", "http://[::1]:82/"):
        with pytest.raises(ForbiddenTarget):
            guard.check_url(url)


@pytest.mark.parametrize("entry", ["host:port", "a:1:2", "http://x"])
def test_an_allow_list_entry_that_makes_no_sense_stops_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        Guard([entry])


def test_the_addresses_of_this_machine_are_refused_even_if_they_are_public() -> None:
    guard = Guard(own=lambda: frozenset({IPv4Address("8.8.4.4")}))
    with pytest.raises(ForbiddenTarget, match="this machine"):
        guard.check_url("http://8.8.4.4/")
    guard.check_url("http://8.8.8.8/")


def test_this_machine_knows_its_own_addresses() -> None:
    assert IPv4Address("127.0.0.1") in own_addresses()


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_that_the_standard_library_calls_private_passes(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refused_because(address) is not None


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_that_the_standard_library_calls_private_passes(address: IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refused_because(address) is not None


@given(st.ip_addresses(v=4), st.sampled_from(["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "2a00:1450::5efe:0:0"]))
def test_no_ipv6_address_that_carries_an_ipv4_address_passes(inner: IPv4Address, prefix: str) -> None:
    assume(int(inner) != 1)  # that is ::1, refused by its own name
    assert "disguise" in (refused_because(IPv6Address(int(IPv6Address(prefix)) | int(inner))) or "")


@given(st.ip_addresses(v=4))
def test_neither_6to4_nor_teredo_passes(inner: IPv4Address) -> None:
    assert refused_because(IPv6Address((0x2002 << 112) | (int(inner) << 80))) is not None
    assert refused_because(IPv6Address((0x20010000 << 96) | (int(inner) ^ 0xFFFFFFFF))) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_ordinary_public_addresses_pass(address: str) -> None:
    assert refused_because(ip_address(address)) is None


async def test_a_name_that_leads_to_a_private_address_is_refused(tmp_path: Path) -> None:
    async with outbound(resolver=Names(["127.0.0.1"])) as web:
        with pytest.raises(ForbiddenTarget, match="this machine"):
            await web.fetch("http://public.example/a", tmp_path / "a", size_max=10, seconds_max=5)
        with pytest.raises(ForbiddenTarget):
            await web.post("http://public.example/a", b"{}", {}, seconds_max=5)
    assert not (tmp_path / "a").exists()


async def test_one_private_answer_among_public_ones_is_enough_to_refuse() -> None:
    async with outbound(resolver=Names(["8.8.8.8", "2606:4700::1111", "10.0.0.7"])) as web:
        with pytest.raises(ForbiddenTarget, match="private network"):
            await web.post("http://public.example/", b"", {}, seconds_max=5)


async def test_a_name_that_changes_its_mind_after_the_check_gains_nothing(tmp_path: Path) -> None:
    async with serving(saying(a_file(b"secret"))) as private:
        names = Names(["8.8.8.8"], ["127.0.0.1"])
        # Only the port is allowed here, so that the address is all that stands between the name and the server.
        async with outbound(resolver=names) as web:
            web.check_url("http://rebinding.example/")
            assert names.asked == []
            await names.resolve("rebinding.example")
            with pytest.raises(ForbiddenTarget):
                await web.fetch("http://rebinding.example/", tmp_path / "a", size_max=100, seconds_max=5)
        assert private.heads == []


async def test_every_connection_looks_the_name_up_again_and_is_checked_again(tmp_path: Path) -> None:
    async with serving(saying(a_file(b"music"))) as peer:
        names = Names(["127.0.0.1"])
        async with outbound(resolver=names, allow=[f"media.example:{peer.port}"]) as web:
            for _ in range(2):
                await web.fetch(f"http://media.example:{peer.port}/a", tmp_path / "a", size_max=9, seconds_max=5)
        assert names.asked == ["media.example", "media.example"]
        assert all(b"Host: media.example:%d\r\n" % peer.port in head for head in peer.heads)


def certificate_for(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


async def test_tls_is_made_with_the_name_although_the_connection_goes_to_the_checked_address(tmp_path: Path) -> None:
    certificate, key = certificate_for("media.example")
    (tmp_path / "cert.pem").write_bytes(certificate + key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "cert.pem")
    indicated: list[str | None] = []
    theirs.sni_callback = lambda _socket, name, _context: indicated.append(name)
    ours = ssl.create_default_context(cadata=certificate.decode())
    async with serving(saying(a_file(b"music")), tls=theirs) as peer:
        allow = [f"media.example:{peer.port}", f"other.example:{peer.port}"]
        async with outbound(resolver=Names(["127.0.0.1"]), allow=allow, tls=ours) as web:
            fetched = await web.fetch(f"https://media.example:{peer.port}/", tmp_path / "a", size_max=9, seconds_max=5)
            assert fetched.size == 5
            with pytest.raises(Unreachable, match="certificate") as refusal:
                await web.post(f"https://other.example:{peer.port}/", b"", {}, seconds_max=5)
        assert refusal.value.transient is False
    assert indicated == ["media.example", "other.example"]


async def test_a_download_arrives_whole_with_its_digest_and_type(tmp_path: Path) -> None:
    body = bytes(range(256)) * 12_000
    async with serving(saying(a_file(body))) as peer, outbound(allow=[peer.place]) as web:
        fetched = await web.fetch(f"http://{peer.place}/a.mp3", tmp_path / "a", size_max=len(body), seconds_max=5)
    assert (tmp_path / "a").read_bytes() == body
    assert fetched.size == len(body)
    assert fetched.sha256 == hashlib.sha256(body).hexdigest()
    assert fetched.content_type == "audio/mpeg"
    assert b"Accept-Encoding: identity" in peer.heads[0]


async def test_a_redirect_is_followed_relative_and_absolute(tmp_path: Path) -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        match head.split()[1]:
            case b"/1":
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: two?x=a%20b#part\r\nContent-Length: 0\r\n\r\n")
            case b"/two?x=a%20b":
                port = writer.get_extra_info("sockname")[1]
                writer.write(b"HTTP/1.1 308 P\r\nLocation: http://127.0.0.1:%d/3\r\nContent-Length: 0\r\n\r\n" % port)
            case b"/3":
                writer.write(a_file(b"music"))

    async with serving(behave) as peer, outbound(allow=[peer.place]) as web:
        assert (await web.fetch(f"http://{peer.place}/1", tmp_path / "a", size_max=9, seconds_max=5)).size == 5


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "http://169.254.169.254/",
        "//[::1]/",
        "http://2130706433:{port}/",
        "file:///etc/passwd",
    ],
)
async def test_a_redirect_to_a_private_address_is_refused(tmp_path: Path, target: str) -> None:
    async with serving(saying(a_file(b"secret"))) as private:
        location = target.format(port=private.port).encode()
        answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
        async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
            with pytest.raises(ForbiddenTarget):
                await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=100, seconds_max=5)
        assert private.heads == []
    assert not (tmp_path / "a").exists()


async def test_a_redirect_to_a_name_that_leads_to_a_private_address_is_refused(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://public.example/\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place], resolver=Names(["192.168.0.1"])) as web:
        with pytest.raises(ForbiddenTarget, match="private"):
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=100, seconds_max=5)


async def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place], redirects_max=3) as web:
        with pytest.raises(FetchFailed, match="more than 3 times"):
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=100, seconds_max=5)
        assert len(peer.heads) == 4


@pytest.mark.parametrize(
    "answer",
    [
        a_file(b"x" * 101),
        OK_HEAD + b"\r\n" + b"x" * 300_000,
        OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"ff\r\n" + b"x" * 255 + b"\r\n0\r\n\r\n",
        a_file(gzip.compress(bytes(20_000_000)), b"Content-Encoding: gzip"),
    ],
    ids=["said in advance", "not said", "in chunks", "a bomb"],
)
async def test_a_file_that_is_too_large_is_refused_and_nothing_of_it_stays(tmp_path: Path, answer: bytes) -> None:
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
        size_max = 100 if b"gzip" not in answer[:200] else 1_000_000
        with pytest.raises(TooLarge, match="larger than"):
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=size_max, seconds_max=5)
    assert files_in(tmp_path) == []


async def test_a_file_that_was_stored_compressed_is_unpacked(tmp_path: Path) -> None:
    body = b"music" * 500_000
    answer = a_file(gzip.compress(body), b"Content-Encoding: gzip")
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
        fetched = await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=len(body), seconds_max=5)
    assert (fetched.size, (tmp_path / "a").read_bytes() == body) == (len(body), True)


@pytest.mark.parametrize(
    ("answer", "sentence", "transient"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 (Not Found)", False),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "503 (Service Unavailable)", True),
        (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", "429 (Too Many Requests)", True),
        (b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", "599", True),
        (b"HTTP/1.1 204 Nothing\r\n\r\n", "204 (No Content)", False),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::/\r\nContent-Length: 0\r\n\r\n", "not a URL", False),
        (a_file(b"\x00", b"Content-Encoding: br"), "did not ask for", False),
        (a_file(b"not gzip", b"Content-Encoding: gzip"), "damaged", False),
    ],
)
async def test_an_answer_without_a_file_is_explained(
    tmp_path: Path, answer: bytes, sentence: str, transient: bool
) -> None:
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
        with pytest.raises(FetchFailed) as failure:
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=100, seconds_max=5)
    assert sentence in failure.value.sentence
    assert failure.value.transient is transient
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (OK_HEAD + b"Content-Length: 100\r\n\r\nhalf", "broke the connection off"),
        (b"", "broke the connection off"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "not proper HTTP"),
    ],
)
async def test_an_answer_that_breaks_off_is_explained_and_nothing_of_it_stays(
    tmp_path: Path, answer: bytes, sentence: str
) -> None:
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
        with pytest.raises(Unreachable, match=sentence) as failure:
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=200, seconds_max=5)
    assert failure.value.transient is True
    assert files_in(tmp_path) == []


async def test_a_host_where_nobody_listens_is_explained(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        async with outbound(allow=[place]) as web:
            with pytest.raises(Unreachable, match="could not be connected to"):
                await web.fetch(f"http://{place}/", tmp_path / "a", size_max=200, seconds_max=5)


async def test_a_host_that_does_not_exist_is_explained() -> None:
    class Nobody(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with outbound(resolver=Nobody([])) as web:
        with pytest.raises(Unreachable, match="no such host") as failure:
            await web.post("http://nobody.example/", b"", {}, seconds_max=5)
    assert failure.value.transient is False


async def drip(head: bytes, writer: Writer) -> None:
    writer.write(OK_HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def stall(head: bytes, writer: Writer) -> None:
    writer.write(OK_HEAD + b"Content-Length: 100000\r\n\r\nxx")
    await writer.drain()
    await asyncio.Event().wait()


async def test_a_server_that_drips_is_left_when_the_time_is_up(tmp_path: Path) -> None:
    async with serving(drip) as peer, outbound(allow=[peer.place]) as web:
        with pytest.raises(Unreachable, match=r"within 0\.2 seconds") as failure:
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=10**6, seconds_max=0.2)
    assert 0.15 < failure.value.duration_seconds < 10
    assert files_in(tmp_path) == []


async def test_a_server_that_stops_sending_is_left_long_before_the_time_is_up(tmp_path: Path) -> None:
    async with serving(stall) as peer, outbound(allow=[peer.place], stall_seconds_max=0.1) as web:
        with pytest.raises(Unreachable, match="stopped sending"):
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=10**6, seconds_max=60)
    assert files_in(tmp_path) == []


async def test_a_download_that_is_cancelled_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        writer.write(OK_HEAD + b"Content-Length: 9000000\r\n\r\n" + bytes(3_000_000))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(behave) as peer, outbound(allow=[peer.place]) as web:
        for turns in range(0, 120, 3):
            download = asyncio.create_task(
                web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=10**7, seconds_max=60)
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            download.cancel()
            with pytest.raises(asyncio.CancelledError):
                await download
            assert files_in(tmp_path) == []


async def test_a_download_that_is_cancelled_after_it_began_to_write_leaves_nothing(tmp_path: Path) -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        writer.write(OK_HEAD + b"\r\n" + bytes(1_100_000))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(behave) as peer, outbound(allow=[peer.place]) as web:
        download = asyncio.create_task(
            web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=10**7, seconds_max=60)
        )
        await until((tmp_path / "a").exists)
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download
    assert files_in(tmp_path) == []


async def test_a_delivery_carries_exactly_its_bytes_and_headers() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks"
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
        result = await web.post(
            f"http://{peer.place}/hook",
            b'{"a": 1}',
            {"webhook-id": "msg_1", "Content-Type": "application/json"},
            seconds_max=5,
        )
    assert (result.status, result.body_prefix, result.retry_after_seconds) == (200, "thanks", None)
    assert 0 < result.duration_seconds < 5
    assert peer.bodies == [b'{"a": 1}']
    assert peer.heads[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: msg_1\r\n" in peer.heads[0]
    assert peer.heads[0].count(b"Content-Type") == 1


async def test_a_delivery_follows_no_redirect() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as peer, outbound(allow=[peer.place]) as web:
        assert (await web.post(f"http://{peer.place}/", b"", {}, seconds_max=5)).status == 302
        assert len(peer.heads) == 1


async def test_only_the_beginning_of_an_answer_is_read_and_it_is_text() -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 9000000\r\nRetry-After: 7\r\n\r\na\x00b\xff" + b"x" * 5000)
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(behave) as peer, outbound(allow=[peer.place]) as web:
        answer = await web.post(f"http://{peer.place}/", b"", {}, seconds_max=5)
    assert answer.status == 500
    assert answer.retry_after_seconds == 7.0
    assert answer.body_prefix.startswith("ab\ufffdx")
    assert len(answer.body_prefix) == 2047


async def test_a_server_that_said_its_status_and_then_dawdles_has_answered() -> None:
    async with serving(stall) as peer, outbound(allow=[peer.place]) as web:
        answer = await web.post(f"http://{peer.place}/", b"", {}, seconds_max=1.5)
    assert (answer.status, answer.body_prefix) == (200, "xx")


async def test_a_server_that_does_not_answer_a_delivery_is_left_when_the_time_is_up() -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        await asyncio.Event().wait()

    async with serving(behave) as peer, outbound(allow=[peer.place]) as web:
        with pytest.raises(Unreachable, match=r"within 0\.1 seconds") as failure:
            await web.post(f"http://{peer.place}/", b"", {}, seconds_max=0.1)
    assert failure.value.transient is True
    assert failure.value.duration_seconds > 0.09  # the loop rounds its clock to milliseconds


async def test_a_full_disk_is_not_blamed_on_the_server(tmp_path: Path) -> None:
    async with serving(saying(a_file(b"music"))) as peer, outbound(allow=[peer.place]) as web:
        with pytest.raises(FileNotFoundError):
            await web.fetch(f"http://{peer.place}/", tmp_path / "no" / "a", size_max=9, seconds_max=5)


def test_a_wish_to_wait_is_read_from_seconds_and_from_dates() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert retry_after_seconds("120", now) == 120.0
    assert retry_after_seconds("Sun, 22 Nov 2026 12:02:00 GMT", now) == 120.0
    assert retry_after_seconds("Sun, 22 Nov 2026 11:00:00 GMT", now) == 0.0
    assert retry_after_seconds("Sun, 22 Nov 2026 12:02:00 -0000", now) == 120.0
    year, zone = (f"Sun, 22 Nov {each}" for each in ("9" * 20 + " 12:02:00 GMT", "2026 12:02:00 +" + "9" * 20))
    for nonsense in (None, "", "soon", "-5", "1e3", "\u0661", year, zone):
        assert retry_after_seconds(nonsense, now) is None


# --- what the real one and its twin both promise ----------------------------------------------------------------------


class World(NamedTuple):
    """A way outside, and the address of a server that has a file, a hook and a hook that is gone."""

    web: Outside
    base: str


MUSIC = b"music" * 1000


@pytest.fixture(params=["memory", "aiohttp"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async def behave(head: bytes, writer: Writer) -> None:
        match head.split()[1]:
            case b"/song":
                writer.write(a_file(MUSIC))
            case b"/hook":
                writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 4\r\n\r\nbusy")
            case b"/gone":
                return
            case _:
                writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    async with serving(behave) as peer:
        base = f"http://{peer.place}"
        if request.param == "memory":
            twin = MemoryOutbound(allow=[peer.place])
            twin.files[f"{base}/song"] = (MUSIC, "audio/mpeg")
            busy = HttpResponse(status=503, retry_after_seconds=9.0, body_prefix="busy", duration_seconds=0.0)
            twin.answers = {f"{base}/hook": [busy], f"{base}/gone": [Unreachable("The server broke off.")]}
            yield World(twin, base)
        else:
            async with outbound(allow=[peer.place]) as web:
                yield World(web, base)


async def test_a_file_comes_from_either(world: World, tmp_path: Path) -> None:
    fetched = await world.web.fetch(f"{world.base}/song", tmp_path / "a", size_max=5000, seconds_max=5)
    assert fetched == Fetched(size=5000, sha256=hashlib.sha256(MUSIC).hexdigest(), content_type="audio/mpeg")
    assert files_in(tmp_path) == [tmp_path / "a"]


async def test_either_refuses_too_much_too_little_and_the_forbidden(world: World, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=r"0\.004999 MB"):
        await world.web.fetch(f"{world.base}/song", tmp_path / "a", size_max=4999, seconds_max=5)
    with pytest.raises(FetchFailed, match="404"):
        await world.web.fetch(f"{world.base}/other", tmp_path / "a", size_max=4999, seconds_max=5)
    for forbidden in ("http://10.0.0.1/", "http://127.0.0.1:1/", "nonsense"):
        with pytest.raises(ForbiddenTarget):
            world.web.check_url(forbidden)
        with pytest.raises(ForbiddenTarget):
            await world.web.fetch(forbidden, tmp_path / "a", size_max=4999, seconds_max=5)
        with pytest.raises(ForbiddenTarget):
            await world.web.post(forbidden, b"", {}, seconds_max=5)
    assert files_in(tmp_path) == []


async def test_either_gives_any_status_as_an_answer_and_raises_only_without_one(world: World) -> None:
    for _ in range(2):
        answer = await world.web.post(f"{world.base}/hook", b"{}", {"webhook-id": "1"}, seconds_max=5)
        assert (answer.status, answer.retry_after_seconds, answer.body_prefix) == (503, 9.0, "busy")
    with pytest.raises(Unreachable) as failure:
        await world.web.post(f"{world.base}/gone", b"{}", {}, seconds_max=5)
    assert failure.value.transient is True


@pytest.mark.parametrize("encoding", [b"identity", b"gzip", b"deflate"])
@pytest.mark.parametrize("line", [b"0", b"f", b"1;x=y", b"0\r\nx: y"], ids=["zeros", "size", "extension", "trailer"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_an_answer_whose_chunks_never_begin_ends_as_a_failure_of_that_server(
    tmp_path: Path, encoding: bytes, line: bytes, at_once: bool
) -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        writer.write(OK_HEAD + b"Transfer-Encoding: chunked\r\nContent-Encoding: " + encoding + b"\r\n\r\n" + line)
        if at_once:
            writer.write(line[-1:] * 300_000)
        while True:
            writer.write(line[-1:])
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(behave) as peer, outbound(allow=[peer.place]) as web:
        with pytest.raises((Unreachable, FetchFailed)):
            await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=10**6, seconds_max=0.1)
        # Whether the status is heard before the nonsense is a matter of what comes in one piece.
        with suppress(Unreachable):
            assert (await web.post(f"http://{peer.place}/", b"", {}, seconds_max=0.1)).status == 200
    assert files_in(tmp_path) == []


async def test_a_head_that_never_ends_is_a_failure_of_that_server(tmp_path: Path) -> None:
    async def behave(head: bytes, writer: Writer) -> None:
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()

    for beginning in (b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 ", b""):

        async def begin(head: bytes, writer: Writer, beginning: bytes = beginning) -> None:
            writer.write(beginning)
            await behave(head, writer)

        async with serving(begin) as peer, outbound(allow=[peer.place]) as web:
            with pytest.raises((Unreachable, FetchFailed)):
                await web.fetch(f"http://{peer.place}/", tmp_path / "a", size_max=10**6, seconds_max=0.1)
            with pytest.raises(Unreachable):
                await web.post(f"http://{peer.place}/", b"", {}, seconds_max=0.1)
