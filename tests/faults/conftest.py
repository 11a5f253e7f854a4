"""A service in separate processes on servers of its own, all of which may be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.campaign import cluster_in
from tests.faults.cluster import Cluster
from tests.journeys.kit import Fork


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Six processes and three servers, for the tests of one module."""
    # PostgreSQL may have to run as another user, who has to reach its directory.
    with cluster_in(tmp_path_factory.mktemp("faults"), Fork) as running:
        yield running
