"""The log for programs that use the `eventsourcing` library as it is: to read it, and to follow it.

They name two classes in the library's own settings, `MAPPER_TOPIC` and `APPLICATION_RECORDER_TOPIC`, and call their
application `ledger`; see `docs/examples/follow_with_eventsourcing.py`. Nothing is written this way: what may happen is
decided by commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from eventsourcing.persistence import Mapper, Notification, StoredEvent, Subscription
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresSubscription

from adapters.log import codec
from adapters.log.recorder import TABLE, WRITING, LedgerRecorder
from domain.kernel import Event

#: How often somebody who follows looks for what is new: whoever appends notifies nobody.
POLL_SECONDS = 0.1


class ReadOnly(Exception):
    """The log is written by commands, which know the rules."""


@dataclass(frozen=True)
class Recorded:
    """An event in its place, as the library wants it; personal fields of `event` stay sealed."""

    originator_id: str
    originator_version: int
    event: Event


class LedgerMapper(Mapper[str]):
    """Stored events in today's shape, whatever version of them was stored."""

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:
        """The event. What the library selects has no schema version: it is that which its facts fit."""
        return Recorded(
            str(stored_event.originator_id),
            stored_event.originator_version,
            codec.decode_of_any_version(stored_event.topic, stored_event.state),
        )

    def to_stored_event(self, domain_event: Any) -> NoReturn:  # noqa: ARG002 - the library's own signature
        """Refuse."""
        raise ReadOnly


class FollowedRecorder(LedgerRecorder):
    """Selects nothing beyond a hole that somebody might still fill, and wakes those who follow by itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._final = 0

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The next events, all there will ever be up to the last of them."""
        found: Sequence[Notification] = super().select_notifications(
            start, limit, stop, topics, inclusive_of_start=inclusive_of_start
        )
        if found and found[-1].id > self._final:
            # See `EventLog.raw_page`: whoever has this lock knows that what was drawn is there, or never will be.
            with self.datastore.transaction(commit=True) as cursor:
                cursor.execute(f"SELECT pg_advisory_xact_lock({WRITING})".encode())
                cursor.execute(f"SELECT last_value FROM {TABLE}_notification_id_seq".encode())
                frontier = int((cursor.fetchone() or {"last_value": 0})["last_value"])
            again = super().select_notifications(start, limit, stop, topics, inclusive_of_start=inclusive_of_start)
            found = [each for each in again if each.id <= frontier]
            self._final = max(self._final, found[-1].id if found else 0)
        return found

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[Any]:
        """What follows the log from a position on."""
        return _Polling(recorder=self, gt=gt, topics=topics)


class _Polling(PostgresSubscription):
    """Looks again and again."""

    def __init__(self, recorder: PostgresApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)

    def _listen(self) -> None:
        from time import sleep

        while not self._has_been_stopped and not self._thread_error:
            self._has_been_notified.set()
            sleep(POLL_SECONDS)
