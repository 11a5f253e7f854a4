"""A message that did not arrive is shown to operators, who have it sent again or let go of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from domain.webhooks.deliveries import EndpointIsDisabled
from infra import cli
from tests.journeys.kit import Account, Neighbour, eventually
from tests.operators.conftest import Ask, Operator

Register = Callable[[], Account]

#: How often the service of these tests sends a message by itself.
ATTEMPTS = 5


class Told:
    """An endpoint that hears when it is described anew."""

    def __init__(self, who: Account, receiver: Neighbour, *replies: int) -> None:
        self.who = who
        self.hook = f"hook-{uuid4().hex}"
        self._receiver = receiver
        asked = {"url": receiver.answer(self.hook, *replies), "event_types": ["webhooks.EndpointDescribed"]}
        made = who.post("/v1/webhook-endpoints", json=asked)
        assert made.status_code == 201, made.text
        self.id = str(made.json()["id"])
        self.change(description="Ours")

    def change(self, **changed: Any) -> None:
        """Change it."""
        answer = self.who.request("PATCH", f"/v1/webhook-endpoints/{self.id}", json=changed)
        assert answer.status_code == 200, answer.text

    def posts(self, number: int) -> Any:
        """What has come once it is so many."""
        return eventually(lambda: len(found := self._receiver.received(self.hook)) == number and found)


def parked(operator: Operator, **meant: Any) -> Any:
    return operator.ask("GET", "/admin/parked", params={"kind": "delivery", **meant})


def test_a_message_that_was_given_up_is_shown_and_sent_again_as_it_was(
    ask: Ask, operator: Operator, account: Register, receiver: Neighbour, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(account(), receiver, *[500] * ATTEMPTS, 500, 200)
    [shown] = eventually(lambda: parked(operator, name=told.id), 40)
    assert shown == {
        "kind": "delivery",
        "name": told.id,
        "about": "webhooks.EndpointDescribed",
        "stream": shown["stream"],
        "position": shown["position"],
        "workspace_id": told.who.workspace_id,
        "attempts": ATTEMPTS,
        "problem": "no attempt is left: The receiver answered 500.",
        "code_version": None,
        "parked_at": shown["parked_at"],
    }
    assert ask("parked", "list", "--name", told.id) == [shown]
    assert ask("parked", "show", str(shown["position"])) == [shown]
    [event] = ask("log", "show", str(shown["position"]))
    assert (event["type"], event["stream"]) == ("webhooks.DeliveryGivenUp", shown["stream"])
    mine = {"workspace_id": told.who.workspace_id}
    for meant in ({"name": shown["about"]}, {"stream": shown["stream"]}, {"problem": "ANSWERED 500"}):
        assert parked(operator, **mine, **meant) == [shown], meant
    for meant in ({"name": "x"}, {"problem": "x"}, {"code_version": "1"}, {"position": 1}, {"kind": "job"}):
        assert parked(operator, **{**mine, **meant}) == [], meant
    assert operator.ask("GET", "/admin/status")["given_up"]["deliveries"] >= 1
    assert not [each for each in operator.ask("GET", "/admin/status")["problems"] if "deliver" in each]
    cli.main(["status"])
    assert " deliveries were given up (`ledgerline parked`)." in capsys.readouterr().out

    none = {"jobs": 0, "streams": 0, "deliveries": 0, "refused": []}
    assert operator.ask("POST", "/admin/parked/retry", json={"name": told.id}) == {**none, "deliveries": 1}
    posts = told.posts(ATTEMPTS + 2)
    assert len({(post.body, post.headers["webhook-id"]) for post in posts}) == 1
    assert eventually(lambda: not parked(operator, name=told.id))
    assert ask("parked", "retry", "--name", told.id) == [none]
    [resumed] = operator.ask("GET", "/admin/log", params={**mine, "type": "webhooks.DeliveryResumed"})
    assert (resumed["actor"], resumed["facts"]["attempts"]) == ("operator", ATTEMPTS)
    # Its workspace sees who it was.
    answer = told.who.get("/v1/audit-events", params={"action": "delivery.resumed"})
    [audited] = answer.json()
    assert (audited["target_type"], audited["actor"], audited["ip"]) == ("webhook_delivery", "operator", None)


def test_what_cannot_be_sent_again_is_refused_and_let_go_of(
    ask: Ask, operator: Operator, account: Register, receiver: Neighbour, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(account(), receiver, 410)
    [shown] = eventually(lambda: parked(operator, name=told.id))
    assert shown["problem"] == "the receiver is gone: The receiver answered 410."
    refused = {
        "kind": "delivery",
        "code": "endpoint_is_disabled",
        "message": EndpointIsDisabled().sentence,
        "number": 1,
    }
    none = {"jobs": 0, "streams": 0, "deliveries": 0, "refused": []}
    meant = {"name": told.id, "workspace_id": told.who.workspace_id}
    assert operator.ask("POST", "/admin/parked/retry", json=meant) == {**none, "refused": [refused]}
    assert ask("retry", "--name", told.id, status=1) == [{**none, "refused": [refused]}]
    assert cli.main(["retry", "--name", told.id]) == 1
    assert EndpointIsDisabled().sentence in capsys.readouterr().out
    # Once it may be told again it is.
    told.change(enabled=True)
    assert operator.ask("POST", "/admin/parked/retry", json=meant) == {**none, "deliveries": 1}
    told.posts(2)
    eventually(lambda: parked(operator, name=told.id))
    assert operator.ask("POST", "/admin/parked/skip", json=meant) == {**none, "deliveries": 1}
    assert eventually(lambda: not parked(operator, name=told.id))
    assert ask("parked", "skip", "--yes", "--name", told.id) == [none]
    told.posts(2)


def test_with_an_endpoint_goes_what_it_was_not_told(operator: Operator, account: Register, receiver: Neighbour) -> None:
    told = Told(account(), receiver, 410)
    eventually(lambda: parked(operator, name=told.id))
    assert told.who.request("DELETE", f"/v1/webhook-endpoints/{told.id}").status_code == 200
    assert eventually(lambda: not parked(operator, name=told.id))
