"""A trace that a client brings is found again in the log, in log lines, and in the webhooks that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

from tests.journeys.kit import Account, Neighbour, Stack, eventually
from tests.operators.conftest import Ask


def test_a_trace_goes_through_from_the_request_to_the_webhook(
    stack: Stack, ask: Ask, account: Callable[[], Account], receiver: Neighbour, audio: Neighbour
) -> None:
    me, name, trace_id = account(), f"traced-{uuid4().hex}", uuid4().hex
    hook = receiver.answer(name, 200)
    header = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    letter = audio.put(f"{name}.txt", b"A letter, and not a song.\n" * 200)
    answer = me.post("/v1/analyze/url", json={"url": letter, "webhook_url": hook}, headers=header)
    assert answer.status_code == 202, answer.text

    [told] = eventually(lambda: receiver.received(name), 60)
    assert told.headers["traceparent"] == header["traceparent"]
    found = eventually(lambda: _whole(ask("log", "search", "--trace", trace_id)))
    assert {each["traceparent"] for each in found} == {header["traceparent"]}
    assert {"analyses.AnalysisRequested", "analyses.AnalysisFailed", "webhooks.DeliveryQueued"} <= {
        each["type"] for each in found
    }
    [explained] = ask("log", "explain", trace_id)
    assert explained["correlation_id"] == found[0]["correlation_id"]
    lines = eventually(lambda: [json.loads(line) for line in stack.log.splitlines() if trace_id in line])
    assert {each["event"] for each in lines} >= {"request.answered", "webhook.delivered"}
    assert {each["trace_id"] for each in lines} == {trace_id}


def _whole(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return found if any(each["type"] == "webhooks.DeliveryAttempted" for each in found) else []
