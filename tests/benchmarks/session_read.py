"""Reading one's session with its token, beside `/version`, which asks nobody anything: requests a second, in turn.

The session is checked on every request: token, workspace, person, role, rate limit, last use. The whole stack runs
(serve, relay, project, react, PostgreSQL with fsync, NATS, S3); the server is one process. Many short rounds, so that
both meet the same neighbours; the processor time of the server for each request does not depend on them.

    python -m tests.benchmarks.session_read [--rounds 40] [--seconds 0.5] [--connections 32]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import uvloop
from msgspec import json

from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.processes import free_ports
from infra.embedded.stack import start_together, stop_together
from infra.migrate import migrate
from tests.benchmarks.job_submission import running, wait
from tests.benchmarks.load import Load, load, message

ROLES = (["serve"], ["relay"], ["project"], ["react", "--without", "analyses"])


def main() -> None:
    """Measure in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    with service() as url:
        server = next(each for each in psutil.Process().children() if each.cmdline()[-1] == "serve")
        started = post(f"{url}/v1/auth/email/start", {"email": "bench@example.com"})
        code = {"challenge_id": started["challenge_id"], "code": started["dev_code"]}
        token = post(f"{url}/v1/auth/email/verify", code)["session_token"]
        kinds = {
            "GET /version": message("GET", "/version", {}),
            "GET /v1/auth/session": message("GET", "/v1/auth/session", {"Authorization": f"Bearer {token}"}),
        }
        runs: dict[str, list[Load]] = {name: [] for name in kinds}
        spent = dict.fromkeys(kinds, 0.0)
        for turn in range(args.rounds):
            for name in sorted(kinds, reverse=bool(turn % 2)):
                began = cpu_seconds(server)
                made = load(url, kinds[name], connections=args.connections, seconds=args.seconds, warm_up_seconds=0.0)
                runs[name].append(uvloop.run(made))
                spent[name] += cpu_seconds(server) - began
        for name, measured in runs.items():
            rate = median(run.requests_per_second for run in measured)
            p50, p99 = median(run.p50_ms for run in measured), median(run.p99_ms for run in measured)
            answered = sum(run.answered for run in measured)
            print(
                f"{name:22s} {rate:8.0f} requests/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   "
                f"{spent[name] / answered * 1e6:6.0f} us of processor time each"
            )
        ratios = [
            ours.requests_per_second / bare.requests_per_second
            for bare, ours in zip(runs["GET /version"], runs["GET /v1/auth/session"], strict=True)
        ]
        print(f"ratio {median(ratios):.2f} (goal 0.70); the middle half of {len(ratios)} rounds {middle(ratios)}")
        assert {status for measured in runs.values() for run in measured for status in run.statuses} == {200}
        sys.exit(median(ratios) < 0.7)


@contextmanager
def service(**changed: str) -> Iterator[str]:
    """A service of its own, each role but the ears a process, with fsync and without limits of rate; where it is."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
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
            "LEDGERLINE_ENV": "development",
            "LEDGERLINE_POSTGRES_URL": postgres.url,
            "LEDGERLINE_NATS_URL": nats.url,
            "LEDGERLINE_S3_URL": blobs.url,
            "LEDGERLINE_S3_ACCESS_KEY": blobs.access_key,
            "LEDGERLINE_S3_SECRET_KEY": blobs.secret_key,
            "LEDGERLINE_SECRET_KEY": "x" * 40,
            "LEDGERLINE_PORT": str(port),
            "LEDGERLINE_RATE_LIMIT_PER_MINUTE": "100000000",
            "LEDGERLINE_LOG_LEVEL": "warning",
            **changed,
        }
        for role in ROLES:
            stack.enter_context(running([sys.executable, "-m", "infra.cli", *role], environment))
        wait(f"{url}/ready")
        yield url


def at_rest(seconds: int = 6) -> float:
    """Processor time that all processes spend in a second while nobody asks them anything: they look for work."""
    ours = psutil.Process().children(recursive=True)
    return min(_spent_in_a_second(ours) for _ in range(seconds))


def until_settled(resting: float, seconds_max: float = 300.0) -> None:
    """Until what was prepared is behind all processes: they spend no more than they did `at_rest`."""
    ours = psutil.Process().children(recursive=True)
    end = time.monotonic() + seconds_max
    while (spent := _spent_in_a_second(ours)) > resting * 1.25 + 0.02:
        assert time.monotonic() < end, f"they are at work still, {spent:.2f} s in a second ({resting:.2f} at rest)"


def _spent_in_a_second(processes: list[psutil.Process]) -> float:
    began, at = sum(map(cpu_seconds, processes)), time.monotonic()
    time.sleep(1.0)
    return (sum(map(cpu_seconds, processes)) - began) / (time.monotonic() - at)


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time spent so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def middle(ratios: list[float]) -> str:
    """From the first quartile to the third."""
    low, _, high = quantiles(ratios, n=4)
    return f"{low:.2f} to {high:.2f}"


def post(url: str, body: Any) -> Any:
    """What our own server answers."""
    request = urllib.request.Request(url, data=json.encode(body), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.decode(answer.read())


if __name__ == "__main__":
    main()
