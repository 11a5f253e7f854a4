"""Every role is killed under load, work is done again, and NATS is away for a while.

Longer than tests should be: `make faults` runs it.
"""

from __future__ import annotations

from tests.faults.cluster import ROLES, Cluster, Crowd


def test_each_role_is_killed_while_two_hundred_recordings_come_in(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "killed")
    with crowd.handing_in(200):
        for turn, name in enumerate(ROLES):
            crowd.after(10 + turn * 30)
            cluster.crash(name)
    cluster.await_ready(*ROLES)
    crowd.check()


def test_workers_that_die_after_their_work_and_before_saying_so_have_it_done_again_without_effect(
    cluster: Cluster,
) -> None:
    crowd = Crowd(cluster, "again")
    with crowd.handing_in(10):
        crowd.upload()
    crowd.check()
    assert crowd.repeat_every_job() > 4 * 10
    crowd.check()


def test_nats_is_away_and_comes_back(cluster: Cluster) -> None:
    crowd = Crowd(cluster, "nats")
    with crowd.handing_in(40):
        crowd.after(10)
        cluster.nats.stop()
        crowd.after(30)
        cluster.nats.start()
    crowd.check()
