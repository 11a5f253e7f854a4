"""Submitting a job over HTTP against FastAPI + SQLAlchemy inserting one row: requests a second, in turn, same machine.

The whole stack runs (serve, relay, project, react without the listening itself, PostgreSQL with fsync, NATS, S3); both
servers are one uvicorn process with httptools and uvloop. Everything shares the processors, the load generator too, so
what each process spends on a request is told as well; that does not depend on the neighbours. What a round leaves to be
projected is waited for, and counts as spent on it. Needs the dependency group `benchmarks`.

    python -m tests.benchmarks.job_submission [--rounds 3] [--seconds 4] [--connections 32]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil
import psycopg
import uvloop
from msgspec import json

from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.processes import free_ports
from infra.embedded.stack import start_together, stop_together
from infra.migrate import migrate
from tests.benchmarks.load import Load, load, message

BODY = b'{"url":"http://127.0.0.1:9/song.mp3"}'


def main() -> None:
    """Measure in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    ours_port, peer_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-") as directory, ExitStack() as stack:
        base = Path(directory)
        base.chmod(0o755)
        postgres = EmbeddedPostgres(base / "postgres")
        nats = EmbeddedNats(base / "nats")
        blobs = EmbeddedBlobs(base / "blobs")
        start_together([postgres, nats, blobs])
        stack.callback(stop_together, [blobs, nats, postgres])
        migrate(postgres.url)
        environment = {
            **os.environ,
            "LEDGERLINE_POSTGRES_URL": postgres.url,
            "LEDGERLINE_NATS_URL": nats.url,
            "LEDGERLINE_S3_URL": blobs.url,
            "LEDGERLINE_S3_ACCESS_KEY": blobs.access_key,
            "LEDGERLINE_S3_SECRET_KEY": blobs.secret_key,
            "LEDGERLINE_SECRET_KEY": "x" * 40,
            "LEDGERLINE_PORT": str(ours_port),
            "LEDGERLINE_OUTBOUND_ALLOW": "127.0.0.1",
            "LEDGERLINE_RATE_LIMIT_PER_MINUTE": "100000000",
            "LEDGERLINE_MONTHLY_ANALYSIS_LIMITS": "",
            "LEDGERLINE_LOG_LEVEL": "warning",
        }
        roles: dict[str, subprocess.Popen[bytes]] = {}
        for role in (["serve"], ["relay"], ["project"], ["react", "--without", "analyses"], ["tick"]):
            command = [sys.executable, "-m", "infra.cli", *role]
            roles[role[0]] = stack.enter_context(running(command, environment))
        peer_url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
        uvicorn = [sys.executable, "-m", "uvicorn", "tests.benchmarks.peers.one_row:app", "--port", str(peer_port)]
        peer_environment = {**os.environ, "PEER_DATABASE_URL": peer_url}
        roles["peer"] = stack.enter_context(running([*uvicorn, "--log-level", "warning"], peer_environment))
        wait(f"http://127.0.0.1:{ours_port}/ready")
        wait(f"http://127.0.0.1:{peer_port}/docs")
        request = urllib.request.Request(
            f"http://127.0.0.1:{ours_port}/v1/auth/register",
            data=b'{"email":"bench@example.com"}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            key = json.decode(answer.read())["api_key"]
        processes = {
            "load generator": psutil.Process(),
            **{role: psutil.Process(process.pid) for role, process in roles.items()},
            **{server.name: psutil.Process(server.process.pid) for server in (postgres, nats) if server.process},
        }
        submit = message("POST", "/v1/analyze/url", {"X-API-Key": key}, BODY)
        kinds = {
            "FastAPI + SQLAlchemy, one row": (f"http://127.0.0.1:{peer_port}", message("POST", "/jobs", {}, BODY)),
            "Ledgerline, a job": (f"http://127.0.0.1:{ours_port}", submit),
        }
        runs: dict[str, list[Load]] = {name: [] for name in kinds}
        spent = {name: dict.fromkeys(processes, 0.0) for name in kinds}
        for _ in range(args.rounds):
            for name, (url, sent) in kinds.items():
                began = {each: cpu_seconds(process) for each, process in processes.items()}
                made = load(url, sent, connections=args.connections, seconds=args.seconds, warm_up_seconds=0.0)
                runs[name].append(uvloop.run(made))
                until_projected(postgres.url)
                for each, process in processes.items():
                    spent[name][each] += cpu_seconds(process) - began[each]
        for name, measured in runs.items():
            rate = median(run.requests_per_second for run in measured)
            p50, p99 = median(run.p50_ms for run in measured), median(run.p99_ms for run in measured)
            print(f"{name:32s} {rate:8.0f} requests/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
            answered = sum(run.answered for run in measured)
            shares = {part: used / answered * 1e6 for part, used in spent[name].items()}
            parts = ", ".join(f"{part} {share:.0f}" for part, share in shares.items() if share >= 1)
            print(f"    microseconds of processor time each: {sum(shares.values()):.0f} ({parts})")
        assert {status for measured in runs.values() for run in measured for status in run.statuses} == {202}
        peer, ours = runs.values()
        ratios = [mine.requests_per_second / other.requests_per_second for mine, other in zip(ours, peer, strict=True)]
        print(f"ratio {median(ratios):.2f} (goal 5); of the rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time spent so far by a process and by its children, those that have ended included."""
    family = [process] if process.pid == os.getpid() else [process, *process.children(recursive=True)]
    times = []
    for each in family:
        with suppress(psutil.NoSuchProcess):  # it has ended since, and its parent knows what it spent
            times.append(each.cpu_times())
    ended = sum(each.children_user + each.children_system for each in times) if len(family) > 1 else 0.0
    return float(sum(each.user + each.system for each in times) + ended)


def until_projected(postgres_url: str) -> None:
    """Until everything written so far has been projected."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        while True:
            row = connection.execute(
                "SELECT (SELECT min(position) FROM checkpoints WHERE live) >= "
                "(SELECT max(notification_id) FROM ledger_events)"
            ).fetchone()
            if row and row[0]:
                return
            time.sleep(0.02)


@contextmanager
def running(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the time of the measurement."""
    process = subprocess.Popen(command, env=dict(environment))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait(url: str, seconds: float = 60.0) -> None:
    """Until a server answers with success."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


if __name__ == "__main__":
    main()
