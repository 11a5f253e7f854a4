"""A service in separate processes on servers of its own, all of which may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.stack import start_together, stop_together
from tests.faults.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Six processes and three servers, for the tests of one module."""
    directory: Path = tmp_path_factory.mktemp("faults")
    # PostgreSQL may have to run as another user, who has to reach its directory.
    postgres = EmbeddedPostgres(directory / "postgres", settings={"fsync": "off"}, sync=False)
    nats, blobs = EmbeddedNats(directory / "nats"), EmbeddedBlobs(directory / "blobs")
    start_together([postgres, nats, blobs])
    try:
        with Cluster(postgres, nats, blobs, directory) as running:
            yield running
    finally:
        stop_together([postgres, nats, blobs])
