"""Whoever is asked outside may drip for ever, plain or packed: every answer ends by a deadline in total."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.beats.sunoapi import SunoApi
from adapters.github import app as github
from adapters.github.app import GithubApp, GithubUnavailable
from adapters.identity.outside_tokens import OutsideTokens
from adapters.mail.smtp import Mailer, MailUnavailable
from adapters.operators import status
from adapters.payments import stripe
from adapters.payments.stripe import Payments, PaymentsUnavailable
from adapters.readiness import Readiness
from adapters.runner import service as runner
from adapters.runner.service import Away, Service
from adapters.storage.blobs import Blobs, BlobsUnavailable
from adapters.storage.blobs import Stat as Found
from adapters.vault import Vault
from adapters.web.http import FetchFailed, Outbound, Unreachable
from adapters.web.parties import NoAnswer, Party
from commands.beats.ports import NotTaken, Task
from commands.beats.settings import Provider as MusicProvider
from domain.repositories.settings import Github
from domain.sections import Secret, Url
from tests.adapters.test_http import a_file, files_in, saying, serving
from tests.adapters.test_mail import LETTER
from tests.identity.provider import AUDIENCE, Provider

#: What a test gives an answer, and how long it waits for that to be kept: CI may be much slower than anybody.
SECONDS = 0.3
PATIENCE = 30.0
DRIP_SECONDS = 0.02

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
PACKED = b"Content-Encoding: gzip\r\n"
_MUSIC = gzip.compress(bytes(range(256)) * 400, 0)


def chunks(data: bytes) -> Iterator[bytes]:
    return (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (data[at : at + 7] for at in range(0, len(data), 7)))


#: What comes at once, and what drips after it for ever.
DRIPS: dict[str, Callable[[], tuple[bytes, Iterator[bytes]]]] = {
    "nothing at all": lambda: (b"", iter(())),
    "a status line that never ends": lambda: (b"HTTP/1.1 200 ", repeat(b"O")),
    "a header that never ends": lambda: (b"HTTP/1.1 200 OK\r\nX-Long: ", repeat(b"x")),
    "a body as announced": lambda: (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", repeat(b" ")),
    "a body without end": lambda: (b"HTTP/1.1 200 OK\r\n\r\n", repeat(b" ")),
    "chunks": lambda: (CHUNKED + b"\r\n", repeat(b"1\r\n \r\n")),
    "a chunk size that never ends": lambda: (CHUNKED + b"\r\n", repeat(b"0")),
    "an extension of a chunk that never ends": lambda: (CHUNKED + b"\r\n1;", repeat(b"x")),
    "trailers": lambda: (CHUNKED + b"\r\n1\r\n \r\n0\r\n", repeat(b"a: b\r\n")),
    "packed chunks": lambda: (CHUNKED + PACKED + b"\r\n", chunks(_MUSIC)),
    "packed, and a chunk size that never ends": lambda: (
        CHUNKED + PACKED + b"\r\n" + next(chunks(_MUSIC)),
        repeat(b"0"),
    ),
    "packed to nothing": lambda: (
        CHUNKED + PACKED + b"\r\n",
        chain(chunks(_MUSIC[:10]), cycle(chunks(b"\x00\x00\x00\xff\xff" * 7))),
    ),
}


@asynccontextmanager
async def talking(first: bytes, drips: Iterator[bytes], seconds: float = DRIP_SECONDS) -> AsyncIterator[int]:
    """A server that says this to everybody, whatever they ask; its port."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            writer.write(first)
            for drip in drips:
                await asyncio.sleep(seconds)
                writer.write(drip)
                await writer.drain()
            await asyncio.Event().wait()
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            talks.discard(task)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


class Asked(NamedTuple):
    """Something that is asked of a party, and how it fails; None where failing is no exception."""

    ask: Callable[[], Awaitable[Any]]
    fails: type[Exception] | tuple[type[Exception], ...] | None
    close: Callable[[], Awaitable[None]]


@cache
def _token() -> str:
    provider = Provider("https://id.example.com/")
    provider.add_key("first")
    return provider.token()


def keys(url: str, _: Path) -> Asked:
    tokens = OutsideTokens(f"{url}/keys", issuer="https://id.example.com/", audience=AUDIENCE)

    async def read() -> None:
        assert await tokens.read(_token()) is None

    return Asked(read, None, tokens.close)


def payments(url: str, _: Path) -> Asked:
    made = Payments("sk_test", ["whsec"], api_url=url)
    return Asked(lambda: made.create_customer("workspace"), PaymentsUnavailable, made.close)


_KEY = rsa.generate_private_key(65537, 2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def repositories(url: str, _: Path) -> Asked:
    made = GithubApp(
        Github(
            github_app_id="app",
            github_private_key=Secret(_KEY.decode()),
            github_url=Url(url),
            github_api_url=Url(url),
        )
    )
    return Asked(lambda: made.repositories(7), GithubUnavailable, made.close)


def builds(url: str, _: Path) -> Asked:
    made = Service(url, "token")
    return Asked(lambda: asyncio.to_thread(made.ask, "POST", "/claim", {}, patient=False), Away, _nothing)


def artifacts(url: str, room: Path) -> Asked:
    made = room / f"artifact-{url.rpartition(':')[2]}"
    made.write_bytes(b"plug-in")

    async def send() -> None:
        try:
            await asyncio.to_thread(Service(url).upload, f"{url}/place", {}, made)
        finally:
            made.unlink()

    return Asked(send, Away, _nothing)


async def _nothing() -> None:
    return


def _music(url: str) -> SunoApi:
    settings = MusicProvider(suno_api_url=Url(url), suno_api_key=Secret("sk"))
    return SunoApi(settings, Vault(b"a secret of thirty-two bytes, yes"), "http://127.0.0.1:1")


def music(url: str, _: Path) -> Asked:
    made = _music(url)
    task = Task(beat_id="b", generation_id="g", title="t", style="s", prompt="p")
    return Asked(lambda: made.submit(task), NoAnswer, made.close)


def tracks(url: str, _: Path) -> Asked:
    made = _music(url)
    return Asked(lambda: made.look("task"), NotTaken, made.close)


def recording(url: str, room: Path) -> Asked:
    door = Outbound(allow=["127.0.0.1"])
    to = room / f"file-{id(door)}"
    return Asked(
        lambda: door.fetch(f"{url}/a.mp3", to, size_max=10**6, seconds_max=SECONDS),
        (Unreachable, FetchFailed),
        door.close,
    )


def stored(url: str, _: Path) -> Asked:
    blobs = Blobs(url, access_key="a", secret_key="b" * 8, bucket="bucket", call_seconds_max=SECONDS)

    async def everything() -> None:
        async def fetch() -> None:
            async with blobs.fetch("k"):
                pytest.fail("nothing can be fetched")

        async def read() -> None:
            async for _ in blobs.read(Found(key="k", size=9000, etag="", content_type="", modified_at=None)):  # type: ignore[arg-type]  # nobody looks
                pytest.fail("nothing can be read")

        results = await asyncio.gather(fetch(), read(), return_exceptions=True)
        assert [type(each) for each in results] == [BlobsUnavailable] * 2
        raise BlobsUnavailable

    return Asked(everything, BlobsUnavailable, blobs.close)


# Where connecting itself takes too long it is cancelled, and uvloop keeps the socket, which was closed, until it is
# collected; that is seen here now and then, since so little time is given.
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <socket.socket \[closed\]:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize(
    "party",
    [keys, payments, repositories, builds, artifacts, music, tracks, recording, stored],
    ids=lambda party: party.__name__,
)
async def test_whoever_drips_is_left_when_the_time_for_the_whole_answer_is_over(
    party: Callable[[str, Path], Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.identity.outside_tokens.FETCH_SECONDS_MAX", SECONDS)
    monkeypatch.setattr(stripe, "ANSWER_SECONDS_MAX", SECONDS)
    monkeypatch.setattr(stripe, "SECONDS_MAX", 2 * SECONDS)
    monkeypatch.setattr(github, "ANSWER_SECONDS_MAX", SECONDS)
    monkeypatch.setattr("adapters.beats.sunoapi.SECONDS_MAX", SECONDS)
    monkeypatch.setattr(runner, "SECONDS_MAX", SECONDS)
    monkeypatch.setattr(runner, "RETRY_SECONDS", ())

    async def asked(name: str) -> None:
        async with talking(*DRIPS[name]()) as port:
            made = party(f"http://127.0.0.1:{port}", tmp_path)
            try:
                async with asyncio.timeout(PATIENCE):
                    if made.fails is None:
                        await made.ask()
                    else:
                        with pytest.raises(made.fails):
                            await made.ask()
            except TimeoutError:
                raise AssertionError(f"{party.__name__}: {name} was waited for") from None
            finally:
                await made.close()

    await asyncio.gather(*map(asked, DRIPS))
    assert files_in(tmp_path) == []


async def test_a_store_that_says_nothing_is_asked_once_and_no_more() -> None:
    async def silent(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PATIENCE)

    async def fetch(blobs: Blobs) -> None:
        async with blobs.fetch("k"):
            pytest.fail("nothing can be fetched")

    async def read(blobs: Blobs) -> None:
        found = Found(key="k", size=9000, etag="", content_type="", modified_at=datetime.now(UTC))
        async for _ in blobs.read(found):
            pytest.fail("nothing can be read")

    async def store(blobs: Blobs) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b"music"

        await blobs.put_stream("k", body(), content_type="audio/wav", size_max=10)

    async def asked(how: Callable[[Blobs], Awaitable[None]]) -> int:
        async with serving(silent) as peer:
            blobs = Blobs(
                f"http://127.0.0.1:{peer.port}", access_key="a", secret_key="b" * 8, bucket="bucket",
                read_seconds_max=SECONDS,
            )  # fmt: skip
            try:
                with pytest.raises(BlobsUnavailable):
                    await how(blobs)
            finally:
                await blobs.close()
            return len(peer.heads)

    assert await asyncio.gather(*map(asked, (fetch, read, store))) == [1, 1, 1]


async def test_a_mail_server_that_answers_each_word_just_in_time_is_left_as_well() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while await reader.readline():
            await asyncio.sleep(0.25)
            writer.write(b"250 fine\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server, asyncio.timeout(PATIENCE):
        port = server.sockets[0].getsockname()[1]
        mailer = Mailer(f"smtp://127.0.0.1:{port}?starttls=0", sender="post@studio.example", seconds_max=0.3)
        with pytest.raises(MailUnavailable, match="in time"):
            await mailer.send(LETTER)


async def test_a_store_that_hangs_is_told_of_in_time_whoever_else_waits_for_it() -> None:
    """Who asks whether we are ready asks again every few seconds, and does not wait as long as a call may take."""
    async with talking(*DRIPS["nothing at all"]()) as port, asyncio.timeout(PATIENCE):
        blobs = Blobs(
            f"http://127.0.0.1:{port}", access_key="a", secret_key="b" * 8, bucket="bucket", call_seconds_max=90
        )
        nothing: Any = None
        assert await Readiness(nothing, nothing, blobs, nothing)._objects() == "away"
        assert (await status._objects(blobs)).state == "away"
        await blobs.close()


async def test_whoever_is_cancelled_while_the_store_drips_waits_no_longer_than_one_call_may_take() -> None:
    """A thread cannot be stopped, and whoever has begun one waits for it."""
    async with talking(*DRIPS["a body as announced"]()) as port:
        blobs = Blobs(f"http://127.0.0.1:{port}", access_key="a", secret_key="b" * 8, bucket="b", call_seconds_max=1)
        task = asyncio.create_task(blobs.put_bytes("k", b"x", content_type="audio/wav"))
        await asyncio.sleep(SECONDS)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        assert done
        await blobs.close()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (a_file(bytes(1001)), "more than 1000 bytes"),
        (a_file(gzip.compress(bytes(50_000_000)), b"Content-Encoding: gzip"), "more than 1000 bytes"),
        (a_file(gzip.compress(bytes(500_000)), b"Content-Encoding: gzip"), "more than 1000 bytes"),
        (a_file(gzip.compress(b"x") + bytes(1000), b"Content-Encoding: gzip"), "more than 1000 bytes"),
        (a_file(_MUSIC[:10] + bytes([255]) * 9, b"Content-Encoding: gzip"), "cannot be used"),
        (a_file(b"x", b"Content-Encoding: br"), "cannot be used"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", "cannot be used"),
        (b"SMTP 220\r\n\r\n", "cannot be used"),
    ],
    ids=[
        "long",
        "a bomb",
        "a bomb that fits",
        "more behind its end",
        "damaged",
        "in an encoding unasked for",
        "broken off",
        "no HTTP",
    ],
)
async def test_an_answer_that_is_too_long_or_no_answer_is_none(answer: bytes, problem: str) -> None:
    party = Party(seconds_max=PATIENCE, bytes_max=1000)
    async with serving(saying(answer)) as peer:
        with pytest.raises(NoAnswer, match=problem) as failed:
            await party.ask("GET", f"http://{peer.place}/")
        assert failed.value.sent
    await party.close()


async def test_an_answer_has_a_megabyte_where_nobody_says_otherwise() -> None:
    party = Party(seconds_max=PATIENCE)
    whole = bytes(1024 * 1024)
    async with serving(saying(a_file(whole))) as fits, serving(saying(a_file(whole + b"x"))) as more:
        assert len((await party.ask("GET", f"http://{fits.place}/")).body) == len(whole)
        with pytest.raises(NoAnswer, match="more than 1048576 bytes"):
            await party.ask("GET", f"http://{more.place}/")
    await party.close()


async def test_an_answer_is_told_as_it_is_and_nobody_there_is_told_apart() -> None:
    party = Party(seconds_max=PATIENCE)
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    packed = a_file(gzip.compress(b"said"), b"Content-Encoding: gzip", b"Set-Cookie: a=b", b"X-Id: 7")
    async with serving(saying(packed)) as peer, serving(saying(moved)) as elsewhere:
        answer = await party.ask("POST", f"http://{peer.place}/", headers={"X-A": "b"}, body=b"asked")
        assert (answer.status, answer.body, answer.headers["x-id"]) == (200, b"said", "7")
        assert peer.bodies == [b"asked"]
        assert b"X-A: b\r\n" in peer.heads[0]
        await party.ask("GET", f"http://{peer.place}/")
        assert b"Cookie" not in peer.heads[1]
        assert (await party.ask("GET", f"http://{elsewhere.place}/")).status == 302
    with pytest.raises(NoAnswer) as away:
        await party.ask("POST", f"http://{peer.place}/", body=b"asked")
    assert not away.value.sent
    await party.close()


_ODD = {"latin-1": b'{"data": "caf\xe9", "keys": []}', "deep": b'{"data":' * 5_000, "cut": b'{"a"', "a page": b"<html>"}


@pytest.mark.parametrize("odd", _ODD)
@pytest.mark.parametrize(
    "party", [keys, payments, repositories, builds, music, tracks], ids=lambda party: party.__name__
)
async def test_an_answer_that_is_no_json_is_as_none(
    party: Callable[[str, Path], Asked], odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RETRY_SECONDS", ())
    monkeypatch.setattr(stripe, "SECONDS_MAX", 2 * SECONDS)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_ODD[odd])
    async with talking(head + _ODD[odd], iter(())) as port:
        made = party(f"http://127.0.0.1:{port}", tmp_path)
        try:
            if made.fails is None:
                await made.ask()
            else:
                with pytest.raises(made.fails):
                    await made.ask()
        finally:
            await made.close()
