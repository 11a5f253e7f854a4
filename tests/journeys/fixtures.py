"""The running service and its neighbours for any test: `stack`, `client`, `account`, `generations`, `audio`, `clip`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from infra.embedded.blobs import EmbeddedBlobs
from tests.journeys.kit import Account, Fork, Neighbour, NewStack, Process, Stack, clip_bytes, register, running_stack


@pytest.fixture(scope="session")
def new_stack(request: pytest.FixtureRequest, blobs: EmbeddedBlobs) -> NewStack:
    """Starts a whole service of one's own, with some settings changed, for a block."""
    databases = request.getfixturevalue("databases")

    def start(**changed: Any) -> AbstractContextManager[Stack]:
        bucket = f"stack-{uuid4().hex}"
        return running_stack(databases.create(), blobs.url, blobs.access_key, blobs.secret_key, bucket, **changed)

    return start


@pytest.fixture(scope="session")
def stack(new_stack: NewStack) -> Iterator[Stack]:
    """Every role of the service in one process, on servers of its own; started when first asked for."""
    with new_stack() as running:
        yield running


@pytest.fixture(scope="session")
def generations(stack: Stack) -> Iterator[Process]:
    """The worker that makes beats for the service; started when first asked for."""
    arguments = ["infra.cli", "react", "--only", "generations"]
    worker = Fork("generations", arguments, stack.settings, stack.directory).start()
    yield worker
    worker.stop()


@pytest.fixture(scope="session")
def client(stack: Stack) -> Iterator[httpx.Client]:
    """HTTP to the service, as nobody in particular."""
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="session")
def elsewhere(stack: Stack) -> Iterator[str]:
    """The URL of a second API process over the same data."""
    with stack.door() as url:
        yield url


@pytest.fixture(scope="session")
def account(client: httpx.Client) -> Callable[[], Account]:
    """Registers somebody new, with a workspace and a key of their own, each time it is called."""
    return lambda: register(client)


@pytest.fixture(scope="session")
def receiver() -> Iterator[Neighbour]:
    """A server that webhooks are sent to; it answers 200 unless told otherwise."""
    with Neighbour() as server:
        yield server


@pytest.fixture(scope="session")
def audio() -> Iterator[Neighbour]:
    """A server that recordings are fetched from: `audio.put("clip.wav", content)` gives the address."""
    with Neighbour() as server:
        yield server


@pytest.fixture(scope="session")
def clip() -> bytes:
    """A recording of two seconds."""
    return clip_bytes()
