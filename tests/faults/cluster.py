"""The service as separate processes, an honest client, and what must be true whatever has died."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

import httpx
import psutil
import psycopg
from msgspec import json

from adapters.log.eventlog import EventLog
from commands.kernel import REACTIONS
from commands.settings import Service
from commands.webhooks.reactions import deliver
from domain.analyses.analyses import AnalysisCompleted, AnalysisFailed, AnalysisRequested
from domain.ledger import Recorded
from domain.sections import Secret, Url
from infra.container import container
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.processes import free_ports
from infra.migrate import migrate
from infra.settings import Operation
from projections.kernel import PROJECTIONS, TALLIES
from tests.billing.little_stripe import little_stripe
from tests.journeys.kit import Account, Neighbour, Process, await_ready, clip_bytes, eventually, register, settings_for

#: How each role is started, in the order in which a person would.
ROLES = {
    "serve": ["serve"],
    "relay": ["relay"],
    "project": ["project"],
    "react": ["react", "--without", "analyses"],
    "analyses": ["react", "--only", "analyses"],
    "tick": ["tick"],
}

#: What nobody can hear anything in.
LETTER = b"A letter, and not a song.\n" * 200
#: What is sold, and the price of each.
PRICES = {"pro": "price_pro", "studio": "price_studio"}


def compiler() -> str | None:
    """What compiles the clock that a fault moves; None where there is nothing."""
    return shutil.which("cc") or shutil.which("gcc")


class _InTurn(httpx.HTTPTransport):
    """Asks processes that serve on this machine, each in turn; what they answer may be lost."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(limits=httpx.Limits(max_connections=100, max_keepalive_connections=20))
        self._ports = cycle(ports)
        #: How many answers of a hundred nobody hears: what was asked for has happened, and who asked cannot know.
        self.lost_percent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/objects/"):
            return super().handle_request(request)  # a link says itself where it leads
        request.url = request.url.copy_with(port=next(self._ports))
        answer = super().handle_request(request)
        if random.randrange(100) < self.lost_percent:
            answer.close()
            raise httpx.ReadError("The answer was lost.", request=request)
        return answer


class Cluster:
    """Every role in a process of its own, and the servers they stand on."""

    def __init__(
        self,
        postgres: EmbeddedPostgres,
        nats: EmbeddedNats,
        blobs: EmbeddedBlobs,
        directory: Path,
        *,
        roles: Mapping[str, list[str]] | None = None,
        nats_url: str = "",
        started_by: type[Process] = Process,
        **settings: Any,
    ) -> None:
        """`roles` by their names, as they are started; those that serve are asked in turn.

        Where they are forked, their clocks are those of the machine.
        """
        roles = ROLES if roles is None else roles
        self.postgres, self.nats, self.blobs = postgres, nats, blobs
        self._beside = ExitStack()
        self.payments = self._beside.enter_context(little_stripe())
        migrate(postgres.url)
        # Who has been killed is missed sooner than in the world, so that the tests are over sooner.
        self.settings = settings_for(
            postgres.url, nats_url or nats.url, blobs.url, blobs.access_key, blobs.secret_key, "faults",
            lease_seconds=2.0, build_claim_seconds=1.0, build_lease_seconds=3.0, build_start_seconds=5.0,
            seal_seconds=0.5, stream_seconds_max=5.0, stripe_prices=PRICES, stripe_api_url=Url(self.payments.url),
            stripe_secret_key=Secret("sk_test_little"), stripe_webhook_secrets=Secret(self.payments.secret),
            monthly_build_limits={"free": 1_000_000}, build_local_roots=(str(directory), tempfile.gettempdir()),
            **settings,
        )  # fmt: skip
        self.directory = directory
        clock = self._clock_of_ours(directory) if started_by is Process else {}
        (logs := directory / "logs").mkdir(exist_ok=True)
        ports = iter(free_ports(2 * len(roles)))
        # The first that serves is at the address of the settings, others at their own.
        served = {name: next(ports) for name, words in roles.items() if words[0] == "serve" and name != "serve"}
        self.roles = {
            name: started_by(
                name,
                ["infra.cli", *arguments],
                self.settings.changed(health_port=next(ports), **({"port": served[name]} if name in served else {})),
                logs,
                clock,
            )
            for name, arguments in roles.items()
        }
        self.outside = Neighbour()
        doors = [self.settings[Service].port, *served.values()]
        #: Whether what one process has written is asked of another one.
        self.several_serve = len(doors) > 1
        # Nobody is a browser here: what one of them is told to keep would go with what another one asks.
        nothing = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._doors = _InTurn(doors)
        self.http = httpx.Client(
            base_url=self.settings[Service].url, timeout=30, transport=self._doors, cookies=nothing
        )

    def __enter__(self) -> Self:
        self._beside.enter_context(self.outside)
        for role in self.roles.values():
            role.start()
        self.await_ready(*self.roles)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        for role in self.roles.values():
            role.kill()
        self._beside.close()

    def await_ready(self, *names: str) -> None:
        """Wait until these roles say that they can work."""
        for name in names:
            await_ready(self.roles[name], self._says_ready_at(name))

    def is_ready(self, name: str) -> bool:
        """Whether this role says that it can work."""
        return httpx.get(f"{self._says_ready_at(name)}/ready", timeout=10).status_code == 200

    def _says_ready_at(self, name: str) -> str:
        settings = self.roles[name].settings
        if name.startswith("serve"):
            return settings[Service].url
        return f"http://127.0.0.1:{settings[Operation].health_port}"

    def _clock_of_ours(self, directory: Path) -> dict[str, str]:
        """What makes a process take the time from our clock, where it can be made."""
        self._clock = directory / "clock"
        self.set_clocks(0)
        if (compile_with := compiler()) is None:
            return {}
        library = directory / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compile_with, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        return {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._clock)}

    def set_clocks(self, seconds: int) -> None:
        """Let the clocks of all roles be so far ahead (negative: behind), from now on."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))

    @contextmanager
    def answers_lost(self, percent: int) -> Iterator[None]:
        """So many answers of a hundred come to nobody while the block runs, whatever was asked."""
        self._doors.lost_percent = percent
        try:
            yield
        finally:
            self._doors.lost_percent = 0

    def crash(self, name: str) -> None:
        """Kill a role in the middle of whatever it does, and start it again."""
        self.roles[name].kill()
        self.roles[name].start()

    def asked(self, question: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            return connection.execute(question.encode()).fetchall()


@contextmanager
def hung(server: EmbeddedPostgres | EmbeddedNats | EmbeddedBlobs) -> Iterator[None]:
    """All its processes stand still, and its connections stay open."""
    assert server.process is not None
    first = psutil.Process(server.process.pid)
    family = [first, *first.children(recursive=True)]
    try:
        for each in family:
            # PostgreSQL ends a process of its own now and then, also between these lines.
            with suppress(psutil.NoSuchProcess):
                each.suspend()
        yield
    finally:
        for each in reversed(family):
            with suppress(psutil.NoSuchProcess):
                each.resume()


class Job(NamedTuple):
    """A job that was accepted."""

    job_id: str
    ends: str


class Crowd:
    """People who hand in recordings all the while, retrying, each request under a key of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.hook = f"told-{name}"
        cluster.await_ready(*cluster.roles)
        self.me: Account = register(cluster.http)
        self.jobs: list[Job] = []
        self._clip = clip_bytes(1.0)
        self._good = cluster.outside.put(f"{name}.wav", self._clip)
        self._bad = cluster.outside.put(f"{name}.txt", LETTER)

    @contextmanager
    def handing_in(self, count: int) -> Iterator[None]:
        """So many recordings while the block runs; afterwards all have been accepted."""
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(self._hand_in, range(count))
            yield
            list(answers)

    def after(self, count: int) -> None:
        """Wait until so many have been accepted."""
        eventually(lambda: len(self.jobs) >= count, timeout=60)

    def _hand_in(self, number: int) -> Job:
        # To hear something takes long and to find nothing to hear does not: one in twenty is enough of the first.
        good = number % 20 == 0
        body = {"url": self._good if good else self._bad, "webhook_url": self.cluster.outside.at(self.hook)}
        key = {"Idempotency-Key": uuid4().hex}
        answer = self.retrying(lambda: self.me.post("/v1/analyze/url", json=body, headers=key))
        assert answer.status_code == 202, answer.text
        job = Job(answer.json()["job_id"], "completed" if good else "failed")
        self.jobs.append(job)
        return job

    def send_file(self, key: str | None = None) -> httpx.Response:
        """A recording as an upload."""
        return self.me.post(
            "/v1/analyze/upload",
            files={"file": ("a.wav", self._clip)},
            data={"webhook_url": self.cluster.outside.at(self.hook)},
            headers={"Idempotency-Key": key or uuid4().hex},
        )

    def upload(self) -> str:
        """Hand in a recording as an upload, retrying; its job."""
        key = uuid4().hex
        answer = self.retrying(lambda: self.send_file(key))
        assert answer.status_code == 202, answer.text
        self.jobs.append(Job(answer.json()["job_id"], "completed"))
        return self.jobs[-1].job_id

    def repeat_every_job(self) -> int:
        """Put back what has been done for their jobs, as if nobody had lived to say that it was; how much it was."""
        jobs = [
            (reaction.name, each.position, reaction.line(each))
            for each in asyncio.run(everything(self.cluster))
            if each.workspace_id == self.me.workspace_id
            for reaction in REACTIONS.values()
            if reaction.concerns(each.event)
        ]
        with psycopg.connect(self.cluster.postgres.url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO jobs (reaction, position, stream, due_at, attempts) VALUES (%s, %s, %s, now(), 1) "
                "ON CONFLICT DO NOTHING",
                jobs,
            )
        return len(jobs)

    @staticmethod
    def retrying(ask: Callable[[], httpx.Response], seconds: float = 60) -> httpx.Response:
        """The answer, once there is one that does not say to try again."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = ask()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status_code != 503 or time.monotonic() > deadline:
                    return answer
                assert answer.headers["retry-after"]
            time.sleep(0.1)

    def check(self, *, timeout: float = 90) -> None:
        """When everything has come to rest: every job ended once, was told, and is shown as it happened."""
        cluster = self.cluster
        eventually(lambda: rested(cluster), timeout)
        assert not cluster.asked("SELECT * FROM jobs WHERE state = 'parked'")
        assert not cluster.asked("SELECT * FROM parked")

        history = asyncio.run(everything(cluster))
        asked_for = Counter(each.event.analysis_id for each in history if isinstance(each.event, AnalysisRequested))
        ended: dict[str, list[str]] = defaultdict(list)
        for each in history:
            if isinstance(each.event, AnalysisCompleted | AnalysisFailed):
                how = "completed" if isinstance(each.event, AnalysisCompleted) else "failed"
                ended[each.event.analysis_id].append(how)
        mine = {each.event.analysis_id for each in history
                if each.workspace_id == self.me.workspace_id and isinstance(each.event, AnalysisRequested)}  # fmt: skip
        assert {job.job_id for job in self.jobs} == mine, "what was accepted is there, and nothing else is"
        assert set(asked_for.values()) == {1}
        for job in self.jobs:
            assert ended[job.job_id] == [job.ends], "every accepted job ends exactly once"

        told: dict[str, set[str]] = defaultdict(set)
        for post in cluster.outside.received(self.hook):
            told[post.json["data"]["job_id"]].add(post.headers["webhook-id"])
        assert set(told) == mine, "every webhook is delivered at least once"
        assert all(len(ids) == 1 for ids in told.values()), "and under one id"

        compare(cluster, history)
        for job in self.jobs[:5]:
            assert self.me.get(f"/v1/analysis/{job.job_id}").json()["status"] == job.ends
            assert self.me.get(f"/v1/analysis/{job.job_id}/webhooks").json()["delivered"] is True
        for role in cluster.roles.values():
            assert "request.broken" not in role.log
            assert "job.lost" not in role.log


def rested(cluster: Cluster) -> bool:
    """Nothing is left to do soon, and everything that has happened can be seen."""
    [(left, behind)] = cluster.asked(
        # What is only looked after later, in case somebody was killed, nobody has tried yet; see `paying.settled`. What
        # has not arrived is sent again a few seconds later, and that is waited for.
        "SELECT (SELECT count(*) FROM jobs WHERE state <> 'parked' AND due_at < now() + interval '1 minute' "
        f" AND NOT (attempts = 0 AND due_at > now() + interval '2 seconds' AND reaction <> '{deliver.name}')), "
        "(SELECT count(*) FROM checkpoints WHERE live "
        " AND position < (SELECT coalesce(max(notification_id), 0) FROM ledger_events))"
    )
    for role in cluster.roles.values():
        assert role.is_running, f"{role.name} ended:\n{role.log[-3000:]}"
    assert left == 0, cluster.asked("SELECT reaction, position, state, attempts, owner, problem FROM jobs LIMIT 20")
    assert behind == 0, cluster.asked("SELECT name, version, position FROM checkpoints WHERE live")
    return True


async def everything(cluster: Cluster) -> list[Recorded]:
    """The whole log from the first event."""
    history: list[Recorded] = []
    async with container(cluster.settings) as here:
        ledger = await here.get(EventLog)
        while page := await ledger.page(history[-1].position if history else 0, 5_000):
            history += [each for each in page if isinstance(each, Recorded)]
            assert all(isinstance(each, Recorded) for each in page)
    return history


def compare(cluster: Cluster, history: list[Recorded]) -> None:
    """Fold the log again in memory: what is stored is the same, document by document and sum by sum."""
    stored: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, identity, workspace_id, body in cluster.asked(
        "SELECT d.projection, d.id, d.workspace_id, d.body FROM documents d "
        "JOIN checkpoints f ON f.name = d.projection AND f.version = d.version AND f.live"
    ):
        stored[name][identity] = (workspace_id, json.decode(body))
    for projection in PROJECTIONS.values():
        folded: dict[str, Any] = {}
        owners: dict[str, str] = {}
        for each in history:
            if (identity := projection.concerns(each.event)) is not None:
                folded[identity] = projection.evolve(folded.get(identity), each.event)
                owners.setdefault(identity, each.workspace_id)
        again = {
            identity: (owners[identity], json.decode(json.encode(document)))
            for identity, document in folded.items()
            if document is not None
        }
        assert stored.pop(projection.name, {}) == again, f"{projection.name} is not what a replay makes"
    assert not stored, "there are documents of projections that do not exist"

    sums: dict[tuple[str, str], int] = {}
    for name, key, amount in cluster.asked(
        "SELECT t.projection, t.key, t.amount FROM tallies t "
        "JOIN checkpoints f ON f.name = t.projection AND f.version = t.version AND f.live"
    ):
        sums[name, key] = amount
    counted: Counter[tuple[str, str]] = Counter()
    for tally in TALLIES.values():
        for each in history:
            for key, amount in tally.counted(each.event):
                counted[tally.name, key] += amount
    # What has come and gone counts nothing, whether or not a row says so: a page that held both left none.
    differing = {
        key: (sums.get(key, 0), counted[key]) for key in sums.keys() | counted if sums.get(key, 0) != counted[key]
    }
    assert not differing, f"sums and what a replay counts: {differing}"
