"""Setting the secrets of a project, and taking them away."""

from __future__ import annotations

from commands.kernel import Command, Transaction, handles
from domain.builds.secrets import (
    SECRETS_MAX,
    SecretRemoved,
    SecretSet,
    TooManySecrets,
    check_name,
    project_secrets,
)
from domain.studio.projects import projects


class SetSecret(Command):
    """Give a project a secret, whose sealed text has been stored under this id."""

    project_id: str
    workspace_id: str
    name: str
    secret_id: str


@handles(SetSecret)
async def set_secret(wish: SetSecret, transaction: Transaction) -> None:
    """A name stands for one secret, the last that was set."""
    check_name(wish.name)
    (await transaction.load(projects, wish.project_id)).belongs_to(wish.workspace_id)
    held = (await transaction.find(project_secrets, wish.project_id)).held
    before = held.get(wish.name)
    if before is not None and before.secret_id == wish.secret_id:
        return
    if before is None and len(held) >= SECRETS_MAX:
        raise TooManySecrets(secrets_max=SECRETS_MAX)
    done = SecretSet(
        project_id=wish.project_id,
        workspace_id=wish.workspace_id,
        name=wish.name,
        secret_id=wish.secret_id,
        set_at=transaction.now,
        replaces=None if before is None else before.secret_id,
    )
    transaction.record(project_secrets, wish.project_id, done)


class RemoveSecret(Command):
    """Take a secret away."""

    project_id: str
    workspace_id: str
    name: str


@handles(RemoveSecret)
async def remove_secret(wish: RemoveSecret, transaction: Transaction) -> None:
    """What is not there is not removed."""
    (await transaction.load(projects, wish.project_id)).belongs_to(wish.workspace_id)
    before = (await transaction.find(project_secrets, wish.project_id)).held.get(wish.name)
    if before is None:
        return
    gone = SecretRemoved(
        project_id=wish.project_id,
        workspace_id=wish.workspace_id,
        name=wish.name,
        secret_id=before.secret_id,
        removed_at=transaction.now,
    )
    transaction.record(project_secrets, wish.project_id, gone)
