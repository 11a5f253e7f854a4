"""A short fault campaign; `make faults` runs the long one."""

from __future__ import annotations

import pytest

from tests.faults.campaign import FAULTS, suffer, verified
from tests.faults.cluster import Cluster


@pytest.mark.parametrize(
    "fault",
    [
        "serve killed",
        "nats killed",
        "postgres killed",
        "connections to postgres cut",
        "messages repeated and out of order",
    ],
)
def test_what_was_acknowledged_is_there_once_whatever_has_died(cluster: Cluster, fault: str) -> None:
    # A turn is several commands in some contexts.
    assert len(suffer(cluster, fault, commands=40, seed=11).acknowledged) > 25


def test_after_all_of_it_everything_that_is_kept_is_as_it_should_be(cluster: Cluster) -> None:
    verified(cluster)


def test_there_are_twenty_faults_to_suffer() -> None:
    assert len(FAULTS) >= 20
