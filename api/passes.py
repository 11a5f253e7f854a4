"""Passes: shown for a workspace by whoever has no credential of it, such as a machine or a browser."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from adapters.log.eventlog import EventLog
from adapters.vault import Vault
from api.auth import Asker
from api.kernel import whole
from domain.identity.api_keys import api_keys
from domain.identity.sessions import sessions
from domain.identity.workspaces import Workspace, workspaces
from domain.ledger import PUBLIC


class Shown(NamedTuple):
    """The workspace that a pass is for, and which of those who have had it one after the other gave it out."""

    workspace_id: str
    tenancy: int


def new_pass(vault: Vault, purpose: str, asker: Asker, expires: int) -> str:
    """A pass to the workspace of whoever asks, good for one purpose until so many seconds since 1970.

    It is void once the workspace is forgotten or has begun anew, and once the credential that asked for it opens
    nothing any more: who was removed cannot take along what lets them back in.
    """
    kind, holder = ("person", asker.person_id) if asker.is_outsider else ("session", asker.credential_id)
    if asker.role is None:
        kind, holder = "key", asker.credential_id
    return _signed(vault, purpose, asker.workspace_id, expires, asker.tenancy, f"{kind}:{holder}")


def public_pass(vault: Vault, purpose: str, expires: int) -> str:
    """A pass to what is everybody's, from whoever has the server's own secret."""
    return _signed(vault, purpose, PUBLIC, expires, 0, "")


def _signed(vault: Vault, purpose: str, workspace_id: str, expires: int, tenancy: int, holder: str) -> str:
    proof = vault.token(purpose, f"{workspace_id}/{expires}/{tenancy}/{holder}")
    return f"{workspace_id}.{expires}.{tenancy}.{holder}.{proof}"


async def read_pass(given: str, purpose: str, vault: Vault, log: EventLog, now: datetime) -> Shown | None:
    """What a pass is good for; None where it is not ours, over or void."""
    parts = given.split(".")
    if len(parts) != 5:
        return None
    workspace_id, holder = parts[0], parts[3]
    expires, tenancy = whole(parts[1]), whole(parts[2])
    if expires is None or tenancy is None or now.timestamp() > expires:
        return None
    if not vault.same(_signed(vault, purpose, workspace_id, expires, tenancy, holder), given):
        return None
    # Only what we have signed is looked up.
    if workspace_id == PUBLIC:
        return Shown(workspace_id, tenancy)
    workspace = await log.state(workspaces, workspace_id)
    if not workspace.open or workspace.tenancy != tenancy:
        return None
    return Shown(workspace_id, tenancy) if await _holds(holder, workspace_id, workspace, log, now) else None


async def _holds(holder: str, workspace_id: str, workspace: Workspace, log: EventLog, now: datetime) -> bool:
    """Whether the credential that asked for a pass would be let in now."""
    kind, _, identity = holder.partition(":")
    match kind:
        case "key":
            key = await log.state(api_keys, identity)
            return key.workspace_id == workspace_id and key.works(now)
        case "session":
            session = await log.state(sessions, identity)
            is_open = not session.closed and session.expires_at is not None and now < session.expires_at
            return is_open and session.workspace_id == workspace_id and workspace.is_led_by(session.person_id)
    return workspace.is_led_by(identity)
