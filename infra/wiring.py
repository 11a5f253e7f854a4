"""The composition root: settings in, the parts of one process out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from msgspec import convert, json, to_builtins
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.identity.directory import Directory
from adapters.identity.origins import Origins
from adapters.identity.settings import Sealing
from adapters.identity.vault import Vault
from adapters.jobs.worker import Worker, ring
from adapters.log.canary import Canary, WrongSecretKey, check_secret
from adapters.log.data_keys import DataKeys
from adapters.log.eventlog import EventLog
from adapters.postgres import arrays
from adapters.postgres.settings import Postgres
from adapters.readmodels.audit import Audit
from adapters.readmodels.projector import Projector
from adapters.readmodels.views import Progress, Views
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from adapters.stream.relay import Relay
from commands.billing.ports import Subscriptions
from commands.kernel import REACTIONS, Log, Now, Reaction
from commands.ports import Stored, World
from commands.webhooks.sending import Outcome, send
from domain.discovery import modules
from domain.ledger import Context
from infra.container import Container
from infra.settings import CannotStart, Settings
from projections.analyses.analyses import analyses
from projections.analyses.platform import outcomes, platform_analyses
from projections.kernel import PROJECTIONS, TALLIES

if TYPE_CHECKING:
    from adapters.ears.listening import Ears
    from adapters.ears.reports import Reports
    from adapters.identity.keyring import Keyring
    from adapters.identity.last_uses import Uses
    from adapters.identity.outside_tokens import OutsideTokens
    from adapters.mail.smtp import Mailer
    from adapters.payments.stripe import Payments
    from adapters.storage.blobs import Blobs
    from adapters.storage.uploads import FilePart
    from adapters.web.http import Outbound
    from adapters.web.rate_limits import Limiter
    from api.services import Services

# A role imports what it uses: six processes start at once on a small machine, and most need neither HTTP nor S3.

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

#: How long one question rides out a Postgres that restarts. A request asks several, and clients wait ten seconds.
RETRY_SECONDS = 3.0
#: How long `/ready` waits for each part, and how long it goes by what the object store last said.
READY_SECONDS_MAX = 1.0
#: A pool backs off from a Postgres that is away, by twice as much each time; after so long it begins anew when asked.
RECONNECT_SECONDS_MAX = 4.0


def load_everything() -> None:
    """Import every command, reaction and projection, so that all are registered."""
    modules("commands")
    modules("projections")


class Upload:
    """What `api` wants to know of a file that has arrived."""

    def __init__(self, fields: dict[str, str], file: FilePart, stored: Stored) -> None:
        self.fields = fields
        self.filename = file.filename
        self.sha256 = stored.sha256


class Post:
    """Writes letters in the words of `commands.ports`."""

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    async def send(self, to: str, subject: str, text: str, *, letter_id: str | None = None) -> None:
        """Hand a plain text message to the mail server."""
        from adapters.mail.smtp import Letter

        await self._mailer.send(Letter(letter_id=letter_id or str(uuid4()), to=to, subject=subject, text=text))


class Parts:
    """What the roles are made of; each part is opened when a role asks for it and closed with the process."""

    def __init__(self, settings: Settings, pool: Pool, bus: Bus, stack: AsyncExitStack) -> None:
        load_everything()
        self.settings = settings
        self.pool = pool
        self.bus = bus
        self._stack = stack
        self._sending: World | None = None
        self._origins: Origins | None = None
        self._probe: Blobs | None = None
        self._asked_objects: tuple[float, str] | None = None
        secret = settings.secret_key.reveal().encode()
        self.vault = Vault(secret)
        self.keys = DataKeys(pool, secret, retry_seconds=RETRY_SECONDS)
        self.log = EventLog(
            settings.postgres_url,
            pool,
            self.keys,
            on_commit=lambda position: bus.ring("bell", b"%d" % position),
            retry_seconds=RETRY_SECONDS,
        )
        stack.push_async_callback(self.log.close)
        self.progress = Progress(bus)
        waits: dict[str, float] = {
            "wait_seconds_max": settings.read_wait_seconds_max,
            "retry_seconds": RETRY_SECONDS,
        }
        self.views = Views(self.log, pool, self.progress, **waits)
        self.directory = Directory(self.log, pool, self.keys, self.progress, **waits)

    def blobs(self) -> Blobs:
        """The object store."""
        from adapters.storage.blobs import Blobs

        settings = self.settings
        blobs = Blobs(
            settings.s3_url,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.reveal(),
            bucket=settings.s3_bucket,
            region=settings.s3_region,
            public_url=settings.s3_public_url or None,
        )
        self._stack.push_async_callback(blobs.close)
        return blobs

    def web(self) -> Outbound:
        """Guarded HTTP."""
        from adapters.web.http import Outbound

        web = Outbound(allow=self.settings.outbound_allow)
        self._stack.push_async_callback(web.close)
        return web

    def payments(self) -> Payments | None:
        """The payment provider, where there is one."""
        settings = self.settings
        if not settings.stripe_secret_key:
            return None
        from adapters.payments.stripe import Payments

        secrets = [each.strip() for each in settings.stripe_webhook_secrets.reveal().split(",") if each.strip()]
        payments = Payments(settings.stripe_secret_key.reveal(), secrets, api_url=settings.stripe_api_url or None)
        self._stack.push_async_callback(payments.close)
        return payments

    def ears(self) -> Ears:
        """Children that listen."""
        from adapters.ears.listening import Ears

        settings = self.settings
        ears = Ears(
            workers=settings.analysis_processes,
            memory_bytes=settings.analysis_memory_bytes_max,
            cpu_seconds=settings.analysis_cpu_seconds_max,
            wall_seconds=settings.analysis_wall_seconds_max,
        )
        self._stack.push_async_callback(ears.close)
        return ears

    def relay(self) -> Relay:
        """What copies the log into JetStream."""
        return Relay(self.log, self.bus, self.settings.postgres_url, replicas=self.settings.nats_replicas)

    async def projector(self) -> Projector:
        """What folds events into read models and jobs."""
        feed = Feed(self.log, self.bus)
        await feed.start()
        return Projector(
            self.log,
            feed,
            self.pool,
            PROJECTIONS.values(),
            TALLIES.values(),
            REACTIONS.values(),
            on_progress=lambda position: self.bus.ring("projected", b"%d" % position),
            on_jobs=ring(self.bus),
        )

    async def worker(self, reactions: list[Reaction], concurrency: int) -> Worker:
        """What does what follows from events."""
        container = self.container({World: self.world()})
        ports = {each.ports: await container.get(each.ports) for each in reactions}
        return Worker(
            self.log,
            self.pool,
            self.bus,
            lambda reaction: ports[reaction.ports],
            reactions,
            concurrency=concurrency,
            lease_seconds=self.settings.lease_seconds,
        )

    def container(self, given: Mapping[type, Any]) -> Container:
        """What makes the parts that contexts name."""
        here = {EventLog: self.log, Log: self.log, Now: _now, Audit: self.audit(), Origins: self.origins()}
        return Container(self._stack, here | {Subscriptions: self.payments()} | dict(given))

    def world(self) -> World:
        """What reactions reach for."""
        return World(
            log=self.log,
            now=_now,
            blobs=self.blobs(),
            web=self.web(),
            ears=self.ears(),
            mail=self.mail(),
            secrets=self.vault,
            limits=self.settings,
            chance=random.random,
            analysis_body=self._analysis_body,
            platform_body=self._platform_body,
            draw=self.reports().draw,
            directory=self.directory,
            payments=self.payments(),
        )

    def mail(self) -> Post | None:
        """The mail server, where there is one."""
        if not self.settings.smtp_url:
            return None
        from adapters.mail.smtp import Mailer

        return Post(Mailer(self.settings.smtp_url, sender=self.settings.mail_from))

    def outside(self) -> OutsideTokens | None:
        """The identity provider whose tokens we accept, where there is one."""
        settings = self.settings
        if not settings.jwt_jwks_url:
            return None
        from adapters.identity.outside_tokens import OutsideTokens

        tokens = OutsideTokens(settings.jwt_jwks_url, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
        self._stack.push_async_callback(tokens.close)
        return tokens

    async def _analysis_body(self, analysis_id: str) -> bytes:
        document = None
        for event in (await self.log.read(f"analysis-{analysis_id}")).events:
            if analyses.concerns(event) == analysis_id:
                document = analyses.evolve(document, event)
        return json.encode(document)

    async def _platform_body(self, analysis_id: str) -> bytes:
        told: dict[str, Any] = {"job_id": analysis_id}
        events = (await self.log.read(f"analysis-{analysis_id}")).events
        for projection in (outcomes, platform_analyses):
            document = None
            for event in events:
                if projection.concerns(event) == analysis_id:
                    document = projection.evolve(document, event)
            told |= to_builtins(document) or {}
        del told["artifacts"], told["idempotent_replay"]
        return json.encode(told)

    def reports(self) -> Reports:
        """Pictures and other people's schemas."""
        from adapters.ears.reports import Reports

        reports = Reports()
        self._stack.push_async_callback(reports.close)
        return reports

    def keyring(self) -> Keyring:
        """Who may come in."""
        from adapters.identity.keyring import Keyring

        settings = self.settings
        keyring = Keyring(
            self.log,
            self.directory,
            self.progress,
            self.bus,
            wait_seconds_max=settings.read_wait_seconds_max,
            # Where an address must be proved, that it has been must count at once.
            remembers_unverified=not settings.email_verification_required,
        )
        self._stack.push_async_callback(keyring.close)
        keyring.start()
        return keyring

    def uses(self) -> Uses:
        """When keys were last used."""
        from adapters.identity.last_uses import Uses

        uses = Uses(self.pool)
        self._stack.push_async_callback(uses.close)
        return uses

    def services(self, limiter: Limiter) -> Services:
        """What routes reach for."""
        from adapters.storage.uploads import Limits, Room, read_upload
        from api.services import Rules, Services

        settings, blobs = self.settings, self.blobs()
        limits = Limits(file_size_max=settings.upload_bytes_max)
        room = Room(settings.uploads_at_once_max, limits)

        async def receive(
            content_type: str | None, length: int | None, body: AsyncIterator[bytes], key: str, holder: str
        ) -> Upload:
            async def store(file: FilePart, chunks: AsyncIterator[bytes]) -> Stored:
                return await blobs.put_stream(
                    key, chunks, content_type=f"audio/{file.format}", size_max=settings.upload_bytes_max
                )

            async def discard(_: Stored) -> None:
                await blobs.delete(key)

            async with room.place(body, holder):
                received = await read_upload(content_type, body, store, discard, limits=limits, content_length=length)
            return Upload(received.fields, received.file, received.stored)

        return Services(
            log=self.log,
            reads=self.views,
            web=self.web(),
            blobs=blobs,
            limiter=limiter,
            keyring=self.keyring(),
            directory=self.directory,
            uses=self.uses(),
            outside=self.outside(),
            vault=self.vault,
            rules=convert(settings, Rules, from_attributes=True),
            now=_now,
            receive=receive,
            readiness=self.readiness,
            payments=self.payments(),
            history=self.log.stream,
            rewrite=self.reports().rewrite,
            deliver=self._deliver,
            origins=self.origins(),
        )

    def origins(self) -> Origins:
        """Where requests come from."""
        if self._origins is None:
            self._origins = Origins(self.pool)
            self._stack.push_async_callback(self._origins.close)
        return self._origins

    def audit(self) -> Audit:
        """What was done, and by whom."""
        return Audit(
            self.pool,
            self.keys,
            self.progress,
            wait_seconds_max=self.settings.read_wait_seconds_max,
            retry_seconds=RETRY_SECONDS,
        )

    async def _deliver(self, delivery_id: str, context: Context, force: bool) -> Outcome:
        if self._sending is None:
            self._sending = self.world()
        return await send(delivery_id, self._sending, context, sender=str(uuid4()), force=force)

    async def readiness(self) -> dict[str, str]:
        """What this process reaches for, and whether it is there.

        Postgres, the read models and NATS are needed by every request. The object store (`objects`) is not: without
        it uploads and details are refused as unavailable for the moment, and everything else is served.
        """
        parts: dict[str, str] = {}
        try:
            async with self.pool.connection(timeout=READY_SECONDS_MAX) as connection:
                cursor = await connection.execute("SELECT count(*) FROM checkpoints WHERE live")
                row = await cursor.fetchone()
                parts["postgres"] = "ok"
                parts["read_models"] = "ok" if row and row[0] else "not built yet"
        except Exception:  # noqa: BLE001 - readiness reports, whatever it is
            parts["postgres"] = "away"
        parts["nats"] = "ok" if self.bus.is_connected else "away"
        parts["objects"] = await self._objects()
        return parts

    async def _objects(self) -> str:
        """Whether the object store answers; asked once a second at most, however often anybody wants to know."""
        loop = asyncio.get_running_loop()
        if self._probe is None:
            self._probe = self.blobs()
        if self._asked_objects is None or loop.time() - self._asked_objects[0] > READY_SECONDS_MAX:
            try:
                async with asyncio.timeout(READY_SECONDS_MAX):
                    await self._probe.exists("ready")
                state = "ok"
            except Exception:  # noqa: BLE001 - readiness reports, whatever it is
                state = "away"
            self._asked_objects = (loop.time(), state)
        return self._asked_objects[1]


@asynccontextmanager
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """The parts of one process, connected."""
    canary = await _canary(settings)

    async def configure(connection: AsyncConnection[TupleRow]) -> None:
        arrays.register(connection)
        # Postgres may have been away at the start: no connection is made with a wrong key later either.
        await canary.admit(connection)

    async with AsyncExitStack() as stack:
        pool: Pool = AsyncConnectionPool(
            settings.postgres_url,
            min_size=2,
            max_size=settings.postgres_connections_max,
            timeout=5.0,
            reconnect_timeout=RECONNECT_SECONDS_MAX,
            kwargs={"autocommit": True},
            configure=configure,
            open=False,
        )
        await pool.open()
        stack.push_async_callback(pool.close)
        bus = Bus(settings.nats_url)
        bus.start()
        stack.push_async_callback(bus.close)
        await bus.connected(2.0)
        yield Parts(settings, pool, bus, stack)


async def _canary(settings: Settings) -> Canary:
    secret = settings[Sealing].secret_key.reveal().encode()
    try:
        return await check_secret(settings[Postgres].postgres_url, secret)
    except WrongSecretKey as problem:
        raise CannotStart(str(problem)) from None
    except OperationalError:
        return Canary(secret)


def _now() -> datetime:
    return datetime.now(UTC)
