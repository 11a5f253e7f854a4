"""Settings of the event stream."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.sections import Section, Url, says


class Nats(Section, frozen=True):
    """The stream that carries events to every process."""

    nats_url: Annotated[
        Url,
        says(
            "`nats://...`, several with commas; empty makes `up` start its own NATS",
            needed=True,
            schemes=("nats", "tls", "ws", "wss"),
        ),
    ] = Url("")
    nats_replicas: Annotated[int, Meta(ge=1, le=5), says("Copies of each stream in a NATS cluster")] = 1
