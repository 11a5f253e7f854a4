"""Secrets of a project: what its signing step is given, under names; what they are lies sealed in the object store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from msgspec import field
from msgspec.structs import replace

from domain.builds import keys
from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, Value
from domain.objects import Kept, keeps, lets_go

SECRETS_MAX = 50
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
#: What every step has in its environment, or what would change what its programs are.
_TAKEN = re.compile(
    r"(?:PATH|HOME|TMPDIR|USER|LOGNAME|LANG|TERM|SHELL|IFS|ENV|CI|ARTIFACT|FORMAT|(?:LD|DYLD|GIT|PYTHON|LEDGERLINE|BASH)_.*)"
)


class SecretSet(Event):
    """A project has this secret, under this name; the one it had under that name is gone."""

    target: ClassVar[str] = "project"

    project_id: str
    workspace_id: str
    name: str
    secret_id: str
    set_at: datetime
    replaces: str | None = None


class SecretRemoved(Event):
    """It has none under this name any more."""

    target: ClassVar[str] = "project"

    project_id: str
    workspace_id: str
    name: str
    secret_id: str
    removed_at: datetime


class Held(Value):
    """Which secret a name stands for, and since when."""

    secret_id: str
    set_at: datetime


class ProjectSecrets(State):
    """The secrets of a project by their names."""

    held: Mapping[str, Held] = field(default_factory=dict)


def evolve(secrets: ProjectSecrets, event: Event) -> ProjectSecrets:
    """The secrets after one more event."""
    match event:
        case SecretSet():
            held = Held(secret_id=event.secret_id, set_at=event.set_at)
            return replace(secrets, held={**secrets.held, event.name: held})
        case SecretRemoved():
            return replace(secrets, held={name: each for name, each in secrets.held.items() if name != event.name})
    return secrets


class NoSuchSecret(NotFound):
    """The project has no secret of this name."""


class TooManySecrets(Conflict):
    """A project has {secrets_max} secrets at most. Remove one first."""


class BadSecretName(Invalid):
    """A secret is called by capitals, digits and underscores, 64 at most, and not as what every program looks for."""


def check_name(name: str) -> None:
    """Refuse what is no name of a variable, and names that mean something to every program."""
    if not _NAME.fullmatch(name) or _TAKEN.fullmatch(name):
        raise BadSecretName(loc=("path", "name"))


project_secrets = Category(name="project-secrets", initial=ProjectSecrets(), evolve=evolve)

keeps(SecretSet, lambda event: [Kept(key=keys.secret(event.workspace_id, event.secret_id), until=event.secret_id)])
lets_go(SecretSet, what=lambda event: [event.replaces] if event.replaces else [])
lets_go(SecretRemoved, what=lambda event: [event.secret_id])
