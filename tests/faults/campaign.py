"""The fault campaign: mixed commands without end, and one fault after the other in the middle of them.

    python -m tests.faults.campaign [--commands 300] [--seed 7] [--only NAME ...]

Every acknowledged command is then looked for with SQL, once and not twice; read models are compared with a replay from
the first event; what people made in each context is shown as they were told (`worlds`); every webhook and every event
came to whoever subscribed, under one id; at the end `verify` finds nothing. A failure prints the fault, the seed, and
how few turns of it still fail.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import nats
import nats.aio.msg
import psycopg

from adapters.identity.keyring import REMEMBER_SECONDS
from adapters.operators.verifying import verify
from commands.billing.reactions import CHECKOUT_TIME
from infra.container import container
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.stack import start_together, stop_together
from tests.faults.cluster import LETTER, ROLES, Cluster, Crowd, Job, compiler, hung
from tests.faults.paying import Paying, settled
from tests.faults.subscribing import Subscribers
from tests.faults.teams import Teams
from tests.faults.worlds import Worlds
from tests.identity.crowd import Visitor, new_email, sign_in
from tests.journeys.kit import Process, eventually

#: How long somebody who is paused says nothing: longer than a lease, so that others take over.
PAUSE_SECONDS = 3.0
#: How long a slow disk keeps a server waiting, and how long it lets it go on in between.
SLOW_SECONDS, AT_WORK_SECONDS = 0.3, 0.05
#: Marks a message that was sent again by a fault.
ECHO = "Echo"
#: How far clocks jump: further than a lease, and not as far as people are patient.
CLOCK_JUMP_SECONDS = 20
#: Of a hundred answers, how many are lost.
LOST_PERCENT = 50
#: As few turns show little.
FEWEST = 4


class Written(NamedTuple):
    """What must be in the log after a command was acknowledged: exactly one event of this name with this value."""

    name: str
    field: str
    value: str


class Mixture(Crowd):
    """People who do everything there is to do, all the while."""

    def __init__(self, cluster: Cluster, name: str, seed: int) -> None:
        super().__init__(cluster, name)
        self.acknowledged: list[Written] = []
        self.seed = seed
        self.turns_done = 0
        self._lock = Lock()
        self._http = cluster.http
        self._owner: Visitor = sign_in(self._http)
        self.worlds = Worlds(self._asked, self._note, self._http, cluster.directory, cluster.outside)
        self.teams = Teams(self._asked, self._takes_effect)
        self.paying = Paying(self._asked, self._note, cluster.payments)
        self.subscribers = Subscribers(self._asked, cluster, self._owner.workspace_id)
        self._turns: list[tuple[Callable[[random.Random], None], int]] = [
            (self._analysis, 9),
            (self._same_analysis_again, 2),
            (self._endpoint, 3),
            (self._key, 3),
            (self._invitation, 2),
            (self._offer, 2),
            (self._name, 1),
            (self._registration, 1),
            (self.worlds.project, 2),
            (self.worlds.license, 4),
            (self.worlds.build, 3),
            (self.worlds.beat, 2),
            (self.worlds.track, 5),
            (self.worlds.replay, 1),
            (self.paying.subscription, 4),
            (self.teams.team, 3),
        ]

    @contextmanager
    def busy(self, count: int) -> Iterator[None]:
        """So many commands while the block runs; afterwards all have been acknowledged."""
        with self.subscribers.reading(), self.worlds.worked_off(), ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(self._turn, number) for number in range(count)]
            yield
            for each in answers:
                each.result()

    @property
    def done(self) -> int:
        """Turns, of several commands each, that are over so far."""
        return self.turns_done

    def _turn(self, number: int) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        kinds, weights = zip(*self._turns, strict=True)
        chance.choices(kinds, weights)[0](chance)
        with self._lock:
            self.turns_done += 1

    def _note(self, name: str, field: str, value: str) -> None:
        with self._lock:
            self.acknowledged.append(Written(name, field, value))

    def _asked(self, status: int | tuple[int, ...], method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self._owner.headers, **options.pop("headers", {})}
        answer = self.retrying(lambda: self._http.request(method, path, headers=headers, **options))
        expected = (status,) if isinstance(status, int) else status
        assert answer.status_code in expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def _takes_effect(self, holds: Callable[[], bool], sentence: str) -> None:
        """What was written about who may come in counts: at once for the process that wrote it.

        Others hear a bell, mostly before they are asked. Nobody relies on what they remember for `REMEMBER_SECONDS`.
        """
        end = time.monotonic() + (REMEMBER_SECONDS if self.cluster.several_serve else 0.0)
        while True:
            asked_at = time.monotonic()
            if holds():
                return
            assert asked_at < end, sentence

    def _deleted(self, path: str) -> None:
        answer = self.retrying(lambda: self._http.delete(path, headers=self._owner.headers))
        # Not found: it was asked twice, because the first answer was lost.
        assert answer.status_code in (200, 204, 404), answer.text

    def _analysis(self, chance: random.Random) -> None:
        job = self._hand_in(chance.randrange(1000))
        self._note("analyses.AnalysisRequested", "analysis_id", job.job_id)

    def _same_analysis_again(self, _: random.Random) -> None:
        body = {"url": self._bad, "webhook_url": self.cluster.outside.at(self.hook)}
        headers = {"Idempotency-Key": uuid4().hex}
        answers = [self.retrying(lambda: self.me.post("/v1/analyze/url", json=body, headers=headers)) for _ in range(3)]
        [job_id] = {answer.json()["job_id"] for answer in answers}
        self.jobs.append(Job(job_id, "failed"))
        self._note("analyses.AnalysisRequested", "analysis_id", job_id)

    def _endpoint(self, chance: random.Random) -> None:
        made = self._asked(201, "POST", "/v1/webhook-endpoints", json={"url": self.cluster.outside.at("mixed")}).json()
        self._note("webhooks.EndpointRegistered", "endpoint_id", made["id"])
        if chance.random() < 0.7:
            self._deleted(f"/v1/webhook-endpoints/{made['id']}")
            self._note("webhooks.EndpointRemoved", "endpoint_id", made["id"])

    def _key(self, chance: random.Random) -> None:
        made = self._asked(201, "POST", "/v1/api-keys", json={"name": "Mixed", "scopes": ["usage:read"]}).json()
        self._note("identity.ApiKeyIssued", "api_key_id", made["id"])
        assert self._opens(made["plaintext_key"]), "a key works as soon as it was handed out"
        if chance.random() < 0.7:
            self._deleted(f"/v1/api-keys/{made['id']}")
            self._note("identity.ApiKeyRevoked", "api_key_id", made["id"])
            self._takes_effect(lambda: not self._opens(made["plaintext_key"]), "and never after it was taken back")

    def _opens(self, key: str) -> bool:
        answer = self.retrying(lambda: self._http.get("/v1/usage", headers={"X-API-Key": key}))
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def _invitation(self, chance: random.Random) -> None:
        body = {"email": new_email(), "role": "viewer"}
        answer = self.retrying(
            lambda: self._http.post("/v1/account/team/invitations", json=body, headers=self._owner.headers)
        )
        if answer.status_code == 409:  # asked twice, because the first answer was lost
            return
        assert answer.status_code == 201, answer.text
        made = answer.json()
        self._note("identity.InvitationSent", "invitation_id", made["id"])
        if chance.random() < 0.5:
            self._deleted(f"/v1/account/team/invitations/{made['id']}")
            self._note("identity.InvitationRevoked", "invitation_id", made["id"])

    def _offer(self, chance: random.Random) -> None:
        made = self.retrying(
            lambda: self.me.post("/v1/storage-objects", json={"content_type": "audio/wav", "purpose": "upload"})
        )
        assert made.status_code == 201, made.text
        self._note("analyses.UploadOffered", "storage_object_id", made.json()["id"])
        if chance.random() < 0.7:
            self._upload(made.json(), self._clip if chance.random() < 0.1 else LETTER)

    def _upload(self, place: dict[str, Any], content: bytes) -> None:
        """What is offered a place is put there, and heard once."""

        def put() -> bool:
            answer = httpx.put(place["signed_url"], content=content, headers={"Content-Type": "audio/wav"}, timeout=10)
            return answer.status_code == 200

        eventually(put, timeout=60)
        body = {"storage_object_id": place["id"], "webhook_url": self.cluster.outside.at(self.hook)}
        headers = {"Idempotency-Key": uuid4().hex}
        answers = [self.retrying(lambda: self.me.post("/v1/analyses", json=body, headers=headers)) for _ in range(2)]
        [job_id] = {answer.json()["id"] for answer in answers}
        self.jobs.append(Job(job_id, "completed" if content == self._clip else "failed"))
        self._note("analyses.AnalysisRequested", "analysis_id", job_id)
        self._note("analyses.ObjectUsed", "storage_object_id", place["id"])

    def _name(self, _: random.Random) -> None:
        name = f"Studio {uuid4().hex}"
        self._asked(200, "PATCH", "/v1/account/profile", json={"workspace_name": name})
        # Names are sealed, so this one is looked for where it can be read.
        assert self._asked(200, "GET", "/v1/account/profile").json()["workspace_name"]

    def _registration(self, _: random.Random) -> None:
        email = new_email()
        answer = self.retrying(lambda: self._http.post("/v1/auth/register", json={"email": email}))
        if answer.status_code == 409:  # asked twice, because the first answer was lost
            return
        assert answer.status_code == 201, answer.text
        self._note("identity.PersonRegistered", "person_id", answer.json()["user_id"])

    def check_acknowledged(self) -> None:
        """Each acknowledged command is in the log exactly once, found by SQL, and is shown as it was acknowledged."""
        self.worlds.compare()
        self.paying.compare()
        self.teams.compare()
        self.subscribers.compare()
        with psycopg.connect(self.cluster.postgres.url, autocommit=True) as connection:
            for name, field in sorted({(each.name, each.field) for each in self.acknowledged}):
                wanted = {each.value for each in self.acknowledged if each.name == name}
                rows = connection.execute(
                    "SELECT convert_from(state, 'UTF8')::jsonb ->> %s AS value, count(*) FROM ledger_events "
                    "WHERE topic = %s GROUP BY value",
                    (field, name),
                ).fetchall()
                found = {value: times for value, times in rows if value in wanted}
                assert found == dict.fromkeys(wanted, 1), f"{name}: {wanted - set(found)} lost, or {found} doubled"
            ended = connection.execute(
                "SELECT convert_from(state, 'UTF8')::jsonb ->> 'build_id' AS build, count(*) FROM ledger_events "
                "WHERE topic IN ('builds.BuildFailed', 'builds.BuildCancelled', 'builds.BuildSucceeded') "
                "GROUP BY build HAVING count(*) > 1"
            ).fetchall()
            assert not ended, "a build ends once"


# --- faults ----------------------------------------------------------------------------------------------------------

Fault = Callable[[Cluster], None]


def _killed(role: str) -> Fault:
    return lambda cluster: cluster.crash(role)


def _paused(role: str) -> Fault:
    def pause(cluster: Cluster) -> None:
        process = cluster.roles[role].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE_SECONDS)
        process.send_signal(signal.SIGCONT)

    return pause


def _server(name: str) -> Callable[[Cluster], EmbeddedPostgres | EmbeddedNats | EmbeddedBlobs]:
    return lambda cluster: getattr(cluster, name)


def _restarted(name: str) -> Fault:
    def restart(cluster: Cluster) -> None:
        server = _server(name)(cluster)
        server.stop()
        server.start()

    return restart


def _crashed(name: str) -> Fault:
    def crash(cluster: Cluster) -> None:
        server = _server(name)(cluster)
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.stop()
        server.start()

    return crash


def _stopped(name: str) -> Fault:
    def stop(cluster: Cluster) -> None:
        process = _server(name)(cluster).process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE_SECONDS)
        process.send_signal(signal.SIGCONT)

    return stop


def _slow_disk(name: str) -> Fault:
    """All processes of a server wait again and again, as for a disk: each answer comes late, and all of them come."""

    def slow(cluster: Cluster) -> None:
        until = time.monotonic() + 2 * PAUSE_SECONDS
        while time.monotonic() < until:
            with hung(_server(name)(cluster)):
                time.sleep(SLOW_SECONDS)
            time.sleep(AT_WORK_SECONDS)

    return slow


def _wiped(cluster: Cluster) -> None:
    cluster.nats.stop()
    shutil.rmtree(cluster.nats.directory / "data", ignore_errors=True)
    cluster.nats.start()


def _connections_cut(cluster: Cluster) -> None:
    with psycopg.connect(cluster.postgres.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


def _jobs_repeated(cluster: Cluster) -> None:
    with psycopg.connect(cluster.postgres.url, autocommit=True) as connection:
        connection.execute("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'")


def _away(name: str) -> Fault:
    def away(cluster: Cluster) -> None:
        server = _server(name)(cluster)
        server.stop()
        time.sleep(PAUSE_SECONDS)
        server.start()

    return away


def _payments_away(cluster: Cluster) -> None:
    cluster.payments.is_away = True
    time.sleep(PAUSE_SECONDS)
    cluster.payments.is_away = False


def _echoed(cluster: Cluster) -> None:
    """Whoever listens gets messages twice and in another order; the stream does not take them."""
    asyncio.run(_again(cluster.nats.url, {"Nats-Expected-Last-Sequence": "1"}))


def _foreign(cluster: Cluster) -> None:
    """The same, and the stream takes them."""
    asyncio.run(_again(cluster.nats.url, {}))


async def _again(url: str, headers: dict[str, str]) -> None:
    client = await nats.connect(url)
    kept: list[nats.aio.msg.Msg] = []

    async def keep(message: nats.aio.msg.Msg) -> None:
        if ECHO not in (message.headers or {}):
            kept.append(message)

    await client.subscribe("ledgerline.events.>", cb=keep)
    loop = asyncio.get_running_loop()
    until = loop.time() + 2 * PAUSE_SECONDS
    while loop.time() < until:
        await asyncio.sleep(0.05)
        for message in random.sample(kept, min(len(kept), 10)):
            await client.publish(message.subject, message.data, headers={ECHO: "1", **headers})
    await client.close()


def _answers_lost(cluster: Cluster) -> None:
    with cluster.answers_lost(LOST_PERCENT):
        time.sleep(2 * PAUSE_SECONDS)


def _clocks_jump(cluster: Cluster) -> None:
    """The clocks of all roles go ahead, then behind, then right again; that of Postgres is right all the while."""
    for offset in (CLOCK_JUMP_SECONDS, -CLOCK_JUMP_SECONDS, 0):
        cluster.set_clocks(offset)
        time.sleep(PAUSE_SECONDS)


def _everything_killed(cluster: Cluster) -> None:
    for role in cluster.roles.values():
        role.kill()
    for role in cluster.roles.values():
        role.start()


FAULTS: dict[str, Fault] = {
    **{f"{role} killed": _killed(role) for role in ROLES},
    **{f"{role} paused": _paused(role) for role in ("serve", "relay", "project", "react")},
    "all roles killed": _everything_killed,
    "nats restarted": _restarted("nats"),
    "nats killed": _crashed("nats"),
    "nats paused": _stopped("nats"),
    "nats wiped": _wiped,
    "postgres restarted": _restarted("postgres"),
    "postgres killed": _crashed("postgres"),
    "connections to postgres cut": _connections_cut,
    "objects restarted": _restarted("blobs"),
    "objects killed": _crashed("blobs"),
    "objects away": _away("blobs"),
    **{f"disk of {name} slow": _slow_disk(name) for name in ("postgres", "nats", "blobs")},
    "payments away": _payments_away,
    "answers lost": _answers_lost,
    "leases lost": _jobs_repeated,
    "messages repeated and out of order": _echoed,
    "messages of strangers in the stream": _foreign,
    **({"clocks jump": _clocks_jump} if compiler() else {}),
}


def suffer(cluster: Cluster, name: str, *, commands: int, seed: int) -> Mixture:
    """Mixed commands with a fault in their middle, and everything that must be true afterwards; whose they were."""
    people = Mixture(cluster, name.replace(" ", "-"), seed)
    with people.busy(commands):
        eventually(lambda: people.done >= commands // 3, timeout=120)
        FAULTS[name](cluster)
    cluster.await_ready(*ROLES)
    people.check(timeout=120)
    people.check_acknowledged()
    return people


def verified(cluster: Cluster) -> None:
    """`verify` finds nothing: neither in the log, nor read models, objects or the stream."""

    async def look() -> list[str]:
        async with container(cluster.settings) as here:
            return [str(finding) async for each in verify(here) for finding in each.findings]

    found: list[str] = []

    def is_clean() -> bool:
        found[:] = asyncio.run(look())
        return not found

    try:
        eventually(is_clean, timeout=60)
    except AssertionError as still:
        raise AssertionError(f"verify finds: {found[:5]}") from still


def shortest(cluster: Cluster, name: str, *, commands: int, seed: int) -> int:
    """How few turns of a seed still fail, found by halving; those that ran together may fail once and not again."""
    while commands > FEWEST:
        try:
            suffer(cluster, name, commands=commands // 2, seed=seed)
        except Exception:  # noqa: BLE001 - any failure is the failure
            commands //= 2
        else:
            break
    return commands


@contextmanager
def cluster_in(directory: Path, started_by: type[Process] = Process) -> Iterator[Cluster]:
    """Six processes and three servers of their own."""
    postgres = EmbeddedPostgres(directory / "postgres", settings={"fsync": "off"}, sync=False)
    nats, blobs = EmbeddedNats(directory / "nats"), EmbeddedBlobs(directory / "blobs")
    start_together([postgres, nats, blobs])
    try:
        subscribing = {name: value for name, value in nats.settings.items() if name != "nats_url"}
        with Cluster(postgres, nats, blobs, directory, started_by=started_by, **subscribing) as running:
            yield running
    finally:
        stop_together([postgres, nats, blobs])


def main() -> int:
    """Run the campaign; the exit status says whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=300, help="commands for each fault")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    given = parser.parse_args()
    failed = []
    everybody: list[Mixture] = []
    directory = Path(tempfile.mkdtemp(prefix="ledgerline-faults-"))
    with suppress(KeyboardInterrupt), cluster_in(directory) as cluster:
        for number, name in enumerate(given.only):
            began = time.monotonic()
            try:
                everybody.append(suffer(cluster, name, commands=given.commands, seed=given.seed + number))
            except Exception as problem:  # noqa: BLE001 - the next fault is tried all the same
                failed.append(name)
                seed = given.seed + number
                # What was waited for says why it did not come true.
                why = f"{problem} {problem.__cause__ or ''}".rstrip()
                print(f"{name:36} FAILED with seed {seed}: {why}", flush=True)
                fewest = shortest(cluster, name, commands=given.commands, seed=seed)
                again = f"--only '{name}' --commands {fewest} --seed {seed}"
                print(f"{'':36} the shortest that fails: python -m tests.faults.campaign {again}", flush=True)
            else:
                done, seconds = len(everybody[-1].acknowledged), time.monotonic() - began
                print(f"{name:36} {done} acknowledged, all there once, {seconds:.0f} s", flush=True)
        try:
            eventually(lambda: settled(cluster), timeout=2 * CHECKOUT_TIME.total_seconds())
            verified(cluster)
            # Whoever was away since their own fault comes again, and is not told the past.
            for people in everybody:
                people.subscribers.compare()
        except AssertionError as problem:
            failed.append("verify")
            print(problem, flush=True)
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)
        return 0
    print(f"The logs of what failed are in {directory}.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
