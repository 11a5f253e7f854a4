"""Submitting a job over HTTP against FastAPI + SQLAlchemy inserting one row: requests a second, in turn, same machine.

The whole stack runs (serve, relay, project, react without the listening itself, PostgreSQL with fsync, NATS, S3); both
servers are one uvicorn process with httptools and uvloop. Needs the dependency group `benchmarks`.

    python -m tests.benchmarks.job_submission [--rounds 3] [--seconds 4] [--connections 32]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from msgspec import json

from infra.embedded import EmbeddedBlobs, EmbeddedNats, EmbeddedPostgres, free_ports, start_together, stop_together
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
        for role in (["serve"], ["relay"], ["project"], ["react", "--without", "analyses"], ["tick"]):
            stack.enter_context(running([sys.executable, "-m", "infra.cli", *role], environment))
        peer_url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
        uvicorn = [sys.executable, "-m", "uvicorn", "tests.benchmarks.peers.one_row:app", "--port", str(peer_port)]
        stack.enter_context(
            running([*uvicorn, "--log-level", "warning"], {**os.environ, "PEER_DATABASE_URL": peer_url})
        )
        wait(f"http://127.0.0.1:{ours_port}/ready")
        wait(f"http://127.0.0.1:{peer_port}/docs")
        request = urllib.request.Request(
            f"http://127.0.0.1:{ours_port}/v1/auth/register",
            data=b'{"email":"bench@example.com"}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            key = json.decode(answer.read())["api_key"]
        ours: list[Load] = []
        peer: list[Load] = []
        submit = message("POST", "/v1/analyze/url", {"X-API-Key": key}, BODY)
        for _ in range(args.rounds):
            peer.append(measure(f"http://127.0.0.1:{peer_port}", message("POST", "/jobs", {}, BODY), args))
            ours.append(measure(f"http://127.0.0.1:{ours_port}", submit, args))
        for name, runs in (("FastAPI + SQLAlchemy, one row", peer), ("Ledgerline, a job", ours)):
            rate = median(run.requests_per_second for run in runs)
            p50, p99 = median(run.p50_ms for run in runs), median(run.p99_ms for run in runs)
            print(f"{name:32s} {rate:8.0f} requests/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   {runs[-1].statuses}")
        ratio = median(run.requests_per_second for run in ours) / median(run.requests_per_second for run in peer)
        print(f"ratio {ratio:.2f} (goal 5)")


def measure(url: str, request: bytes, args: argparse.Namespace) -> Load:
    """One round."""
    return asyncio.run(load(url, request, connections=args.connections, seconds=args.seconds))


@contextmanager
def running(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """A process for the time of the measurement."""
    process = subprocess.Popen(command, env=dict(environment))
    try:
        yield
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
