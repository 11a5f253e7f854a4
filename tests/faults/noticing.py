"""What the campaign compares with notices each thing that is not as it should be.

Longer than tests should be: `make faults` runs it, before it trusts what is compared.
"""

from __future__ import annotations

import random

import pytest

from tests.faults.campaign import Mixture, Written
from tests.faults.cluster import Cluster, rested
from tests.faults.subscribing import Heard, check
from tests.journeys.kit import eventually


def test_a_command_that_was_acknowledged_and_lost_is_noticed(cluster: Cluster) -> None:
    people = Mixture(cluster, "liars", 3)
    with people.busy(5):
        pass
    people.check_acknowledged()
    people.acknowledged.append(Written("identity.ApiKeyIssued", "api_key_id", "never-written"))

    with pytest.raises(AssertionError, match="never-written"):
        people.check_acknowledged()


def test_a_world_that_is_not_as_its_maker_left_it_is_noticed(cluster: Cluster) -> None:
    people = Mixture(cluster, "forgers", 4)
    chance = random.Random(4)
    with people.busy(0):
        for turn in (
            people.worlds.project,
            people.worlds.license,
            people.worlds.beat,
            people.worlds.track,
            people.worlds.track,
            people.worlds.replay,
            people.teams.team,
            *[people.paying.subscription] * 4,
        ):
            turn(chance)
    eventually(lambda: rested(cluster), timeout=60)
    people.check_acknowledged()
    _, roles = next(iter(people.teams.roles.values()))
    roles["nobody"] = "viewer"
    with pytest.raises(AssertionError, match="team"):
        people.teams.compare()
    code = next(iter(people.worlds.machines))
    people.worlds.revoked ^= {code}
    with pytest.raises(AssertionError):
        people.worlds.compare()
    people.worlds.revoked ^= {code}
    people.worlds.replays.add("never-asked")
    with pytest.raises(AssertionError, match="404"):
        people.worlds.compare()
    people.worlds.replays.discard("never-asked")
    paid = next(each for each in people.paying.subscriptions.values() if each is not None)
    paid["status"] = "canceled" if paid["status"] != "canceled" else "active"
    with pytest.raises(AssertionError, match="'plan'"):
        people.paying.compare()
    forged = people.worlds.machines[next(iter(people.worlds.machines))]
    forged.add("nobody's")
    with pytest.raises(AssertionError, match="seats"):
        people.worlds.compare()
    forged.discard("nobody's")
    people.worlds.projects["never-made"] = "Nobody's"
    with pytest.raises(AssertionError):
        people.worlds.compare()
    del people.worlds.projects["never-made"]
    people.worlds.titles = dict.fromkeys(people.worlds.titles, "Another")
    with pytest.raises(AssertionError):
        people.worlds.compare()


def test_a_subscriber_who_was_not_told_as_it_was_is_noticed(cluster: Cluster) -> None:
    people = Mixture(cluster, "readers", 5)
    with people.busy(10):
        pass
    people.subscribers.compare()
    due = people.subscribers.published()
    for reader in people.subscribers.all:
        check(reader, due)
    everything, some, _ = people.subscribers.all

    last = everything.heard.pop()
    with pytest.raises(AssertionError, match="not told of"):
        check(everything, {**due, last.position: last.told})
    everything.heard.append(last)
    first = everything.heard[0]
    of_another = Heard(last.position + 1, last.told._replace(source="urn:ledgerline:workspace:another"), 0)
    for odd in (of_another, first._replace(told=first.told._replace(event_id="another"))):
        everything.heard.append(odd)
        with pytest.raises(AssertionError, match="otherwise"):
            check(everything, due)
        everything.heard.pop()
    some.heard.append(first)
    with pytest.raises(AssertionError, match="otherwise"):
        check(some, due)
    everything.heard.append(first._replace(after=first.position))
    with pytest.raises(AssertionError, match="told again"):
        check(everything, due)
    everything.heard.pop()
    everything.places += [last.position, first.position]
    with pytest.raises(AssertionError, match="put back"):
        check(everything, due)
    everything.places.sort()
    everything.refused.add("the key opens nothing")
    with pytest.raises(AssertionError, match="opens nothing"):
        check(everything, due)
