"""Who may read from NATS: each connection of a subscriber is let in here, and ended when its key opens nothing more.

NATS asks about everybody whom it does not know (auth callout: docs.nats.io, "Auth Callout", nats-server 2.10). The
password is an API key with the scope `events:read`. Subscribers have an account of their own, to which nothing of ours
is exported but to read the consumers that are there; what they may ask for in it names each consumer of their
workspace, so nobody reads another's, and nobody publishes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import nats
import structlog
from msgspec import DecodeError, Meta, Struct, ValidationError, convert, field, json
from nats.aio.msg import Msg

from adapters.identity.keyring import Keyring
from adapters.identity.last_uses import Uses
from adapters.log.eventlog import EventLog, LedgerUnavailable
from adapters.pausing import pause
from adapters.provides import provides
from adapters.readmodels.views import ReadsUnavailable
from adapters.stream.bus import Bus
from adapters.subscribing.nkeys import Issuer, NotAToken, claims
from adapters.subscribing.publishing import stream_name
from adapters.subscribing.settings import ACCOUNT, API, NatsSubscribers, inbox_prefix
from adapters.vault import Vault
from adapters.web.rate_limits import REFUSED, REFUSED_WINDOW_SECONDS, Limiter, network_of
from adapters.web.settings import WrongKeys
from commands.identity.settings import Identity
from commands.kernel import Now
from domain.audit.scopes import EVENTS
from domain.kernel import Refusal
from domain.subscribing.consumers import consumer_books
from projections.identity.credentials import Access

log = structlog.get_logger(__name__)

#: Where NATS asks who somebody is; one of those who listen answers.
_ASKED = "$SYS.REQ.USER.AUTH"
_ANSWERERS = "ledgerline"
SUBSCRIPTIONS_MAX = 64
PAYLOAD_BYTES_MAX = 8_192
#: How often connections are looked at, and how long servers have to say which there are.
LOOK_SECONDS = 1.0
ANSWER_SECONDS_MAX = 2.0
CONNECTIONS_LISTED = 1_024
#: Whoever was connected so lately comes in again, however many others guess where they come from.
KNOWN_SECONDS = 600.0


class _Server(Struct):
    id: str


class _Presented(Struct):
    """What somebody shows who connects: a key as the password, or alone as a token."""

    password: str = field(name="pass", default="")
    auth_token: str = ""


class _Client(Struct):
    host: str = ""


class _Question(Struct):
    server_id: _Server
    client_info: _Client
    user_nkey: Annotated[str, Meta(pattern=r"^U[A-Z2-7]{55}\Z")]
    connect_opts: _Presented


class _Connection(Struct):
    cid: int
    authorized_user: str = ""


class _Connections(Struct):
    server_id: str = ""
    total: int = 0
    connections: list[_Connection] = []


class _Listed(Struct):
    data: _Connections = field(default_factory=_Connections)


class _Reader(NamedTuple):
    """What the key of somebody who is or was connected opens, and when they were seen last."""

    access: Access
    seen_at: float


class Callout:
    """Answers NATS about those who connect, and ends connections whose key does not open what it did."""

    def __init__(
        self,
        settings: NatsSubscribers,
        keyring: Keyring,
        uses: Uses,
        vault: Vault,
        log: EventLog,
        bus: Bus,
        now: Now,
        limiter: Limiter,
        *,
        refused_limit: int,
        verified_only: bool,
    ) -> None:
        self._issuer = Issuer(settings.nats_issuer_seed.reveal())
        self._system = Bus(settings.nats_system_url)
        self._keyring = keyring
        self._uses = uses
        self._vault = vault
        self._log = log
        self._stream = stream_name(bus)
        self._now = now
        self._limiter = limiter
        self._refused_limit = refused_limit
        self._verified_only = verified_only
        #: By the digests of their keys.
        self._readers: dict[str, _Reader] = {}
        #: From where nobody is let in who is not known, and until when: there were too many wrong keys.
        self._closed: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Answer, and look after connections, until told to stop."""
        self._system.start()
        try:
            await self._system.answer(_ASKED, _ANSWERERS, self._asked)
            while not stop.is_set():
                if self._system.is_connected:
                    try:
                        await self._look()
                    except (nats.errors.Error, OSError, TimeoutError, Refusal, DecodeError) as problem:
                        log.warning("callout.interrupted", problem=repr(problem))
                await pause(stop, LOOK_SECONDS)
        finally:
            await self._system.close()

    # --- who comes in

    async def _asked(self, message: Msg) -> None:
        try:
            question = convert(claims(message.data).get("nats"), _Question)
        except (NotAToken, ValidationError) as problem:
            log.warning("callout.not_understood", problem=repr(problem))
            return
        try:
            found = await self._admitted(question.connect_opts, network_of(question.client_info.host))
        except (ReadsUnavailable, LedgerUnavailable) as problem:
            # Without an answer the connection is refused after a while, and the client comes again.
            log.warning("callout.unanswered", problem=repr(problem))
            return
        answer: dict[str, Any] = {"type": "authorization_response", "version": 2}
        if found is None:
            answer["error"] = "the password is an API key with the scope events:read"
        else:
            answer["jwt"] = self._issuer.sign(
                {"sub": question.user_nkey, "aud": ACCOUNT, **found}, now=self._now().timestamp()
            )
        signed = {"sub": question.user_nkey, "aud": question.server_id.id, "nats": answer}
        await message.respond(self._issuer.sign(signed, now=self._now().timestamp()).encode())

    async def _admitted(self, shown: _Presented, network: str) -> dict[str, Any] | None:
        """What somebody may do; None where their key opens nothing here, or nobody looks whether it does."""
        key = shown.password or shown.auth_token
        if not key:
            return None
        digest = self._vault.key_digest(key)
        if digest not in self._readers and self._closed.get(network, 0.0) > _clock():
            return None
        access = await self._keyring.find(digest)
        if access is None or not self._opens(access):
            await self._count_wrong(network)
            return None
        workspace_id = access.credential.workspace_id
        self._uses.note(access.credential.subject_id)
        book = await self._log.state(consumer_books, workspace_id)
        consumers = [f"{self._stream}.{each}" for each in book.consumer_ids]
        asks = [f"{API}.CONSUMER.{verb}.{each}" for each in consumers for verb in ("MSG.NEXT", "INFO")]
        # Clients do not come again after a right that has run out, so it runs out with the key and never before.
        expires_at = access.credential.expires_at
        ends = {} if expires_at is None else {"exp": int(expires_at.timestamp())}
        return {
            # By this the connection is found again.
            "name": digest,
            **ends,
            "nats": {
                "type": "user",
                "version": 2,
                "pub": {"allow": [*asks, *(f"$JS.ACK.{each}.>" for each in consumers)]} if asks else {"deny": [">"]},
                "sub": {"allow": [f"{inbox_prefix(workspace_id)}.>"]},
                "subs": SUBSCRIPTIONS_MAX,
                "data": -1,
                "payload": PAYLOAD_BYTES_MAX,
            },
        }

    async def _count_wrong(self, network: str) -> None:
        """Count a wrong key with those of HTTP; asking costs looks into the database, so nobody asks without end."""
        verdict = await self._limiter.take(f"{REFUSED}/{network}", self._refused_limit, REFUSED_WINDOW_SECONDS)
        if not verdict.allowed:
            self._closed[network] = _clock() + verdict.reset_seconds

    def _opens(self, access: Access) -> bool:
        """Whether a key may read events now."""
        credential = access.credential
        if credential.kind != "api_key" or EVENTS.name not in credential.scopes:
            return False
        if self._verified_only and not access.verified:
            return False
        return credential.expires_at is None or self._now() < credential.expires_at

    # --- who is in

    async def _look(self) -> None:
        """End the connections whose keys open nothing more; of those that have not changed it costs one question."""
        connections = await self._connections()
        outdated = await self._keyring.outdated(each.access for each in self._readers.values())
        now = _clock()
        self._closed = {network: until for network, until in self._closed.items() if until > now}
        self._readers = {
            digest: each
            for digest, each in self._readers.items()
            if digest not in outdated and now - each.seen_at < KNOWN_SECONDS
        }
        for digest in {each.authorized_user for _, each in connections}:
            known = self._readers.get(digest)
            access = known.access if known is not None else await self._keyring.find(digest)
            if access is None or not self._opens(access):
                self._readers.pop(digest, None)
            else:
                self._readers[digest] = _Reader(access, now)
        for server, connection in connections:
            if connection.authorized_user not in self._readers:
                await self._system.client.request(
                    f"$SYS.REQ.SERVER.{server}.KICK", json.encode({"cid": connection.cid}), timeout=ANSWER_SECONDS_MAX
                )
                log.info("callout.ended", connection=connection.cid)

    async def _connections(self) -> list[tuple[str, _Connection]]:
        """The connections of subscribers with all servers, each with its server."""
        found: list[tuple[str, _Connection]] = []
        offset, most = 0, 1
        while offset < most:
            pages = await self._ask_all({"auth": True, "offset": offset, "limit": CONNECTIONS_LISTED})
            found += [(page.server_id, each) for page in pages for each in page.connections]
            offset, most = offset + CONNECTIONS_LISTED, max((page.total for page in pages), default=0)
        return found

    async def _ask_all(self, question: dict[str, Any]) -> list[_Connections]:
        """What each server answers: as many as there are, or after a while those that have."""
        client = self._system.client
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        async def receive(message: Msg) -> None:
            answers.put_nowait(message.data)

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=receive)
        try:
            await client.publish(f"$SYS.REQ.ACCOUNT.{ACCOUNT}.CONNZ", json.encode(question), reply=inbox)
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                found = [await answers.get()]
            servers = 1 + len(client.discovered_servers)
            with suppress(TimeoutError):
                while len(found) < servers:
                    async with asyncio.timeout(LOOK_SECONDS / 4):
                        found.append(await answers.get())
        finally:
            await subscription.unsubscribe()
        return [json.decode(each, type=_Listed).data for each in found]


def _clock() -> float:
    return asyncio.get_running_loop().time()


@provides
def callout(
    settings: NatsSubscribers,
    keyring: Keyring,
    uses: Uses,
    vault: Vault,
    log: EventLog,
    bus: Bus,
    now: Now,
    limiter: Limiter,
    wrong: WrongKeys,
    identity: Identity,
) -> Callout | None:
    """What lets subscribers in; None where there is no door."""
    if not settings.is_open:
        return None
    return Callout(
        settings,
        keyring,
        uses,
        vault,
        log,
        bus,
        now,
        limiter,
        refused_limit=wrong.refused_limit_per_minute,
        verified_only=identity.email_verification_required,
    )
