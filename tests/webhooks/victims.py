"""What of webhooks belongs to somebody else."""

from __future__ import annotations

from tests.identity.crowd import Visitor
from tests.journeys.kit import Neighbour, eventually
from tests.victims import Make, made


def _endpoint(them: Visitor, neighbour: Neighbour) -> str:
    return made(them, "/v1/webhook-endpoints", {"url": neighbour.at("somebody-else")})


def _delivery(them: Visitor, neighbour: Neighbour) -> str:
    tried = them.post(f"/v1/webhook-endpoints/{_endpoint(them, neighbour)}/test")
    assert tried.status_code < 300, tried.text
    return eventually(lambda: str(them.get("/v1/webhook-deliveries").json()[0]["id"]))


THEIRS: dict[str, Make] = {
    "endpoint_id": _endpoint,
    "delivery_id": _delivery,
    "replay_id": lambda them, near: made(
        them, f"/v1/webhook-endpoints/{_endpoint(them, near)}/replay", {"after": 0, "event_types": ["webhooks.*"]}
    ),
}
BODIES = {"POST /v1/webhook-endpoints/{endpoint_id}/replay": {"after": 0}}
