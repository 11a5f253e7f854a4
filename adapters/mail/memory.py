"""A postbox in memory: what was sent can be read."""

from __future__ import annotations

from email.headerregistry import Address

from adapters.mail.smtp import MailUnavailable, composed
from commands.ports import Letter, Post

_SENDER = Address(username="ledgerline", domain="localhost")


class MemoryMailer(Post):
    """Keeps letters instead of sending them; set `away` to see what happens when the mail server is."""

    def __init__(self) -> None:
        self.away = False
        self.letters: list[Letter] = []

    async def send(self, letter: Letter) -> None:
        """Keep the letter, refusing what no server would take."""
        if self.away:
            raise MailUnavailable("The mail server cannot be reached, or not securely.")
        composed(letter, _SENDER)
        self.letters.append(letter)
