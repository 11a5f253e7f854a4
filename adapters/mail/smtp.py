"""Letters to people: plain text, over SMTP."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from adapters.provides import provides
from adapters.trouble import Trouble
from adapters.web.http import default_tls
from commands.ports import Letter, Post
from commands.settings import Mail
from domain.identity.addresses import NotAnAddress, normal

_PORTS = {"smtp": 587, "smtps": 465}


class MailFailed(Exception):
    """A letter could not be sent. The text is a sentence for people."""

    transient = True


class MailUnavailable(MailFailed):
    """The mail server is away, too slow, not to be trusted, or asks us to come again."""


class MailRefused(MailFailed):
    """The mail server will not take this letter, today or tomorrow."""

    transient = False


class Mailer(Post):
    """Sends letters through the SMTP server of a URL.

    `smtp://user:password@host:587?starttls=1` insists on STARTTLS, `starttls=0` never asks for it, and without either
    it is used where it is offered; `smtps://host:465` speaks TLS from the start. A password travels over TLS only,
    unless `starttls=0` says otherwise. User and password are percent-encoded where they need to be.
    """

    def __init__(self, url: str, *, sender: str, seconds_max: float = 20.0, tls: ssl.SSLContext | None = None) -> None:
        place = urlsplit(url)
        options = parse_qs(place.query)
        if place.scheme not in _PORTS or not place.hostname or not options.keys() <= {"starttls"}:
            raise ValueError("the URL of a mail server is smtp(s)://[user:password@]host[:port][?starttls=0|1]")
        self._host = place.hostname
        self._port = place.port or _PORTS[place.scheme]
        self._user = unquote(place.username) if place.username else None
        self._password = unquote(place.password or "") if place.username else None
        self._encrypted = place.scheme == "smtps"
        self._starttls = _starttls(options.get("starttls"), self._encrypted, self._user is not None)
        self._sender = sender_of(sender)
        self._seconds_max = seconds_max
        self._tls = tls
        self._trouble = Trouble("mail")

    async def send(self, letter: Letter) -> None:
        """Hand the letter to the server; raises MailUnavailable or MailRefused.

        Each of some ten answers on the way has its own deadline, and all together have three times as long.
        """
        message = composed(letter, self._sender)
        try:
            async with asyncio.timeout(3 * self._seconds_max):
                await self._send(message)
        except TimeoutError as problem:
            late = MailUnavailable("The mail server did not take the letter in time.")
            self._trouble.note(str(late))
            raise late from problem
        except MailUnavailable as problem:
            self._trouble.note(str(problem))
            raise
        except MailRefused:
            # That it will not have this letter says that it takes others.
            self._trouble.over()
            raise
        self._trouble.over()

    async def _send(self, message: EmailMessage) -> None:
        try:
            async with aiosmtplib.SMTP(
                hostname=self._host,
                port=self._port,
                username=self._user,
                password=self._password,
                use_tls=self._encrypted,
                start_tls=self._starttls,
                tls_context=self._tls or default_tls(),
                timeout=self._seconds_max,
            ) as client:
                try:
                    await client.send_message(message)
                except asyncio.CancelledError:
                    client.close()  # leaving would say goodbye first, and wait for the answer
                    raise
        except aiosmtplib.SMTPAuthenticationError as problem:
            raise MailUnavailable("The mail server does not accept our user name and password.") from problem
        except aiosmtplib.SMTPRecipientsRefused as problem:
            raise _refusal(problem.recipients[0].code, "the address") from problem
        except aiosmtplib.SMTPSenderRefused as problem:
            raise _refusal(problem.code, "us as the sender") from problem
        except aiosmtplib.SMTPTimeoutError as problem:
            raise MailUnavailable("The mail server did not answer in time.") from problem
        except aiosmtplib.SMTPResponseException as problem:
            raise _refusal(problem.code, "the letter") from problem
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError) as problem:
            raise MailUnavailable("The mail server cannot be reached, or not securely.") from problem


def composed(letter: Letter, sender: Address) -> EmailMessage:
    """The letter as it is sent; an address or a subject that is none raises MailRefused."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    try:
        message["To"] = _address("", letter.to)
        message["Subject"] = letter.subject
    except ValueError as problem:  # a line break in a header, above all
        raise MailRefused("The address or the subject is not fit for a letter.") from problem
    message["Message-ID"] = f"<{letter.letter_id}@{sender.domain}>"
    message["Date"] = datetime.now(UTC)
    message["Auto-Submitted"] = "auto-generated"  # asks holiday notices not to answer (RFC 3834)
    message.set_content(letter.text)
    return message


def sender_of(text: str) -> Address:
    """`name@host` or `A Name <name@host>`."""
    name, spec = parseaddr(text)
    return _address(name, spec)


def _address(name: str, spec: str) -> Address:
    try:
        local, _, domain = normal(spec, whole=False).partition("@")
    except NotAnAddress as problem:
        raise ValueError("not an e-mail address") from problem
    return Address(display_name=name, username=local, domain=domain)


def _starttls(wish: list[str] | None, encrypted: bool, has_password: bool) -> bool | None:
    if encrypted:
        return False
    match wish:
        case ["1"]:
            return True
        case ["0"]:
            return False
        case None:
            # Whoever sits between could hide the offer of STARTTLS and read the password.
            return True if has_password else None
        case _:
            raise ValueError("starttls is 0 or 1")


def _refusal(code: int, what: str) -> MailFailed:
    if 500 <= code < 600:
        return MailRefused(f"The mail server refused {what} ({code}).")
    return MailUnavailable(f"The mail server does not take {what} for the moment ({code}).")


@provides
def mailer(settings: Mail) -> Mailer | None:
    """The mail server, where there is one."""
    return Mailer(settings.smtp_url, sender=settings.mail_from) if settings.smtp_url else None
