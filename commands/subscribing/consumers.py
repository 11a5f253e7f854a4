"""Making consumers, and removing them."""

from __future__ import annotations

from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, handles, part_of
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed
from domain.published import matching
from domain.subscribing.consumers import (
    CONSUMERS_MAX,
    ConsumerMade,
    ConsumerRemoved,
    NoSuchConsumer,
    TooManyConsumers,
    consumer_books,
)


class MakeConsumer(Command):
    """Keep a place from after a position for a reader of these types, or patterns of them; none: of all."""

    consumer_id: str
    workspace_id: str
    name: str
    event_types: tuple[str, ...] = ()
    after: int = 0
    once: Once | None = None


@handles(MakeConsumer)
async def make(wish: MakeConsumer, transaction: Transaction) -> None:
    """A consumer is made once, of types that there are, while there is room."""
    if not await claim(transaction, wish.once, wish.consumer_id):
        return
    consumer_ids = (await transaction.find(consumer_books, wish.workspace_id)).consumer_ids
    if wish.consumer_id in consumer_ids:
        return
    matching(wish.event_types)
    if len(consumer_ids) >= CONSUMERS_MAX:
        raise TooManyConsumers(consumers_max=CONSUMERS_MAX)
    made = ConsumerMade(
        consumer_id=wish.consumer_id,
        workspace_id=wish.workspace_id,
        name=wish.name,
        event_types=wish.event_types,
        after=wish.after,
        made_at=transaction.now,
    )
    transaction.record(consumer_books, wish.workspace_id, made)


class RemoveConsumer(Command):
    """Keep its place no more."""

    consumer_id: str
    workspace_id: str


@handles(RemoveConsumer)
async def remove(wish: RemoveConsumer, transaction: Transaction) -> None:
    """What is there can be removed."""
    if wish.consumer_id not in (await transaction.find(consumer_books, wish.workspace_id)).consumer_ids:
        raise NoSuchConsumer
    _remove(wish.consumer_id, wish.workspace_id, transaction)


@part_of(WorkspaceReclaimed, WorkspaceForgotten)
async def remove_all(event: WorkspaceReclaimed | WorkspaceForgotten, transaction: Transaction) -> None:
    """No place is kept in what is no more, or for whoever had a workspace before its owner came."""
    for consumer_id in (await transaction.find(consumer_books, event.workspace_id)).consumer_ids:
        _remove(consumer_id, event.workspace_id, transaction)


def _remove(consumer_id: str, workspace_id: str, transaction: Transaction) -> None:
    removed = ConsumerRemoved(consumer_id=consumer_id, workspace_id=workspace_id, removed_at=transaction.now)
    transaction.record(consumer_books, workspace_id, removed, workspace_id=workspace_id)
