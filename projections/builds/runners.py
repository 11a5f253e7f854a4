"""A runner as the people of its workspace see it."""

from __future__ import annotations

from domain.builds.runners import Isolation, NoSuchRunner, RunnerRegistered, RunnerRemoved
from domain.kernel import Event
from domain.studio.projects import Format, Platform
from projections.kernel import Document, Projection, projection, seconds


class RunnerDocument(Document):
    """One machine that takes builds."""

    id: str
    name: str
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    isolation: Isolation
    version: str
    registered_at: str


def evolve(runner: RunnerDocument | None, event: Event) -> RunnerDocument | None:
    """The runner after one more event; it is gone when it has been removed."""
    match event:
        case RunnerRegistered():
            return RunnerDocument(
                id=event.runner_id,
                name=event.name,
                platforms=event.platforms,
                formats=event.formats,
                isolation=event.isolation,
                version=event.version,
                registered_at=seconds(event.registered_at),
            )
        case RunnerRemoved():
            return None
    return runner


runner_documents: Projection[RunnerDocument] = projection(
    "runners",
    RunnerDocument,
    on={RunnerRegistered: "runner_id", RunnerRemoved: "runner_id"},
    evolve=evolve,
    begins=(RunnerRegistered,),
    absent=NoSuchRunner,
    stream="runner",
)
