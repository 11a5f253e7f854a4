"""API keys: made, replaced with some overlap, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, handles
from domain.identity.api_keys import (
    ApiKey,
    ApiKeyIsOver,
    ApiKeyIssued,
    ApiKeyRetired,
    ApiKeyRevoked,
    ExpiryIsPast,
    NoSuchApiKey,
    UnknownScope,
    api_keys,
)
from domain.identity.workspaces import workspaces
from domain.scopes import scopes


class IssueApiKey(Command):
    """Make a key for a workspace; it has been shown, and only its digest is known here."""

    api_key_id: str
    workspace_id: str
    person_id: str
    name: str
    prefix: str
    digest: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None


@handles(IssueApiKey)
async def issue(wish: IssueApiKey, transaction: Transaction) -> None:
    """A key can do what there is a scope for, until a time that is still to come; an admin answers for it."""
    if not wish.scopes or not set(wish.scopes) <= set(scopes()):
        raise UnknownScope(scopes=", ".join(scopes()), loc=("body", "scopes"))
    if wish.expires_at is not None and wish.expires_at <= transaction.now:
        raise ExpiryIsPast(loc=("body", "expires_at"))
    workspace = await transaction.load(workspaces, wish.workspace_id)
    workspace.demand(wish.person_id, "admin")
    key = await transaction.expect_new(api_keys, wish.api_key_id)
    if key.workspace_id:
        return
    transaction.record(
        api_keys,
        wish.api_key_id,
        ApiKeyIssued(
            api_key_id=wish.api_key_id,
            workspace_id=wish.workspace_id,
            person_id=wish.person_id,
            name=wish.name,
            prefix=wish.prefix,
            digest=wish.digest,
            scopes=tuple(scope for scope in scopes() if scope in wish.scopes),
            issued_at=transaction.now,
            expires_at=wish.expires_at,
        ),
    )


class RotateApiKey(Command):
    """Replace a key by a new one with the same name and scopes; the old one works for the overlap."""

    api_key_id: str
    workspace_id: str
    person_id: str
    new_api_key_id: str
    prefix: str
    digest: str
    overlap: timedelta


@handles(RotateApiKey)
async def rotate(wish: RotateApiKey, transaction: Transaction) -> None:
    """A key is replaced once; the overlap never makes it live longer than it would have."""
    now = transaction.now
    (await transaction.load(workspaces, wish.workspace_id)).demand(wish.person_id, "admin")
    key = await _own(transaction, wish.api_key_id, wish.workspace_id)
    if key.replaced_by == wish.new_api_key_id:
        return
    if key.replaced_by is not None or not key.works(now):
        raise ApiKeyIsOver
    ends = now + wish.overlap
    if key.expires_at is not None:
        ends = min(ends, key.expires_at)
    await transaction.expect_new(api_keys, wish.new_api_key_id)
    transaction.record(
        api_keys,
        wish.new_api_key_id,
        ApiKeyIssued(
            api_key_id=wish.new_api_key_id,
            workspace_id=wish.workspace_id,
            person_id=wish.person_id,
            name=key.name,
            prefix=wish.prefix,
            digest=wish.digest,
            scopes=key.scopes,
            issued_at=now,
            expires_at=key.expires_at,
            replaces=wish.api_key_id,
        ),
    )
    transaction.record(
        api_keys,
        wish.api_key_id,
        ApiKeyRetired(
            api_key_id=wish.api_key_id,
            digest=key.digest,
            replaced_by=wish.new_api_key_id,
            retired_at=now,
            expires_at=ends,
        ),
    )


class RevokeApiKey(Command):
    """Make a key useless; `erased` when its workspace is being forgotten."""

    api_key_id: str
    workspace_id: str
    #: Who asks; nobody where the workspace itself is being forgotten.
    by: str | None = None
    erased: bool = False


@handles(RevokeApiKey)
async def revoke(wish: RevokeApiKey, transaction: Transaction) -> None:
    """A key is revoked once; to be erased it may be revoked once more."""
    if wish.by is not None:
        (await transaction.load(workspaces, wish.workspace_id)).demand(wish.by, "admin")
    key = await _own(transaction, wish.api_key_id, wish.workspace_id)
    if key.erased or (key.revoked and not wish.erased):
        return
    transaction.record(
        api_keys,
        wish.api_key_id,
        ApiKeyRevoked(api_key_id=wish.api_key_id, digest=key.digest, revoked_at=transaction.now, erased=wish.erased),
    )


async def _own(transaction: Transaction, api_key_id: str, workspace_id: str) -> ApiKey:
    """A key of this workspace; another one's is no key."""
    key = await transaction.load(api_keys, api_key_id)
    if key.workspace_id != workspace_id:
        raise NoSuchApiKey
    return key
