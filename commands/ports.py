"""What commands and reactions need of the outside, in our words, and the world that holds it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from commands.kernel import Command, Log, execute
from domain.analyses.findings import Analysis, Findings
from domain.ledger import Context


class Fetched(Protocol):
    """What came of fetching an address."""

    @property
    def size(self) -> int:
        """Bytes saved."""


class HttpResponse(Protocol):
    """What came of posting a message: any HTTP answer at all."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the receiver asks us to wait."""

    @property
    def duration_seconds(self) -> float:
        """How long it took."""


class Web(Protocol):
    """The outside world over HTTP, private addresses excepted."""

    def check_url(self, url: str) -> None:
        """Refuse an address that is not public HTTP(S), as far as can be told without asking anybody."""

    async def fetch(self, url: str, to: Path, *, size_max: int, seconds_max: float) -> Fetched:
        """Save what is at an address."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        """Send a message."""


class Stored(Protocol):
    """An object as stored."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def sha256(self) -> str:
        """Digest of its content, hexadecimal."""


class Stat(Protocol):
    """What the store knows about an object."""

    @property
    def size(self) -> int:
        """Its bytes."""


class Keyed(Protocol):
    """An object in a list."""

    @property
    def key(self) -> str:
        """Its key."""


class Blobs(Protocol):
    """Objects too big for events."""

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str, size_max: int) -> Stored:
        """Store a stream of chunks."""

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> Stored:
        """Store some bytes."""

    def fetch(self, key: str, *, size_max: int | None = None) -> AbstractAsyncContextManager[Path]:
        """An object as a local file, for a while."""

    async def stat(self, key: str) -> Stat:
        """What is known about an object; raises NotFound."""

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there."""

    def list(self, prefix: str) -> AsyncIterator[Keyed]:
        """The objects whose keys begin like this."""

    async def presigned_put(self, key: str, *, content_type: str, seconds: int, size: int | None = None) -> str:
        """A link that stores an object of this type (and size) for some time."""

    async def presigned_get(self, key: str, seconds: int, *, download_name: str | None = None) -> str:
        """A link that downloads an object for some time."""


class Ears(Protocol):
    """What listens to recordings."""

    async def listen(self, path: Path) -> Analysis:
        """Everything there is to hear in a file; raises findings.Unreadable."""


class Secrets(Protocol):
    """What follows from the server's own secret, and from nothing that is stored."""

    def signing_secret(self, secret_id: str) -> str:
        """A webhook signing secret, as `whsec_` and base64."""

    def sign(self, message_id: str, sent_at: datetime, body: bytes, secret_ids: Sequence[str]) -> Mapping[str, str]:
        """The headers of a signed message, one signature for each secret."""

    def code(self, challenge_id: str) -> str:
        """The six digits of a challenge."""

    def invitation_token(self, workspace_id: str, invitation_id: str) -> str:
        """What a letter of invitation brings."""


class Directory(Protocol):
    """Who is where, across workspaces."""

    async def sessions_of(self, person_id: str) -> Sequence[str]:
        """The open sessions of a person."""

    async def keys_of(self, workspace_id: str) -> Sequence[str]:
        """All API keys of a workspace, revoked ones too."""

    async def analyses_of(self, workspace_id: str) -> Sequence[str]:
        """All analyses that were ever asked for in a workspace, also in one that is forgotten."""

    async def erase(self, subject: str) -> None:
        """Destroy what reads the sealed fields of a subject."""

    async def forget_origins(self, workspace_id: str) -> None:
        """Forget from where a workspace was used."""


class Mail(Protocol):
    """What carries mail."""

    async def send(self, to: str, subject: str, text: str, *, letter_id: str | None = None) -> None:
        """Hand a plain text message to the mail server; a repeated one can be told by its `letter_id`."""


class Payments(Protocol):
    """The payment provider."""

    async def end_subscriptions(self, customer_id: str) -> Sequence[str]:
        """End at once what a customer pays for, and say which subscriptions those were."""


class Limits(Protocol):
    """The settings that reactions go by."""

    @property
    def url(self) -> str:
        """How clients reach the service."""

    @property
    def upload_bytes_max(self) -> int:
        """The largest file that is accepted or fetched."""

    @property
    def fetch_seconds_max(self) -> float:
        """Time to fetch the audio of an address."""

    @property
    def webhook_seconds_max(self) -> float:
        """Time a receiver has to answer."""

    @property
    def webhook_retry_seconds(self) -> tuple[float, ...]:
        """Waits before the second and each later attempt."""

    @property
    def webhook_jitter(self) -> float:
        """The share of each wait that is drawn by chance."""

    @property
    def webhook_disable_hours(self) -> float:
        """How long an endpoint may fail, and do nothing else, before it is disabled."""


@dataclass(frozen=True)
class World:
    """Everything a reaction may reach for."""

    log: Log
    now: Callable[[], datetime]
    blobs: Blobs
    web: Web
    ears: Ears
    mail: Mail | None
    secrets: Secrets
    limits: Limits
    chance: Callable[[], float]
    #: The answer of `GET /v1/analysis/{id}` as it stands, which is what webhooks carry.
    analysis_body: Callable[[str], Awaitable[bytes]]
    #: The same as the platform shows it, with its result: what webhook endpoints are told.
    platform_body: Callable[[str], Awaitable[bytes]]
    #: Draws what was heard: the name of each picture and its PNG.
    draw: Callable[[Findings, bytes], Awaitable[Mapping[str, bytes]]]
    directory: Directory
    #: None where paying is turned off.
    payments: Payments | None

    async def execute(self, command: Command, context: Context) -> int:
        """Decide a command now; see `commands.kernel.execute`."""
        return await execute(command, self.log, self.now(), context)
