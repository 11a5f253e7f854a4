"""Many of each role side by side, a cluster of NATS that loses a node, and the code of before beside ours.

Longer than tests should be: `make scale` runs it.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import httpx
import nats
import pytest
from msgspec import json
from nats.aio.client import Client

from adapters.stream.bus import Bus
from adapters.subscribing.nkeys import new_seed
from commands.settings import Service
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.processes import LOOPBACK, free_ports
from infra.embedded.stack import start_together, stop_together
from tests.faults.campaign import Mixture, verified
from tests.faults.cluster import ROLES, Cluster
from tests.identity.crowd import sign_in
from tests.journeys.kit import ROOT, Account, Process, await_ready, eventually, register
from tests.subscribing.test_nats import CONSUMERS, connected, consumer, eventually_there, happens, read, refused

#: Two that serve, two relays, three projectors, four workers, two that seal.
MANY = {
    "serve": ["serve"],
    "serve-2": ["serve"],
    "relay": ["relay"],
    "relay-2": ["relay"],
    **{f"project-{n}": ["project"] for n in (1, 2, 3)},
    **{f"react-{n}": ["react", "--without", "analyses"] for n in (1, 2)},
    **{f"analyses-{n}": ["react", "--only", "analyses"] for n in (1, 2)},
    **{f"tick-{n}": ["tick"] for n in (1, 2)},
}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedNats, EmbeddedBlobs]]:
    """Servers of one test's own."""
    postgres = EmbeddedPostgres(tmp_path / "postgres", settings={"fsync": "off", "max_connections": "300"}, sync=False)
    started = (postgres, EmbeddedNats(tmp_path / "nats"), EmbeddedBlobs(tmp_path / "blobs"))
    start_together(started)
    yield started
    stop_together(started)


def test_many_of_each_share_the_work_and_do_each_thing_once(servers: Any, tmp_path: Path) -> None:
    with Cluster(servers[0], servers[1], servers[2], tmp_path, roles=MANY, postgres_connections_max=4) as cluster:
        people = Mixture(cluster, "many", 1)
        with people.busy(60):
            pass
        people.check(timeout=180)
        people.check_acknowledged()
        verified(cluster)
        # Nobody died, so nothing was done again: each message was sent once, and each recording heard once.
        assert set(Counter(each.headers["webhook-id"] for each in cluster.outside.received(people.hook)).values()) == {
            1
        }
        assert cluster.asked("SELECT count(*) FROM jobs WHERE state <> 'waiting'") == [(0,)]
        for kind in ("serve", "react", "analyses"):
            shares = {name: len(re.findall(WORK[kind], role.log)) for name, role in cluster.roles.items()
                      if name.startswith(kind)}  # fmt: skip
            assert len(shares) == 2, shares
            assert all(shares.values()), f"both had a share: {shares}"
        [(sealed, head)] = cluster.asked(
            "SELECT (SELECT max(last) FROM log_seals), (SELECT max(notification_id) FROM ledger_events)"
        )
        assert sealed == head


#: What a process logs of its share of the work.
WORK = {
    "serve": r'"request.answered"',
    "react": r'"webhook.delivered"',
    "analyses": r'"analysis\.',
}


# --- a cluster of NATS ------------------------------------------------------------------------------------------------


class Node(EmbeddedNats):
    """A node of a cluster on this machine."""

    def __init__(self, directory: Path, name: str, route_port: int, routes: list[str], known: dict[str, str]) -> None:
        """What is `known` is the same for all of them: who is let in."""
        super().__init__(directory)
        self._known = known
        self._name = name
        self._cluster = {"name": "ledgerline", "listen": f"{LOOPBACK}:{route_port}", "routes": routes}

    @property
    def _server_name(self) -> str:
        return self._name

    def _prepare(self) -> None:
        self._note |= self._known
        super()._prepare()

    def _configuration(self) -> dict[str, Any]:
        return {**super()._configuration(), "cluster": self._cluster}


@contextmanager
def three_nodes(directory: Path) -> Iterator[list[Node]]:
    """Three nodes that know each other."""
    ports = free_ports(3)
    routes = [f"nats://{LOOPBACK}:{port}" for port in ports]
    known = {"password": token_hex(16), "system_password": token_hex(16), "issuer_seed": new_seed()}
    nodes = [Node(directory / f"node-{n}", f"node-{n}", port, routes, known) for n, port in enumerate(ports)]
    start_together(nodes)
    try:
        yield nodes
    finally:
        stop_together(nodes)


async def stream_of(url: str, name: str = "LEDGERLINE") -> Any:
    """What a server says of a stream, that of events or another one; nobody stays connected to what may be killed."""
    client = await nats.connect(url, connect_timeout=5)
    try:
        return await client.jetstream().stream_info(name)
    finally:
        await client.close()


def test_a_cluster_of_nats_loses_a_node_under_load_and_nobody_an_event(servers: Any, tmp_path: Path) -> None:
    postgres, alone, blobs = servers
    with three_nodes(tmp_path / "cluster") as nodes:
        urls = ",".join(node.url for node in nodes)
        with Cluster(postgres, alone, blobs, tmp_path, nats_url=urls, nats_replicas=3) as cluster:
            first = Mixture(cluster, "before", 1)
            with first.busy(8):
                pass
            first.check()

            def info(node: Node) -> Any:
                return asyncio.run(stream_of(node.url))

            eventually(lambda: len(info(nodes[0]).cluster.replicas) == 2, 60)
            assert info(nodes[0]).config.num_replicas == 3
            leader = next(node for node in nodes if node._name == info(nodes[0]).cluster.leader)
            others = [node for node in nodes if node is not leader]
            people = Mixture(cluster, "losing", 2)
            with people.busy(40):
                eventually(lambda: people.done > 10, 120)
                leader.kill()
                leader.stop()
            people.check(timeout=180)
            people.check_acknowledged()

            def is_whole() -> bool:
                [(events,)] = cluster.asked("SELECT count(*) FROM ledger_events")
                state = info(others[0]).state
                assert state.messages == events, (state.messages, events)
                return True

            eventually(is_whole, 60)
            assert info(others[0]).cluster.leader in {node._name for node in others}
            leader.start()
            eventually(lambda: all(each.current for each in info(others[0]).cluster.replicas), 120)
            verified(cluster)


def test_whoever_knows_one_node_goes_to_another_of_its_cluster_when_that_one_is_lost(tmp_path: Path) -> None:
    with three_nodes(tmp_path / "cluster") as nodes:
        asyncio.run(_go_to_another(nodes))


async def _go_to_another(nodes: list[Node]) -> None:
    bus = Bus(nodes[0].url)
    bus.start()
    try:
        assert await bus.connected(20)
        await eventually_there(lambda: len(bus.client.discovered_servers) >= 2)
        nodes[0].kill()
        nodes[0].stop()
        known = urlsplit(nodes[0].url).port

        def is_elsewhere() -> bool:
            there = bus.client.connected_url
            return bus.is_connected and there is not None and there.port != known

        await eventually_there(is_elsewhere)
    finally:
        await bus.close()


def test_a_subscriber_of_a_cluster_is_let_in_by_each_node_and_by_none_without_a_key(
    servers: Any, tmp_path: Path
) -> None:
    postgres, alone, blobs = servers
    with three_nodes(tmp_path / "cluster") as nodes:
        told: dict[str, Any] = {
            name: ",".join(str(node.settings[name]) for node in nodes) for name in ("nats_url", "nats_system_url")
        }
        told |= {name: nodes[0].settings[name] for name in ("nats_issuer_seed", "nats_public_url")}
        roles = {name: ROLES[name] for name in ("serve", "relay", "project")} | {"relay-2": ["relay"]}
        with Cluster(postgres, alone, blobs, tmp_path, roles=roles, nats_replicas=3, **told) as cluster:
            asyncio.run(_read_in_turn(cluster, nodes))


async def let_in(stack: AsyncExitStack, place: dict[str, Any], key: str) -> Client:
    """Somebody who comes again while nobody answers for them, as clients do."""
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        try:
            return await stack.enter_async_context(connected(place, key, allow_reconnect=False))
        except (nats.errors.Error, TimeoutError):
            assert asyncio.get_running_loop().time() < deadline, "nobody let them in"


async def _read_in_turn(cluster: Cluster, nodes: list[Node]) -> None:
    me = sign_in(cluster.http)
    made = [happens(me)]
    place = consumer(me)
    await eventually_there(lambda: me.get(f"{CONSUMERS}/{place['id']}").json()["ready"])
    key = me.key("events:read")
    found = []
    async with AsyncExitStack() as stack:
        for node in nodes:
            at = place | {"server": node.settings["nats_public_url"]}
            reader = await let_in(stack, at, key["plaintext_key"])
            found += await read(reader, place, 1)
            made.append(happens(me))
        now = (await stream_of(nodes[0].url, place["stream"])).cluster
        lost = next(node for node in nodes if node._name == now.leader)
        lost.kill()
        lost.stop()
        at = place | {"server": next(each for each in nodes if each is not lost).settings["nats_public_url"]}
        cluster.roles["relay"].kill()
        reader = await let_in(stack, at, key["plaintext_key"])
        found += await read(reader, place, 1)
        assert me.delete(f"/v1/api-keys/{key['id']}").status_code == 200
        await eventually_there(lambda: not reader.is_connected)
        for node in nodes:
            if node is not lost:
                await refused(node.settings["nats_public_url"], key["plaintext_key"])
    assert [json.decode(each.data)["data"]["endpoint_id"] for each in found] == made


# --- the code of before, beside ours ----------------------------------------------------------------------------------


def commit_before_the_newest_migration() -> str:
    """The newest commit that does not know the newest migration."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    if git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("there is no history here")
    newest = max(path.name for path in (ROOT / "infra" / "migrations").glob("*.sql"))
    added = git("log", "--format=%H", "--diff-filter=A", "--", f"infra/migrations/{newest}").splitlines()
    if not added:
        pytest.skip(f"{newest} is not committed")
    return git("rev-parse", f"{added[-1]}^")


@contextmanager
def code_of(commit: str, directory: Path) -> Iterator[Path]:
    """The sources of a commit."""
    subprocess.run(["git", "worktree", "add", "--detach", "--quiet", directory, commit], cwd=ROOT, check=True)
    try:
        yield directory
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", directory], cwd=ROOT, check=True)


class Older(Process):
    """A process of the service that runs other sources."""

    def __init__(self, sources: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        runs = (
            f"import sys; sys.path.insert(0, {str(sources)!r}); sys.argv[0] = 'ledgerline'; "
            "from infra.cli import main; sys.exit(main())"
        )
        self._command = [sys.executable, "-c", runs, *self._command[self._command.index("infra.cli") + 1 :]]


def test_the_code_before_the_newest_migration_works_beside_ours(servers: Any, tmp_path: Path) -> None:
    """On the database as ours wants it: both serve, project and react, and each reads what the other has written."""
    with ExitStack() as opened:
        sources = opened.enter_context(code_of(commit_before_the_newest_migration(), tmp_path / "before"))
        cluster = opened.enter_context(
            Cluster(servers[0], servers[1], servers[2], tmp_path, postgres_connections_max=4)
        )
        ports = iter(free_ports(2 * len(ROLES)))
        older = []
        for name in ("serve", "project", "react", "tick"):
            settings = cluster.settings.changed(port=next(ports), health_port=next(ports))
            words = ["infra.cli", *ROLES[name]]
            older.append(Older(sources, f"older-{name}", words, settings, tmp_path / "logs").start())
            opened.callback(older[-1].kill)
        theirs = older[0].settings[Service].url
        await_ready(older[0], theirs)
        assert str(sources) in older[0]._command[2]
        with httpx.Client(base_url=theirs, timeout=30) as http:
            me = register(http)
            here = Account(cluster.http, me.email, me.user_id, me.workspace_id, me.key)
            people = Mixture(cluster, "beside", 3)
            with people.busy(20):
                for number in range(10):
                    # Written by one, read by the other, at once.
                    writer, reader = (me, here) if number % 2 else (here, me)
                    made = writer.post("/v1/webhook-endpoints", json={"url": f"https://example.com/{number}"})
                    assert made.status_code == 201, made.text
                    shown = reader.get(f"/v1/webhook-endpoints/{made.json()['id']}")
                    assert shown.status_code == 200, shown.text
                    assert shown.json()["url"] == f"https://example.com/{number}"
            people.check_acknowledged()
        eventually(lambda: _nothing_is_behind(cluster), 120)
        for each in older:
            assert each.is_running, each.log[-2000:]
            assert "request.broken" not in each.log
        verified(cluster)


def _nothing_is_behind(cluster: Cluster) -> bool:
    return cluster.asked(
        "SELECT count(*) FROM checkpoints WHERE live AND position < (SELECT max(notification_id) FROM ledger_events)"
    ) == [(0,)]
