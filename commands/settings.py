"""Settings of the service as a whole, which every context may need."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from domain.sections import Count, Port, Seconds, Section, Url, says


class Service(Section, frozen=True):
    """Where it is served, and for whom."""

    env: Annotated[
        Literal["development", "production"],
        says(
            "`development` returns sign-in codes in answers and lifts hourly limits; `up` on a loopback address sets it"
        ),
    ] = "production"
    host: Annotated[str, says("Address to serve on")] = "127.0.0.1"
    port: Annotated[Port, says("Port to serve on")] = 8000
    public_url: Annotated[
        Url, says("How clients reach the service; empty means `http://host:port`", schemes=("http", "https"))
    ] = Url("")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """How clients reach the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return str(self.public_url).rstrip("/") or f"http://{host}:{self.port}"


class Idempotency(Section, frozen=True):
    """Requests that are sent again."""

    idempotency_hours: Annotated[Count, says("How long an `Idempotency-Key` is remembered")] = 24


class Files(Section, frozen=True):
    """Files that come from elsewhere."""

    upload_bytes_max: Annotated[Count, says("The largest file that is accepted, uploaded or fetched")] = (
        50 * 1024 * 1024
    )
    fetch_seconds_max: Annotated[Seconds, says("Time to fetch the audio of a URL")] = 60.0


class Mail(Section, frozen=True):
    """How letters are written."""

    smtp_url: Annotated[
        Url,
        says(
            "`smtp(s)://[user:password@]host[:port][?starttls=0|1]`; empty means that no mail is sent",
            schemes=("smtp", "smtps"),
        ),
    ] = Url("")
    mail_from: Annotated[str, says("Sender of all mail: `name@host` or `A Name <name@host>`")] = (
        "Ledgerline <ledgerline@localhost>"
    )

    @property
    def can_mail(self) -> bool:
        """Whether there is a mail server to hand letters to."""
        return bool(self.smtp_url)
