"""A short fault campaign; `make faults` runs the long one."""

from __future__ import annotations

import pytest

from tests.faults.campaign import FAULTS, Mixture, Written, suffer
from tests.faults.cluster import Cluster


@pytest.mark.parametrize("fault", ["serve killed", "nats killed", "postgres killed", "connections to postgres cut"])
def test_what_was_acknowledged_is_there_once_whatever_has_died(cluster: Cluster, fault: str) -> None:
    assert suffer(cluster, fault, commands=60, seed=11) > 40


def test_a_command_that_was_acknowledged_and_lost_is_noticed(cluster: Cluster) -> None:
    people = Mixture(cluster, "liars", 3)
    with people.busy(5):
        pass
    people.check_acknowledged()
    people.acknowledged.append(Written("identity.ApiKeyIssued", "api_key_id", "never-written"))

    with pytest.raises(AssertionError, match="never-written"):
        people.check_acknowledged()


def test_there_are_twenty_faults_to_suffer() -> None:
    assert len(FAULTS) >= 20
