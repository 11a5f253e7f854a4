"""What routes reach for: commands in, read models out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from commands.kernel import Command, Log, execute
from commands.ports import Blobs, Web
from domain.kernel import Value
from domain.ledger import Context
from projections.identity.credentials import Credential
from projections.kernel import Projection, Tally


class Listed(Protocol):
    """A document in a list."""

    @property
    def created(self) -> int:
        """Its place in the order of creation."""

    @property
    def body(self) -> bytes:
        """Its JSON."""


class Reads(Protocol):
    """Read models that have everything their workspace was told is done."""

    async def find(self, projection: Projection[Any], identity: str, workspace_id: str) -> bytes | None:
        """The JSON of a document of this workspace, or None."""

    async def get(self, projection: Projection[Any], identity: str, workspace_id: str) -> bytes:
        """As `find`, but raises the projection's refusal."""

    async def page(
        self,
        projection: Projection[Any],
        workspace_id: str,
        *,
        limit: int,
        before: int | None = None,
        parent: str | None = None,
    ) -> Sequence[Listed]:
        """Documents of this workspace, newest first."""

    async def sums(self, tally: Tally, keys: Sequence[str], workspace_id: str) -> dict[str, int]:
        """The sums under these keys."""


class Verdict(Protocol):
    """Whether a request may pass."""

    @property
    def allowed(self) -> bool:
        """It may."""

    @property
    def limit(self) -> int:
        """Requests in a window."""

    @property
    def remaining(self) -> int:
        """Requests left in this one."""

    @property
    def reset_seconds(self) -> int:
        """Seconds until the next one."""

    @property
    def window_seconds(self) -> int:
        """The length of a window."""


class Limiter(Protocol):
    """Counts requests."""

    async def take(self, key: str, limit: int, window_seconds: int) -> Verdict:
        """Count one."""


class Keyring(Protocol):
    """Finds what keys open."""

    async def find(self, digest: str) -> Credential | None:
        """What the key with this digest opens."""


class Vault(Protocol):
    """What is made with the server's own secret, or by chance."""

    def new_id(self) -> str:
        """A random id."""

    def new_api_key(self) -> tuple[str, str, str]:
        """A new API key, what is shown of it, and its digest."""

    def key_digest(self, key: str) -> str:
        """The digest of an API key."""

    def email_digest(self, email: str) -> str:
        """The keyed digest of an address."""

    def token(self, purpose: str, subject: str) -> str:
        """A token that proves having been told about a subject."""

    def same(self, one: str, other: str) -> bool:
        """Whether two secrets are the same, in constant time."""

    def signing_secret(self, secret_id: str) -> str:
        """A webhook signing secret."""

    def code(self, challenge_id: str) -> str:
        """The six digits of a challenge."""


class Upload(Protocol):
    """A file that has arrived."""

    @property
    def fields(self) -> dict[str, str]:
        """The other fields of its form."""

    @property
    def filename(self) -> str | None:
        """What its sender calls it."""

    @property
    def sha256(self) -> str:
        """The digest of its content."""


class Rules(Value):
    """The settings that routes go by."""

    env: str
    url: str
    email_verification_required: bool
    rate_limit_per_minute: int
    demo_limit_per_hour: int
    register_limit_per_hour: int
    batch_items_max: int
    idempotency_hours: int
    monthly_analysis_limits: dict[str, int]
    upload_bytes_max: int


@dataclass(frozen=True)
class Services:
    """Everything a route may reach for."""

    log: Log
    reads: Reads
    web: Web
    blobs: Blobs
    limiter: Limiter
    keyring: Keyring
    vault: Vault
    rules: Rules
    now: Callable[[], datetime]
    #: Reads an upload and stores its file under the key; see `adapters.uploads`.
    receive: Callable[[str | None, int | None, AsyncIterator[bytes], str], Awaitable[Upload]]
    #: Whether everything a request needs is there, and what is not.
    readiness: Callable[[], Awaitable[dict[str, str]]]

    async def execute(self, command: Command, context: Context) -> int:
        """Decide a command now; see `commands.kernel.execute`."""
        return await execute(command, self.log, self.now(), context)

    @property
    def idempotency_lifetime(self) -> timedelta:
        """How long an idempotency key is remembered."""
        return timedelta(hours=self.rules.idempotency_hours)
