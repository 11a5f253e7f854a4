"""One ordinary example of every command of webhooks."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import asdict, replace

from commands.webhooks.deliveries import (
    AskForDelivery,
    BeginAttempt,
    GiveUpDelivery,
    QueueDelivery,
    RecordAttempt,
    ResumeDelivery,
    SkipDelivery,
)
from commands.webhooks.endpoints import ChangeEndpoint, RegisterEndpoint, RemoveEndpoint, RotateEndpointSecret
from commands.webhooks.replays import AdvanceReplay, AskForReplay, EndReplay
from commands.webhooks.secrets import RotateSigningSecret
from tests.examples import Example
from tests.identity.examples import ada

endpoint = RegisterEndpoint(endpoint_id="end-1", workspace_id="w1", url="https://example.com/hook", secret_id="sec-1")
queued = QueueDelivery(
    delivery_id="del-1",
    workspace_id="w1",
    subject_kind="analysis",
    subject_id="an-1",
    url="https://example.com/hook",
    message_type="analysis.completed",
    body="{}",
)
given_up = GiveUpDelivery(delivery_id="del-1", because="exhausted", reason="no attempt is left")
begun = BeginAttempt(delivery_id="del-1", attempt=1, sender="worker", timeout=timedelta(minutes=1))
replayed = AskForReplay(
    replay_id="rep-1",
    workspace_id="w1",
    endpoint_id="end-1",
    after=0,
    until=2,
    event_types=("webhooks.EndpointRegistered",),
    events=1,
)

EXAMPLES = (
    Example(endpoint),
    Example(replayed, [endpoint]),
    Example(
        AdvanceReplay(replay_id="rep-1", after=0, position=1, delivered=1, failed=0, skipped=0), [endpoint, replayed]
    ),
    Example(EndReplay(replay_id="rep-1", because="cancelled"), [endpoint, replayed]),
    Example(ChangeEndpoint(endpoint_id="end-1", workspace_id="w1", description="Ours"), [endpoint]),
    Example(
        RotateEndpointSecret(endpoint_id="end-1", workspace_id="w1", secret_id="sec-2", overlap=timedelta(hours=1)),
        [endpoint],
    ),
    Example(RemoveEndpoint(endpoint_id="end-1", workspace_id="w1"), [endpoint]),
    Example(queued),
    Example(
        AskForDelivery(**asdict(queued) | {"delivery_id": "del-2"}, seen=1),
        [queued],
    ),
    Example(begun, [queued]),
    Example(
        RecordAttempt(
            delivery_id="del-1",
            attempt=1,
            success=True,
            status_code=200,
            error_detail=None,
            signature="v1,x",
            duration_seconds=0.1,
            next_attempt_at=None,
        ),
        [queued, begun],
    ),
    Example(given_up, [queued]),
    Example(ResumeDelivery(delivery_id="del-1"), [queued, given_up]),
    Example(SkipDelivery(delivery_id="del-1"), [queued, given_up]),
    Example(RotateSigningSecret(workspace_id="w1", secret_id="sig-2")),
)

#: What reactions have more to do after.
FURTHER = (
    Example(replace(begun, force=True), [queued]),
    Example(
        ChangeEndpoint(endpoint_id="end-1", workspace_id="w1", description="Ours"),
        [ada, replace(endpoint, event_types=("webhooks.*",))],
    ),
    Example(
        RecordAttempt(
            delivery_id="del-1",
            attempt=1,
            success=False,
            status_code=410,
            error_detail="gone",
            signature=None,
            duration_seconds=0.1,
            next_attempt_at=None,
            gives_up="gone",
        ),
        [ada, endpoint, replace(queued, endpoint_id="end-1"), begun],
    ),
)
