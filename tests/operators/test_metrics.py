"""What is counted is told as Prometheus reads it, and rules and dashboard name only what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from adapters.operators import metrics
from adapters.operators.status import Disk, Follower, QueueStatus, Role, Status, Store
from infra.health import Health
from tests.infra.test_health import ask as ask_health
from tests.journeys.kit import Account, eventually
from tests.operators.conftest import Operator

MONITORING = Path(metrics.__file__).parents[2] / "infra" / "monitoring"

WELL = Status(
    head=7,
    events_estimate=7,
    events_per_second=None,
    roles=(
        Role(
            role="relay",
            state="running",
            is_ready=True,
            host="h",
            pid=1,
            version="1",
            started_at=datetime.now(UTC),
            seen_seconds=0,
            memory_bytes=1,
            problem=None,
        ),
    ),
    followers=(
        Follower(name="jobs", kind="jobs", position=5, behind_events=2, behind_seconds=3.5, seen_seconds=0),
        Follower(name="tracks v2", kind="rebuild", position=1, behind_events=6, behind_seconds=9, seen_seconds=0),
    ),
    queues=(QueueStatus(queue="analyses", ready=1, running=2, waiting=3, parked=4, oldest_seconds=5),),
    waiting=(),
    parked_streams=0,
    given_up={"deliveries": 6},
    stores=(Store(name="postgres", state="ok", size_bytes=9),),
    disk=Disk(path="/", free_bytes=1, total_bytes=2),
    problems=(),
)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> metrics.Service:
    """What `tick` tells, of which nothing has been seen yet."""
    monkeypatch.setattr(metrics.SERVICE, "_seen", None)
    return metrics.SERVICE


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for each in family.samples:
            found[each.name, tuple(sorted(each.labels.items()))] = each.value
    return found


def names() -> set[str]:
    return {name for name, _ in samples()}


def test_how_the_service_is_can_be_read(service: metrics.Service) -> None:
    assert not any(name.startswith("ledgerline_follower") for name in names())
    service.saw(WELL)
    found = samples()
    assert found["ledgerline_follower_lag_seconds", (("kind", "jobs"), ("name", "jobs"))] == 3.5
    assert found["ledgerline_queue_jobs", (("queue", "analyses"), ("state", "parked"))] == 4
    assert found["ledgerline_given_up", (("what", "deliveries"),)] == 6
    assert found["ledgerline_role_processes", (("role", "relay"),)] == 1
    assert found["ledgerline_rebuilds", ()] == 1
    assert ("ledgerline_follower_lag_seconds", (("kind", "rebuild"), ("name", "jobs v2"))) not in found


def test_requests_are_counted_into_their_buckets() -> None:
    requests = metrics.Requests()
    for method, status, seconds in (("GET", 200, 0.001), ("GET", 200, 0.03), ("BREW", 418, 99.0)):
        requests.answered("Ledgerline", method, status, seconds)
    answered, took = requests.collect()
    assert {tuple(each.labels.values()): each.value for each in answered.samples} == {
        ("Ledgerline", "GET", "200"): 2,
        ("Ledgerline", "other", "418"): 1,
    }
    by_bound = {each.labels["le"]: each.value for each in took.samples if each.name.endswith("_bucket")}
    assert (by_bound["0.005"], by_bound["0.025"], by_bound["0.05"], by_bound["10.0"], by_bound["+Inf"]) == (
        1,
        1,
        2,
        2,
        3,
    )


def exprs() -> list[tuple[str, str]]:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    board = json.loads((MONITORING / "dashboard.json").read_text())
    found = [(each["alert"], each["expr"]) for group in rules["groups"] for each in group["rules"]]
    return found + [(panel["title"], each["expr"]) for panel in board["panels"] for each in panel["targets"]]


@pytest.mark.parametrize(("where", "expr"), exprs(), ids=lambda each: "")
def test_every_metric_and_label_that_is_named_exists(service: metrics.Service, where: str, expr: str) -> None:
    service.saw(WELL)
    metrics.JOBS.labels("analyse-audio", "done").inc(0)
    metrics.REQUESTS.answered("Ledgerline", "GET", 200, 0.1)
    known = {name: {label for label, _ in labels} for name, labels in samples()}
    bare = re.sub(r'"[^"]*"', '""', expr)
    named = re.findall(r"\b((?:ledgerline|process)_\w+)(?:{([^}]*)})?", bare)
    assert named, expr
    for name, chosen in named:
        assert name in known, (where, name)
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)", chosen)) <= known[name], (where, chosen)


def test_every_rule_says_what_is_wrong_and_for_how_long() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    for each in (rule for group in rules["groups"] for rule in group["rules"]):
        assert set(each) == {"alert", "expr", "for", "labels", "annotations"}
        assert each["labels"]["severity"] in {"warning", "critical"}
        assert each["annotations"]["summary"]


def test_every_metric_of_ours_is_documented(service: metrics.Service) -> None:
    service.saw(WELL)
    documented = (MONITORING.parents[1] / "docs" / "operators.md").read_text()
    families = text_string_to_metric_families(metrics.exposition().decode())
    ours = {each.name for each in families if each.name.startswith("ledgerline_")}
    assert len(ours) > 12
    assert not {name for name in ours if f"`{name}" not in documented}


async def test_a_role_without_an_api_tells_them_beside_its_health() -> None:
    async with Health("relay") as probe:
        await probe.start("127.0.0.1", 0)
        status, headers, body = await ask_health(probe.port, "GET /metrics")
        assert (status, headers["content-type"]) == (200, metrics.CONTENT_TYPE)
        assert b"process_resident_memory_bytes" in body
        assert (await ask_health(probe.port, "POST /metrics"))[0] == 405


def test_the_api_counts_its_answers_by_surface(
    operator: Operator,
    client: httpx.Client,
    account: Callable[[], Account],
) -> None:
    person = account()

    def read() -> dict[str, Any]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {operator.token}"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == metrics.CONTENT_TYPE
        return {
            f"{each.name}{sorted(each.labels.items())}": each.value
            for family in text_string_to_metric_families(answer.text)
            for each in family.samples
        }

    def count(found: dict[str, Any], surface: str, status: str) -> float:
        key = f"ledgerline_http_requests_total{sorted({'surface': surface, 'method': 'GET', 'status': status}.items())}"
        return float(found.get(key, 0))

    before = read()
    for _ in range(3):
        person.get("/v1/usage")
    client.get("/nothing/here")
    after = read()
    assert count(after, "Ledgerline", "200") - count(before, "Ledgerline", "200") >= 3
    assert count(after, "none", "404") > count(before, "none", "404")
    # Everything runs in one process there, `tick` among it.
    eventually(lambda: any(each.startswith("ledgerline_follower_lag_seconds") for each in read()), 60)
