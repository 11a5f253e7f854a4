"""Plug-ins asking whether their code is good here, beside `/version`, which asks nobody anything: requests a second.

As on a busy morning: thousands of codes, each activated on a machine, ask one after the other, from one address, with
the limits of the documents on. The whole stack runs (serve, relay, project, react, PostgreSQL with fsync, NATS, S3); it
is served by one process. Many short rounds in turn, so that both meet the same neighbours; the processor time of the
server for each request does not depend on them.

    python -m tests.benchmarks.licensing [--codes 6000] [--rounds 40] [--seconds 0.5] [--connections 32]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import cycle
from statistics import median
from typing import Any

import httpx
import psutil
import uvloop
from msgspec import json

from api.settings import Rates
from tests.benchmarks.load import Load, load, message
from tests.benchmarks.session_read import at_rest, cpu_seconds, middle, service, until_settled
from tests.identity.crowd import sign_in

ACTIVATION = "/functions/v1/plugin-activation"
GOAL_REQUESTS, GOAL_RATIO, GOAL_P99_MS = 3_000, 0.5, 30


def main() -> None:
    """Measure in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    # With the limit that a key has where nobody sets another.
    with service(LEDGERLINE_RATE_LIMIT_PER_MINUTE=str(Rates().rate_limit_per_minute)) as url:
        server = next(each for each in psutil.Process().children() if each.cmdline()[-1] == "serve")
        resting = at_rest()
        codes = made(url, args.codes)
        asking = cycle([asked("validate", code, number) for number, code in enumerate(codes)])
        kinds: dict[str, bytes | Iterator[bytes]] = {
            "GET /version": message("GET", "/version", {}),
            "POST validate": asking,
        }
        # Each code once: what a process has never been asked about it reads from the log.
        first = uvloop.run(load(url, first_time(codes), connections=args.connections, seconds=600, warm_up_seconds=0))
        assert set(first.statuses) == {200}, first.statuses
        # What follows from codes and activations is done by then.
        until_settled(resting)
        runs: dict[str, list[Load]] = {name: [] for name in kinds}
        spent = dict.fromkeys(kinds, 0.0)
        for turn in range(args.rounds):
            for name in sorted(kinds, reverse=bool(turn % 2)):
                began = cpu_seconds(server)
                one = load(url, kinds[name], connections=args.connections, seconds=args.seconds, warm_up_seconds=0.0)
                runs[name].append(uvloop.run(one))
                spent[name] += cpu_seconds(server) - began
        for name, measured in runs.items():
            answered = sum(run.answered for run in measured)
            print(
                f"{name:14s} {rate(measured):8.0f} requests/s   p50 {median(run.p50_ms for run in measured):6.1f} ms   "
                f"p99 {p99(measured):6.1f} ms   {spent[name] / answered * 1e6:6.0f} us of processor time each"
            )
        bare, ours = runs["GET /version"], runs["POST validate"]
        ratios = [each.requests_per_second / other.requests_per_second for other, each in zip(bare, ours, strict=True)]
        print(
            f"ratio {median(ratios):.2f} (goal {GOAL_RATIO}); the middle half of {len(ratios)} rounds {middle(ratios)}"
        )
        print(f"goals: {GOAL_REQUESTS} requests/s, p99 below {GOAL_P99_MS} ms; {args.codes} codes, limits on")
        assert {status for measured in runs.values() for run in measured for status in run.statuses} == {200}
        sys.exit(rate(ours) < GOAL_REQUESTS or median(ratios) < GOAL_RATIO or p99(ours) >= GOAL_P99_MS)


def made(url: str, count: int) -> list[str]:
    """So many codes, each active on a machine."""
    with httpx.Client(base_url=url, timeout=60) as http:
        developer = sign_in(http)
        project = developer.post("/functions/v1/projects", {"name": "Warm Tube"}).json()["id"]
        codes: list[str] = []
        while len(codes) < count:
            batch: dict[str, Any] = {"count": min(1000, count - len(codes)), "key_type": "purchase"}
            answer = developer.post(f"{ACTIVATION}/project/{project}/keys", batch)
            assert answer.status_code == 201, answer.text
            codes += [each["code"] for each in answer.json()["keys"]]
    activating = (asked("activate", code, number) for number, code in enumerate(codes))
    activated = uvloop.run(load(url, activating, connections=32, seconds=600, warm_up_seconds=0))
    assert activated.statuses == {200: count}, activated.statuses
    return codes


def first_time(codes: list[str]) -> Iterator[bytes]:
    """Each code asked about once."""
    return (asked("validate", code, number) for number, code in enumerate(codes))


def asked(what: str, code: str, number: int) -> bytes:
    """What a plug-in asks."""
    body = json.encode({"code": code, "machine_id": f"{number + 1:064x}"})
    return message("POST", f"{ACTIVATION}/{what}", {}, body)


def rate(measured: list[Load]) -> float:
    """Requests a second, the median of the rounds."""
    return median(run.requests_per_second for run in measured)


def p99(measured: list[Load]) -> float:
    """The time within which all but one in a hundred were answered, the median of the rounds."""
    return median(run.p99_ms for run in measured)


if __name__ == "__main__":
    main()
