"""Events per second from the ledger into JetStream, acknowledged and in order."""

from __future__ import annotations

import asyncio
from time import perf_counter

import structlog

from adapters.stream.bus import Bus
from adapters.stream.relay import Relay
from tests.benchmarks.measuring import argument, database, ledger, median, nats, postgres, run, say, until
from tests.benchmarks.orchards import fill


async def main() -> None:
    """Fill an empty stream, again and again; then the same messages with nobody waiting for acknowledgements."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    events, rounds = argument("events", 50_000), argument("rounds", 3)
    with postgres() as server, nats() as messages:
        url = database(server)
        fill(url, events)
        relayed, limit = [], []
        for number in range(rounds):
            bus = Bus(messages.url, f"bench{number}")
            bus.start()
            await bus.connected(10)
            async with ledger(url) as (log, _):
                relay, stop = Relay(log, bus, url), asyncio.Event()
                begin = perf_counter()
                running = asyncio.create_task(relay.run(stop))
                await arrived(relay, events)
                relayed.append(events / (perf_counter() - begin))
                stop.set()
                await running
            await bus.client.jetstream().delete_stream(bus.stream)
            body = b"x" * 350
            begin = perf_counter()
            for _ in range(events):
                await bus.client.publish("nobody", body, headers={"Nats-Msg-Id": "1"})
            await bus.client.flush()
            limit.append(events / (perf_counter() - begin))
            await bus.close()
        print(f"relay, {events:,} events, medians of {rounds} rounds")
        say("ledger to JetStream, acknowledged", median(relayed), "events/s", goal=">= 25,000")
        say("publishing alone, to nobody", median(limit), "events/s", note="the client's limit")
        say("ours / limit", median([a / b for a, b in zip(relayed, limit, strict=True)]), "x")


async def arrived(relay: Relay, position: int) -> None:
    """Until everything is acknowledged."""
    await until(lambda: relay.position >= position)


if __name__ == "__main__":
    run(main)
