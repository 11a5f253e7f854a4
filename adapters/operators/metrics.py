"""What a process counts, in the words and units of Prometheus; labels are names of ours and so are few.

Requests are counted by hand: a histogram of the library costs more than half of what a small answer does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from time import time
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

if TYPE_CHECKING:  # every process counts, few ask how the whole service is
    from adapters.operators.status import Status

CONTENT_TYPE = CONTENT_TYPE_LATEST

#: Seconds; a small answer takes two milliseconds, and a page waits two seconds for its read model at most.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

disable_created_metrics()  # type: ignore[no-untyped-call]  # when each label was first seen is of no use to anybody here
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

JOBS = Counter(
    "ledgerline_jobs",
    "Attempts at jobs that have ended: done, failed (tried again), given_up, parked, taken (over by another worker).",
    ["reaction", "outcome"], registry=REGISTRY,
)  # fmt: skip
WEBHOOKS = Counter(
    "ledgerline_webhook_attempts",
    "Messages sent: delivered (2xx), refused (any other answer), unreachable (none).",
    ["outcome"], registry=REGISTRY,
)  # fmt: skip
for _outcome in ("delivered", "refused", "unreachable"):
    WEBHOOKS.labels(_outcome)
JOB_SECONDS = Histogram(
    "ledgerline_job_duration_seconds", "How long attempts at jobs took.", ["reaction"], registry=REGISTRY,
    buckets=(0.01, 0.1, 0.5, 1, 5, 15, 60, 300),
)  # fmt: skip


class Requests:
    """HTTP requests that were answered, by surface, method and status; and how long they took, by surface."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str, int], int] = defaultdict(int)
        self._took: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = defaultdict(float)

    def answered(self, surface: str, method: str, status: int, seconds: float) -> None:
        """Count one."""
        self._answered[surface, method if method in METHODS else "other", status] += 1
        took = self._took.get(surface)
        if took is None:
            took = self._took[surface] = [0] * (len(BUCKETS) + 1)
        took[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[surface] += seconds

    def collect(self) -> Iterator[Metric]:
        """What was counted so far."""
        answered = CounterMetricFamily(
            "ledgerline_http_requests", "HTTP requests answered.", labels=["surface", "method", "status"]
        )
        for (surface, method, status), count in list(self._answered.items()):
            answered.add_metric([surface, method, str(status)], count)
        yield answered
        took = HistogramMetricFamily(
            "ledgerline_http_request_duration_seconds", "How long answers took.", labels=["surface"]
        )
        for surface, counts in list(self._took.items()):
            total, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            took.add_metric([surface], buckets, sum_value=self._seconds[surface])
        yield took


class Service:
    """How the whole service is, as the role that looks (`tick`) saw it last; other processes do not say."""

    def __init__(self) -> None:
        self._seen: tuple[float, Status] | None = None

    def saw(self, status: Status) -> None:
        """So it is now."""
        self._seen = (time(), status)

    def collect(self) -> Iterator[Metric]:
        """What was seen."""
        yield _gauge("ledgerline_build_info", "Which version runs.", ["version"], [([version("ledgerline")], 1)])
        if self._seen is None:
            return
        at, status = self._seen
        yield _gauge("ledgerline_status_timestamp_seconds", "When what follows was seen.", [], [([], at)])
        yield _gauge("ledgerline_log_position", "The position of the newest event.", [], [([], status.head)])
        yield _gauge("ledgerline_log_events", "About how many events there are.", [], [([], status.events_estimate)])
        followers = [each for each in status.followers if each.kind != "rebuild"]
        for name, text, values in (
            (
                "lag_events",
                "Positions of the log that are not followed yet.",
                [each.behind_events for each in followers],
            ),
            ("lag_seconds", "Age of the oldest event not followed yet.", [each.behind_seconds for each in followers]),
        ):
            rows = [([each.kind, each.name], value) for each, value in zip(followers, values, strict=True)]
            yield _gauge(f"ledgerline_follower_{name}", text, ["kind", "name"], rows)
        yield _gauge(
            "ledgerline_rebuilds", "Read models that are being folded again.", [],
            [([], sum(each.kind == "rebuild" for each in status.followers))],
        )  # fmt: skip
        yield _gauge(
            "ledgerline_queue_jobs", "Jobs that are not done, counted up to ten thousand.", ["queue", "state"],
            [
                ([each.queue, state], getattr(each, state))
                for each in status.queues
                for state in ("ready", "running", "waiting", "parked")
            ],
        )  # fmt: skip
        yield _gauge(
            "ledgerline_queue_oldest_seconds", "How long the oldest ready job has waited.", ["queue"],
            [([each.queue], each.oldest_seconds) for each in status.queues],
        )  # fmt: skip
        yield _gauge("ledgerline_parked_streams", "Streams parked in read models.", [], [([], status.parked_streams)])
        yield _gauge(
            "ledgerline_given_up", "Things of contexts that were given up, counted up to a thousand.", ["what"],
            [([what], number) for what, number in status.given_up.items()],
        )  # fmt: skip
        running: dict[str, int] = defaultdict(int)
        for role in status.roles:
            running[role.role] += role.state == "running" and role.is_ready
        yield _gauge(
            "ledgerline_role_processes", "Processes of a role that are ready; 0: it was there and is not.", ["role"],
            [([role], count) for role, count in running.items()],
        )  # fmt: skip
        yield _gauge(
            "ledgerline_store_up", "Whether a store answers.", ["store"],
            [([each.name], each.state == "ok") for each in status.stores],
        )  # fmt: skip
        yield _gauge(
            "ledgerline_store_size_bytes", "What a store holds.", ["store"],
            [([each.name], each.size_bytes) for each in status.stores if each.size_bytes is not None],
        )  # fmt: skip
        if status.disk is not None:
            free, total = status.disk.free_bytes, status.disk.total_bytes
            yield _gauge("ledgerline_disk_free_bytes", "Room on the disk of the data directory.", [], [([], free)])
            yield _gauge("ledgerline_disk_size_bytes", "The size of that disk.", [], [([], total)])


def _gauge(name: str, text: str, labels: list[str], rows: list[tuple[list[str], float]]) -> Metric:
    made = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        made.add_metric(values, float(value))
    return made


REQUESTS, SERVICE = Requests(), Service()
REGISTRY.register(REQUESTS)
REGISTRY.register(SERVICE)


def exposition() -> bytes:
    """Everything this process has counted, as Prometheus reads it."""
    return generate_latest(REGISTRY)
