"""Letters that arrive as they were written, and what is said when they do not."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters import trouble
from adapters.mail.memory import MemoryMailer
from adapters.mail.smtp import Mailer, MailFailed, MailRefused, MailUnavailable
from commands.identity.reactions import mail_invitation
from commands.identity.teams import INVITATION_LIFETIME
from commands.kernel import MAIL
from commands.ports import Letter, Post
from tests.adapters.test_http import certificate_for

LETTER = Letter(
    letter_id="9b2f",
    to="ada@example.com",
    subject="Your code: 012345 — für dich",
    text="Grüße!\n.\n..\nA very long line follows. " + "x" * 2000 + "\nFrom here on all is well.\n",
)


class Sink:
    """A small mail server that keeps what it is given, or refuses at a word that a test names."""

    def __init__(self) -> None:
        self.port = 0
        self.letters: list[EmailMessage] = []
        self.envelopes: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.encrypted: list[bool] = []
        self.refusals: dict[str, bytes] = {}
        self.tls: ssl.SSLContext | None = None
        self.silent = False

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.silent:
                await reader.read()
                return
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            return
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = recipient = ""
        writer.write(b"220 sink ESMTP\r\n")
        while line := (await reader.readuntil(b"\r\n")).decode().strip():
            word = line.split()[0].upper()
            self.heard.append(line)
            encrypted = writer.get_extra_info("ssl_object") is not None
            if word in self.refusals:
                writer.write(self.refusals[word])
                continue
            match word:
                case "EHLO":
                    offers = [b"STARTTLS"] if self.tls and not encrypted else []
                    lines = [b"sink", *offers, b"AUTH PLAIN LOGIN"]
                    writer.write(b"".join(b"250-%b\r\n" % text for text in lines[:-1]) + b"250 %b\r\n" % lines[-1])
                case "STARTTLS":
                    writer.write(b"220 go\r\n")
                    await writer.start_tls(self.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                case "RSET":
                    writer.write(b"250 ok\r\n")
                case "AUTH":
                    writer.write(b"235 welcome\r\n")
                case "MAIL":
                    sender = line
                    writer.write(b"250 ok\r\n")
                case "RCPT":
                    recipient = line
                    writer.write(b"250 ok\r\n")
                case "DATA":
                    writer.write(b"354 go\r\n")
                    data = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
                    self.letters.append(email.message_from_bytes(data, policy=email.policy.default))
                    self.envelopes.append((sender, recipient))
                    self.encrypted.append(encrypted)
                    writer.write(b"250 kept\r\n")
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return


@asynccontextmanager
async def running(sink: Sink, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        await sink.converse(reader, writer)
        conversations.discard(task)

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        for task in list(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await server.wait_closed()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running(Sink()) as sink:
        yield sink


def mailer(
    sink: Sink, *, scheme: str = "smtp", user: str = "", query: str = "", tls: ssl.SSLContext | None = None
) -> Mailer:
    url = f"{scheme}://{user}localhost:{sink.port}{query}"
    return Mailer(url, sender="Ledgerline <post@studio.example>", seconds_max=5, tls=tls)


@pytest.fixture
def both_ends_of_tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    certificate, key = certificate_for("localhost")
    (tmp_path / "cert.pem").write_bytes(certificate + key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "cert.pem")
    return theirs, ssl.create_default_context(cadata=certificate.decode())


async def test_a_letter_arrives_as_it_was_written(sink: Sink) -> None:
    await mailer(sink).send(LETTER)
    [arrived] = sink.letters
    assert arrived["To"] == "ada@example.com"
    assert arrived["From"] == "Ledgerline <post@studio.example>"
    assert arrived["Subject"] == LETTER.subject
    assert arrived["Message-ID"] == "<9b2f@studio.example>"
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert abs(arrived["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert arrived.get_content_type() == "text/plain"
    assert arrived.get_content().replace("\r\n", "\n") == LETTER.text
    assert sink.envelopes == [("MAIL FROM:<post@studio.example>", "RCPT TO:<ada@example.com>")]


async def test_a_letter_to_a_domain_in_another_script_is_addressed_in_ascii(sink: Sink) -> None:
    await mailer(sink).send(Letter(letter_id="1", to="ada@bücher.example", subject="s", text="t"))
    assert sink.envelopes[0][1] == "RCPT TO:<ada@xn--bcher-kva.example>"


async def test_starttls_is_used_where_it_is_offered(
    sink: Sink, both_ends_of_tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    sink.tls, ours = both_ends_of_tls
    await mailer(sink, tls=ours).send(LETTER)
    await mailer(sink, tls=ours, query="?starttls=0").send(LETTER)
    assert sink.encrypted == [True, False]


async def test_a_server_without_starttls_gets_no_letter_if_we_insist_on_it(sink: Sink) -> None:
    with pytest.raises(MailUnavailable):
        await mailer(sink, query="?starttls=1").send(LETTER)
    assert sink.letters == []


async def test_a_password_never_travels_in_the_open_unless_that_was_wished(sink: Sink) -> None:
    with pytest.raises(MailUnavailable):
        await mailer(sink, user="ann:secret@").send(LETTER)
    assert not any("AUTH" in line for line in sink.heard)
    await mailer(sink, user="ann:secret@", query="?starttls=0").send(LETTER)
    assert any(line.startswith("AUTH") for line in sink.heard)


async def test_user_and_password_are_decoded_from_the_url(
    sink: Sink, both_ends_of_tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    sink.tls, ours = both_ends_of_tls
    await mailer(sink, user="ann%40example.com:p%2Fw%3A1@", tls=ours).send(LETTER)
    [given] = [line for line in sink.heard if line.startswith("AUTH")]
    assert given == "AUTH PLAIN " + base64.b64encode(b"\0ann@example.com\0p/w:1").decode()
    assert sink.encrypted == [True]


async def test_smtps_speaks_tls_from_the_start(both_ends_of_tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    theirs, ours = both_ends_of_tls
    async with running(Sink(), tls=theirs) as sink:
        await mailer(sink, scheme="smtps", tls=ours).send(LETTER)
        assert sink.encrypted == [True]


async def test_a_server_with_a_certificate_that_we_do_not_trust_gets_no_letter(
    both_ends_of_tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with running(Sink(), tls=both_ends_of_tls[0]) as sink:
        with pytest.raises(MailUnavailable, match="securely"):
            await mailer(sink, scheme="smtps").send(LETTER)
        assert sink.letters == []


@pytest.mark.parametrize(
    ("word", "answer", "kind", "sentence"),
    [
        ("RCPT", b"550 no such user\r\n", MailRefused, "refused the address (550)"),
        ("RCPT", b"450 mailbox busy\r\n", MailUnavailable, "the address for the moment (450)"),
        ("MAIL", b"553 not you\r\n", MailRefused, "refused us as the sender (553)"),
        ("DATA", b"554 spam\r\n", MailRefused, "refused the letter (554)"),
        ("DATA", b"451 later\r\n", MailUnavailable, "the letter for the moment (451)"),
        ("EHLO", b"421 closing\r\n", MailUnavailable, ""),
        ("AUTH", b"535 wrong\r\n", MailUnavailable, "user name and password"),
    ],
)
async def test_what_the_server_says_decides_whether_to_try_again(
    sink: Sink, word: str, answer: bytes, kind: type[MailFailed], sentence: str
) -> None:
    sink.refusals[word] = answer
    with pytest.raises(kind) as failure:
        await mailer(sink, user="ann:secret@", query="?starttls=0").send(LETTER)
    assert sentence in str(failure.value)
    assert failure.value.transient is (kind is MailUnavailable)
    assert "secret" not in str(failure.value)


async def test_a_server_that_is_away_or_silent_is_unavailable(sink: Sink) -> None:
    sink.silent = True
    with pytest.raises(MailUnavailable, match="in time"):
        await Mailer(f"smtp://localhost:{sink.port}", sender="a@b.example", seconds_max=0.1).send(LETTER)
    with pytest.raises(MailUnavailable, match="reached"):
        await Mailer("smtp://localhost:1", sender="a@b.example").send(LETTER)


async def test_a_server_that_stays_away_is_one_error_until_it_takes_a_letter_again(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "LASTING_SECONDS", 0.0)
    post = Mailer(f"smtp://localhost:{sink.port}", sender="a@b.example", seconds_max=0.1)
    sink.silent = True
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(MailUnavailable):
                await post.send(LETTER)
        sink.silent = False
        post._seconds_max = 30.0
        await post.send(LETTER)
    said = [(line["event"], line["part"], line["log_level"]) for line in lines]
    assert said == [("dependency.refuses", "mail", "error"), ("dependency.recovered", "mail", "info")]


def test_a_letter_is_tried_for_as_long_as_an_invitation_is_good() -> None:
    waits = [mail_invitation.retry_delay(attempt) for attempt in range(1, MAIL.attempts)]
    assert sum(waits, timedelta()) >= INVITATION_LIFETIME
    assert max(waits) <= timedelta(minutes=10)


@pytest.fixture(params=["memory", "smtp"])
def post(request: pytest.FixtureRequest, sink: Sink) -> Post:
    return MemoryMailer() if request.param == "memory" else mailer(sink)


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ada@example.com\r\nBcc: eve@example.com", "s"),
        ("ada@example.com, eve@example.com", "s"),
        ("Ada <ada@example.com>", "s"),
        ("ada@example.com", "s\r\nBcc: eve@example.com"),
        ("ada@exa\x00mple.com", "s"),
        ("ada@b..example", "s"),
        ("ada", "s"),
        ("", "s"),
        ("@example.com", "s"),
        ("a@b@example.com", "s"),
    ],
)
async def test_nobody_smuggles_in_another_header_or_recipient(post: Post, sink: Sink, to: str, subject: str) -> None:
    with pytest.raises(MailRefused):
        await post.send(Letter(letter_id="1", to=to, subject=subject, text="t"))
    assert sink.heard == []


async def test_the_twin_keeps_letters_and_can_be_away(sink: Sink) -> None:
    box = MemoryMailer()
    await box.send(LETTER)
    assert box.letters == [LETTER]
    box.away = True
    with pytest.raises(MailUnavailable):
        await box.send(LETTER)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://h?starttls=2",
        "smtp://h?x=1",
        "smtp://h?starttls=1&starttls=0",
    ],
)
def test_a_server_url_that_makes_no_sense_stops_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"mail server|starttls"):
        Mailer(url, sender="a@b.example")


@pytest.mark.parametrize("sender", ["", "nobody", "a@b@c", "a b@c.example"])
def test_a_sender_that_is_no_address_stops_the_start(sender: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Mailer("smtp://h", sender=sender)
