"""Reads the log with the `eventsourcing` library as it is: a history, and a projection that follows.

    POSTGRES_DBNAME=... POSTGRES_HOST=... POSTGRES_PORT=... POSTGRES_USER=... POSTGRES_PASSWORD=... \
        python docs/examples/follow_with_eventsourcing.py STREAM POSITION

Prints the events of STREAM, counts events by kind up to POSITION and beyond, and prints the counts. It needs the
packages of Ledgerline for the shapes of its events, and none of its servers but Postgres.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from adapters.log.library import Recorded

SETTINGS = {
    "PERSISTENCE_MODULE": "eventsourcing.postgres",
    "MAPPER_TOPIC": "adapters.log.library:LedgerMapper",
    "APPLICATION_RECORDER_TOPIC": "adapters.log.library:FollowedRecorder",
    "ORIGINATOR_ID_TYPE": "text",
    "POSTGRES_ORIGINATOR_ID_TYPE": "text",
    "CREATE_TABLE": "no",
    **{name: value for name, value in os.environ.items() if name.startswith("POSTGRES_")},
    # What this projection remembers, it remembers in memory.
    "COUNTING_PERSISTENCE_MODULE": "eventsourcing.popo",
}


class Ledger(Application[str]):
    """The log."""

    name = "ledger"


class Counts(POPOTrackingRecorder):
    """How many events of each kind there were."""

    def __init__(self) -> None:
        super().__init__()
        self.by_kind: Counter[str] = Counter()


class Counting(Projection[Counts]):
    """Counts events."""

    name = "counting"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Count one."""
        assert isinstance(domain_event, Recorded)
        self.view.by_kind[type(domain_event.event).__name__] += 1
        # Whoever waits for the position finds it counted.
        self.view.insert_tracking(tracking)


def main(stream: str, position: int) -> None:
    """Read, then follow."""
    with Ledger(env=SETTINGS) as ledger:
        for recorded in ledger.events.get(stream):
            assert isinstance(recorded, Recorded)
            print(recorded.originator_version, type(recorded.event).__name__)
    with ProjectionRunner(
        application_class=Ledger, projection_class=Counting, view_class=Counts, env=SETTINGS
    ) as runner:
        runner.wait(position, timeout=20)
        print(dict(sorted(runner.projection.view.by_kind.items())))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
