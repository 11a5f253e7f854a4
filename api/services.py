"""What routes reach for: commands in, read models out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from commands.kernel import Command, Log, execute
from commands.ports import Blobs, Web
from commands.webhooks.sending import Outcome
from domain.analyses.findings import Findings
from domain.kernel import Value
from domain.ledger import Context, Recorded
from projections.identity.credentials import Access
from projections.kernel import Projection, Tally

#: Other people's words for an analysis.
Schema = Literal["spotify-features", "spotify-analysis"]


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

    def spend(self, key: str, limit: int, window_seconds: int) -> Verdict | None:
        """Count one if that can be done without asking anybody."""

    async def take(self, key: str, limit: int, window_seconds: int) -> Verdict:
        """Count one."""


class Keyring(Protocol):
    """Finds what keys and tokens open."""

    def known(self, digest: str) -> Access | None:
        """What a key or session token is known to open without asking anybody."""

    async def find(self, digest: str) -> Access | None:
        """What the key or session token with this digest opens."""

    async def outsider(
        self, digest: str, identity_id: str, workspace_id: str | None, refused_id: str, expires_at: datetime
    ) -> Access | None:
        """What another service's token opens."""

    def forget(self, subject: str) -> None:
        """Look anew at everything that a digest, a person or a workspace opens, in every process."""


class Directory(Protocol):
    """Documents about people and what they belong to, as of this moment and across workspaces."""

    async def find(self, projection: Projection[Any], identity: str) -> Any:
        """The document, or None."""

    async def many(self, projection: Projection[Any], identities: Sequence[str]) -> dict[str, Any]:
        """Those of the documents that exist."""

    async def children(self, projection: Projection[Any], parent: str) -> Sequence[tuple[str, bytes]]:
        """Id and JSON of everything listed under something, newest first."""


class Uses(Protocol):
    """When keys and sessions were last used."""

    def note(self, credential_id: str) -> None:
        """A credential was used just now."""

    async def of(self, credential_ids: Sequence[str]) -> dict[str, datetime]:
        """When these were last used, as far as they were."""


class Claims(Protocol):
    """What another service says about somebody."""

    @property
    def issuer(self) -> str:
        """The service."""

    @property
    def subject(self) -> str:
        """Its name for them."""

    @property
    def email(self) -> str | None:
        """Their address, where the service vouches for it."""

    @property
    def expires_at(self) -> datetime:
        """Until when it says so."""


class OutsideTokens(Protocol):
    """Tokens of an outside identity provider."""

    async def read(self, token: str) -> Claims | None:
        """What a token says, or None when it is not a valid one."""


class Vault(Protocol):
    """What is made with the server's own secret, or by chance."""

    def new_id(self) -> str:
        """A random id."""

    def new_api_key(self) -> tuple[str, str, str]:
        """A new API key, what is shown of it, and its digest."""

    def key_digest(self, key: str) -> str:
        """The digest of an API key."""

    def new_session_token(self) -> tuple[str, str]:
        """A new session token and its digest."""

    def email_digest(self, email: str) -> str:
        """The keyed digest of an address."""

    def invitation_token(self, workspace_id: str, invitation_id: str) -> str:
        """What a letter of invitation brings."""

    def invited_to(self, token: str, invitation_id: str) -> str | None:
        """The workspace that an invitation's token leads to; None when it is no token of this invitation."""

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


class Opened(Protocol):
    """A page of the payment provider."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def url(self) -> str:
        """Its address."""


class Told(Protocol):
    """A verified webhook of the payment provider."""

    @property
    def type(self) -> str:
        """What has happened."""

    @property
    def about(self) -> Mapping[str, Any]:
        """The object it has happened to."""


class Subscription(Protocol):
    """A subscription as it stands at the payment provider."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def customer_id(self) -> str:
        """Whose it is."""

    @property
    def workspace_id(self) -> str | None:
        """The workspace it was made for."""

    @property
    def status(self) -> str:
        """How it stands, in Stripe's words."""

    @property
    def price_id(self) -> str | None:
        """What it costs."""

    @property
    def current_period_end(self) -> datetime | None:
        """Until when it is paid."""

    @property
    def cancel_at_period_end(self) -> bool:
        """Whether it ends then."""

    @property
    def observed_at(self) -> datetime:
        """When we began to ask."""


class Payments(Protocol):
    """The payment provider."""

    async def create_customer(self, workspace_id: str) -> str:
        """The customer of a workspace."""

    async def open_checkout(
        self, workspace_id: str, customer_id: str, price_id: str, success_url: str, cancel_url: str
    ) -> Opened:
        """A page on which a customer subscribes."""

    async def open_portal(self, customer_id: str, return_url: str) -> Opened:
        """A page on which a customer manages what they pay."""

    async def subscription(self, subscription_id: str) -> Subscription | None:
        """A subscription as it stands now."""

    def verify(self, body: bytes, signature: str | None) -> Told:
        """The event in a webhook."""


class Origins(Protocol):
    """Where requests come from."""

    def note(self, workspace_id: str, correlation_id: UUID, ip: str, user_agent: str, request_id: str) -> None:
        """A request has changed something in a workspace."""


class Origin(NamedTuple):
    """Where a request comes from, and what its client calls it."""

    ip: str
    user_agent: str
    request_id: str


#: Where the request at hand comes from.
ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


class Rules(Value):
    """The settings that routes go by."""

    env: str
    url: str
    email_verification_required: bool
    rate_limit_per_minute: int
    demo_limit_per_hour: int
    register_limit_per_hour: int
    sign_in_limit_per_hour: int
    code_limit_per_hour: int
    refused_limit_per_minute: int
    session_seconds_max: float
    can_mail: bool
    batch_items_max: int
    idempotency_hours: int
    monthly_analysis_limits: dict[str, int]
    upload_bytes_max: int
    stripe_prices: dict[str, str]
    s3_bucket: str
    upload_link_seconds: int
    storage_object_hours: int
    presigned_seconds: int


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
    #: Reads an upload and stores its file under the key; see `adapters.storage.uploads`.
    receive: Callable[[str | None, int | None, AsyncIterator[bytes], str, str], Awaitable[Upload]]
    #: Whether everything a request needs is there, and what is not.
    readiness: Callable[[], Awaitable[dict[str, str]]]
    #: The events of a stream with their envelopes.
    history: Callable[[str], Awaitable[Sequence[Recorded]]]
    #: An analysis as JSON in somebody else's schema: schema, id, findings, detail.
    rewrite: Callable[[Schema, str, Findings, bytes], Awaitable[bytes]]
    #: Sends a delivery now; the last argument also sends what was given up.
    deliver: Callable[[str, Context, bool], Awaitable[Outcome]]
    origins: Origins
    #: None where paying is turned off.
    directory: Directory
    uses: Uses
    payments: Payments | None = None
    #: None where no outside identity provider is trusted.
    outside: OutsideTokens | None = None

    async def execute(self, command: Command, context: Context) -> int:
        """Decide a command now; see `commands.kernel.execute`."""
        position = await execute(command, self.log, self.now(), context)
        origin = ORIGIN.get()
        if position and origin is not None:
            self.origins.note(context.workspace_id, context.correlation_id, *origin)
        return position

    @property
    def idempotency_lifetime(self) -> timedelta:
        """How long an idempotency key is remembered."""
        return timedelta(hours=self.rules.idempotency_hours)
