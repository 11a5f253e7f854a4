"""A command and the read after it, alone and while many requests wait for events of other workspaces: one ratio.

A thousand followers (`GET /v1/events?wait=15`, asked again as soon as they are answered) of fifty workspaces where
nothing happens, in the same process that answers the commands. The rounds alternate, so that both meet the same
neighbours. A follower of the workspace that writes shows how soon it is told.

    python -m tests.benchmarks.followers [--followers 1000] [--workspaces 50] [--rounds 4] [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvloop
from msgspec import json

from tests.benchmarks.measuring import percentile
from tests.benchmarks.session_read import service

PACE_SECONDS = 0.02


def main() -> None:
    """Measure in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--workspaces", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    with service(LEDGERLINE_CONNECTIONS_PER_ADDRESS_MAX="4000", LEDGERLINE_REGISTER_LIMIT_PER_HOUR="100000") as url:
        ratio = uvloop.run(measured(url, args))
    sys.exit(ratio > 2.0)


async def measured(url: str, args: argparse.Namespace) -> float:
    """How much longer a command and its read take while others wait."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as http:
        writer, *others = [await newcomer(http) for _ in range(1 + args.workspaces)]
        endpoint = (
            await http.post("/v1/webhook-endpoints", json={"url": "https://example.com"}, headers=writer)
        ).json()
        alone: list[list[float]] = []
        among: list[list[float]] = []
        told: list[float] = []
        answers: dict[int, int] = {}
        for _ in range(args.rounds):
            alone.append(await turn(http, writer, endpoint["id"], args.seconds, []))
            waiting = [
                asyncio.create_task(follow(url, others[number % len(others)], answers))
                for number in range(args.followers)
            ]
            await asyncio.sleep(3)
            among.append(await turn(http, writer, endpoint["id"], args.seconds, told))
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    for name, runs in (("alone", alone), (f"among {args.followers} followers", among)):
        p50, p99 = (median(percentile(run, part) for run in runs) for part in (0.5, 0.99))
        print(f"{name:24s} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   {sum(map(len, runs))} commands and reads")
    ratio = median(percentile(b, 0.5) / percentile(a, 0.5) for a, b in zip(alone, among, strict=True))
    print(
        f"ratio of p50 {ratio:.2f} (goal 2 at most); a follower is told after {told and percentile(told, 0.5)} ms (p50)"
    )
    print(f"answers to followers by status: {answers}")
    return ratio


async def newcomer(http: httpx.AsyncClient) -> dict[str, str]:
    """The headers of somebody with a workspace of their own."""
    email = f"bench-{perf_counter_ns_text()}@example.com"
    started = (await http.post("/v1/auth/email/start", json={"email": email})).json()
    code = {"challenge_id": started["challenge_id"], "code": started["dev_code"]}
    answer = await http.post("/v1/auth/email/verify", json=code)
    http.cookies.clear()
    return {"Authorization": f"Bearer {answer.json()['session_token']}"}


def perf_counter_ns_text() -> str:
    """A word that is not used twice."""
    return f"{perf_counter():.9f}".replace(".", "-")


async def follow(url: str, headers: dict[str, str], answers: dict[int, int]) -> None:
    """Wait for events again and again, on one connection, with next to no work of our own."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    after = 0
    try:
        while True:
            asked = f"GET /v1/events?after={after}&wait=15&limit=1000 HTTP/1.1\r\nHost: {place.netloc}\r\n"
            writer.write(f"{asked}Authorization: {headers['Authorization']}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status, length = int(head[9:12]), int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            answers[status] = answers.get(status, 0) + 1
            if status == 200:
                after = json.decode(body)["next"]
            else:
                await asyncio.sleep(1)
    finally:
        writer.close()


async def turn(
    http: httpx.AsyncClient, headers: dict[str, str], endpoint: str, seconds: float, told: list[float]
) -> list[float]:
    """Write and read at an even pace; milliseconds of each pair, and of each event to a follower of the same."""
    latencies: list[float] = []
    path, end = f"/v1/webhook-endpoints/{endpoint}", perf_counter() + seconds
    number = 0
    while (began := perf_counter()) < end:
        number += 1
        change: dict[str, Any] = {"description": f"{perf_counter()}"}
        following = None
        if number % 10 == 2:
            after = (await http.get("/v1/events", params={"after": 0, "limit": 1000}, headers=headers)).json()["next"]
            while True:
                page = await http.get("/v1/events", params={"after": after, "limit": 1000}, headers=headers)
                if not page.json()["events"]:
                    break
                after = page.json()["next"]
            wish = {"after": after, "wait": 15}
            following = asyncio.create_task(http.get("/v1/events", params=wish, headers=headers))
            await asyncio.sleep(0.1)
            began = perf_counter()
        await http.patch(path, json=change, headers=headers)
        accepted = perf_counter()
        await http.get(path, headers=headers)
        latencies.append((perf_counter() - began) * 1000)
        if following is not None:
            await following
            told.append((perf_counter() - accepted) * 1000)
        await asyncio.sleep(PACE_SECONDS)
    return latencies


if __name__ == "__main__":
    main()
