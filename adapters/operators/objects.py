"""Whether every object that an event names is in the store, with the size and the digest that the event tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from adapters.log.eventlog import EventLog
from adapters.operators.findings import Finding, Progress, nobody
from adapters.storage.blobs import Blobs, NoSuchObject
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Value
from domain.ledger import Recorded
from domain.objects import KEEPS, LETS_GO, Kept

PAGE_EVENTS = 5_000
#: So many objects are looked at at once.
LOOKED_AT_TOGETHER = 8


class Looked(Value):
    """How many objects should be there, of how many the bytes were read, and what was found."""

    objects: int
    read: int
    findings: tuple[Finding, ...]


class _Named(NamedTuple):
    kept: Kept
    position: int
    workspace_id: str


class Register:
    """The objects that should be there, as of a position of the log."""

    def __init__(self) -> None:
        self.position = 0
        self.named: dict[str, _Named] = {}
        self._until: dict[str, set[str]] = {}
        self._of_workspace: dict[str, set[str]] = {}
        self._forgotten: set[str] = set()

    async def follow(self, log: EventLog, progress: Progress = nobody) -> None:
        """Read on, up to the end of the log as it is now."""
        head = await log.head()
        while self.position < head and (page := await log.page(self.position, PAGE_EVENTS)):
            for each in page:
                if isinstance(each, Recorded):
                    self._take(each)
            self.position = page[-1].position
            progress("objects", self.position, max(head, self.position))

    def _take(self, recorded: Recorded) -> None:
        event = recorded.event
        if (lets_go := LETS_GO.get(type(event))) is not None:
            for name in lets_go(event):
                self._forget({name, *self._until.pop(name, ())})
        # What was under way when its workspace was forgotten may end and say so, and looks itself that nothing stays.
        if (keeps := KEEPS.get(type(event))) is not None and recorded.workspace_id not in self._forgotten:
            for kept in keeps(event):
                self.named[kept.key] = _Named(kept, recorded.position, recorded.workspace_id)
                self._of_workspace.setdefault(recorded.workspace_id, set()).add(kept.key)
                if kept.until:
                    self._until.setdefault(kept.until, set()).add(kept.key)
        if isinstance(event, WorkspaceForgotten):
            self._forgotten.add(event.workspace_id)
            self._forget(self._of_workspace.pop(event.workspace_id, ()))

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.named.pop(key, None)


async def check_objects(log: EventLog, blobs: Blobs, *, progress: Progress = nobody) -> Looked:
    """Look at every object that should be there. What has been let go meanwhile is not missed."""
    register = Register()
    await register.follow(log, progress)
    total, done, read = len(register.named), 0, 0
    findings: dict[str, Finding] = {}
    waiting = iter(list(register.named.values()))

    async def look() -> None:
        nonlocal done, read
        for named in waiting:
            finding = await _look(named, blobs)
            if finding is not None:
                findings[named.kept.key] = finding
            done, read = done + 1, read + (named.kept.sha256 is not None)
            progress("objects", done, total)

    await asyncio.gather(*(look() for _ in range(LOOKED_AT_TOGETHER)))
    if findings:
        await register.follow(log)
    return Looked(
        objects=total,
        read=read,
        findings=tuple(finding for key, finding in sorted(findings.items()) if key in register.named),
    )


async def _look(named: _Named, blobs: Blobs) -> Finding | None:
    kept = named.kept
    try:
        stat = await blobs.stat(kept.key)
        if kept.size is not None and stat.size != kept.size:
            return _finding("object_differs", named, f"has {stat.size} bytes instead of {kept.size}")
        if kept.sha256 is not None:
            made = sha256()
            async for piece in blobs.read(stat):
                made.update(piece)
            if made.hexdigest() != kept.sha256.lower():
                return _finding("object_differs", named, "has another SHA-256 than the event says")
    except NoSuchObject:
        return _finding("object_missing", named, "is not in the store")
    return None


def _finding(kind: str, named: _Named, what: str) -> Finding:
    text = f"The object {named.kept.key}, named by the event at {named.position}, {what}."
    return Finding(part="objects", kind=kind, message=text, position=named.position, subject=named.kept.key)
