"""Any command may claim the key that its request came under: the same request acts once, another one is refused."""

from __future__ import annotations

from datetime import timedelta

from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, handles
from domain.idempotency import IdempotencyKeyReused, IdempotencyKeyUsed, claims
from tests.core.orchard import TreeIsFelled, TreePlanted, trees
from tests.spec import NOW, given

DAY = timedelta(hours=24)


class PlantUnderKey(Command):
    """Plant a tree, once for each key."""

    tree_id: str
    once: Once | None
    in_a_drought: bool = False


@handles(PlantUnderKey)
async def plant_under_key(wish: PlantUnderKey, transaction: Transaction) -> None:
    """Nothing is planted in a drought."""
    if not await claim(transaction, wish.once, wish.tree_id):
        return
    await transaction.find(trees, wish.tree_id)
    if wish.in_a_drought:
        raise TreeIsFelled
    transaction.record(trees, wish.tree_id, TreePlanted(tree_id=wish.tree_id))


def under(key: str, payload: str = "oak") -> Once:
    return Once(claim_id=key, payload_digest=payload, lifetime=DAY)


def key_used(tree_id: str) -> IdempotencyKeyUsed:
    return IdempotencyKeyUsed(claim_id="k", payload_digest="oak", subject_id=tree_id, used_at=NOW, expires_at=NOW + DAY)


first = PlantUnderKey(tree_id="t1", once=under("k"))


def test_the_claim_is_written_with_what_was_made_and_names_it() -> None:
    given().when(first).then(key_used("t1"), TreePlanted(tree_id="t1"))


def test_the_same_request_again_makes_nothing_new() -> None:
    given().when(first, PlantUnderKey(tree_id="t2", once=under("k"))).then()


def test_another_request_under_the_same_key_is_refused() -> None:
    other = PlantUnderKey(tree_id="t2", once=under("k", "elm"))
    given().when(first, other).refused(IdempotencyKeyReused)


def test_another_key_and_no_key_are_requests_of_their_own() -> None:
    given().when(first, PlantUnderKey(tree_id="t2", once=None)).then(TreePlanted(tree_id="t2"))
    given((claims.stream("k"), key_used("t1"))).when(PlantUnderKey(tree_id="t2", once=under("l"))).then(
        IdempotencyKeyUsed(claim_id="l", payload_digest="oak", subject_id="t2", used_at=NOW, expires_at=NOW + DAY),
        TreePlanted(tree_id="t2"),
    )


def test_a_key_is_free_again_after_its_time() -> None:
    past = (claims.stream("k"), key_used("t1"))
    again = PlantUnderKey(tree_id="t2", once=under("k", "elm"))
    given(past).when(again, now=NOW + DAY - timedelta(microseconds=1)).refused(IdempotencyKeyReused)
    assert given(past).when(again, now=NOW + DAY).refusal is None


def test_a_request_that_is_refused_leaves_its_key_free() -> None:
    refused = PlantUnderKey(tree_id="t1", once=under("k"), in_a_drought=True)
    given().when(refused).refused(TreeIsFelled)
