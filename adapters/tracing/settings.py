"""Settings of traces."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.sections import Section, Url, says


class Traces(Section, frozen=True):
    """Where spans of requests, and of what follows from them, are sent."""

    traces_url: Annotated[
        Url, says("Who takes spans by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; needs the extra `otel`")
    ] = Url("")
    traces_ratio: Annotated[float, Meta(ge=0, le=1), says("The part of the traces begun here that is collected")] = 1.0
